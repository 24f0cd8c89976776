"""The log of a training run, `log.jsonl`: a line of JSON for each entry."""

import json
import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class TrainingLog:
    """The log in a folder; None for a worker that writes none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._steps = 0
        self._sums: dict[str, float] = defaultdict(float)

    def add(self, values: Mapping[str, float]) -> None:
        """Keeps the values of one step for `write_means`."""
        self._steps += 1
        for name, value in values.items():
            self._sums[name] += value

    def write_means(self, step: int, minutes: float) -> None:
        """Writes the means over the steps since the last call, if there were any."""
        if self._steps:
            means = {name: value / self._steps for name, value in self._sums.items()}
            self.write(step, minutes, means)
        self._steps = 0
        self._sums.clear()

    def write(self, step: int, minutes: float, values: Mapping[str, Any]) -> None:
        """Writes a line; numbers get four digits. A failure to write is a warning."""
        if self._folder is None:
            return
        row = {"step": step, "minutes": minutes, **values}
        rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}
        try:
            with (self._folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(rounded) + "\n")
        except OSError as error:
            logger.warning("cannot write the log of %s: %s", self._folder, error)
        logger.info("%s", rounded)
