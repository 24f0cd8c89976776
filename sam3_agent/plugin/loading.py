"""A toolkit whose models are loaded beside the server, which so answers from its first moment."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from sam3_agent.plugin.image_loader import ImageLoader
from sam3_agent.plugin.toolkit import Toolkit


@dataclass(frozen=True)
class LoadingToolkit:
    """The toolkit that `loaded` gives when its models are there; loader: its own."""

    loader: ImageLoader
    loaded: Future[Toolkit]

    async def ready(self) -> Toolkit:
        """Waits for the models; raises what their loading raised."""
        # one caller that is cancelled must not cancel the loading for all
        return await asyncio.shield(asyncio.wrap_future(self.loaded))


def load_beside(load: Callable[[], Toolkit], loader: ImageLoader) -> LoadingToolkit:
    """Starts `load` in a thread."""
    loaded: Future[Toolkit] = Future()

    def work() -> None:
        try:
            toolkit = load()
        except BaseException as error:
            loaded.set_exception(error)
        else:
            loaded.set_result(toolkit)

    threading.Thread(target=work, name="load models", daemon=True).start()
    return LoadingToolkit(loader, loaded)
