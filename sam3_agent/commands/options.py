"""Options that several commands share, as values."""

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from sam3_agent import registry
from sam3_agent.agent import Agent
from sam3_agent.answer import SAVED
from sam3_agent.budget import Budget
from sam3_agent.commands.output import errors_as_exit_codes
from sam3_agent.config import DEFAULTS, VARIABLES, chosen
from sam3_agent.errors import InputError
from sam3_agent.images import MAX_MEGAPIXELS, Pixels, load_image
from sam3_agent.local_files import home_expanded
from sam3_agent.planner import Planner, sees
from sam3_agent.review import checked_effort
from sam3_agent.saving import prepare_folder

ImageArgument = Annotated[
    str,
    typer.Argument(help="A file, an http(s): or file: URL, or a data: URL."),
]
PlannerOption = Annotated[
    str | None,
    typer.Option(
        help=f"{registry.planner_forms()}. Default: ${VARIABLES['planner']}, the choice of "
        f"`sam3-agent setup`, or {DEFAULTS['planner']}."
    ),
]
SegmenterOption = Annotated[
    str | None,
    typer.Option(
        help=f"{registry.segmenter_forms()}. tiny knows drawn icons only; open:... has open "
        f"weights, Grounding DINO and SAM 2. Default: ${VARIABLES['segmenter']}, the choice of "
        f"`sam3-agent setup`, or {DEFAULTS['segmenter']}."
    ),
]
AnyImageOption = Annotated[
    bool,
    typer.Option(
        "--any-image",
        help="Also take images of a kind that the segmenter was not trained on, such as photos "
        "with tiny.",
    ),
]
MegapixelsOption = Annotated[
    float, typer.Option(min=0.001, help="Megapixels of the largest image.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a typer command of a function whose parameters may be option groups.

    A group is a dataclass: each of its fields becomes an option, in a help panel with the name of
    the class, and the function gets the value. InputError and ModelError end the process with exit
    codes 2 and 3.
    """
    own = inspect.signature(function, eval_str=True).parameters.values()
    groups: dict[str, Any] = {
        one.name: one.annotation for one in own if is_dataclass(one.annotation)
    }
    spread = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in own
        for option in (_options(one.annotation) if one.name in groups else [one])
    ]

    @functools.wraps(function)
    def run(**values: Any) -> None:
        with errors_as_exit_codes():
            values = {name: _home_expanded(value) for name, value in values.items()}
            for name, group in groups.items():
                values[name] = group(**{one.name: values.pop(one.name) for one in fields(group)})
            function(**values)

    run.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in spread}
    return run


def _home_expanded(value: Any) -> Any:
    """A value whose paths have the home folder for `~`, which shells leave in `--out=~/x`."""
    if isinstance(value, list):
        return [_home_expanded(one) for one in value]
    return home_expanded(value) if isinstance(value, Path) else value


def _options(group: Any) -> Iterator[inspect.Parameter]:
    """The fields of a group as parameters whose help is in one panel."""
    panel = re.sub("(?<=[a-z])(?=[A-Z])", " ", group.__name__).capitalize()
    for option in inspect.signature(group, eval_str=True).parameters.values():
        kind, info = get_args(option.annotation)
        info = copy(info)
        info.rich_help_panel = panel
        yield option.replace(annotation=Annotated[kind, info])


@dataclass(frozen=True)
class ModelOptions:
    """The models that answer a question, and how thoroughly they do."""

    planner: PlannerOption = None
    segmenter: SegmenterOption = None
    effort: Annotated[
        str,
        typer.Option(
            help="fast: a question that is itself a concept goes to the segmenter alone, and "
            "nothing is checked. balanced: each mask of the answer is verified once. exhaustive: "
            "missing objects are searched for, too. thorough: three votes on each mask, and the "
            "question is answered twice."
        ),
    ] = "balanced"
    verifier: Annotated[
        str | None,
        typer.Option(
            help="Verifies the answer: the name of a planner, or none. Default: the planner, if "
            "it takes images."
        ),
    ] = None
    tool_calls: Annotated[
        str | None,
        typer.Option(help="native, or text for models without native tool calls. Default: native."),
    ] = None
    price: Annotated[
        str | None,
        typer.Option(
            metavar="IN,CACHED,OUT",
            help="The planner's price, in US dollars for a million tokens. Default: the price "
            "list, which has the known models.",
        ),
    ] = None
    verifier_price: Annotated[
        str | None, typer.Option(metavar="IN,CACHED,OUT", help="The same for the verifier.")
    ] = None

    def __post_init__(self) -> None:
        """Checks what can be checked before a model is loaded; raises InputError."""
        checked_effort(self.effort)
        registry.check_segmenter(self.segmenter)
        for name in (self.planner, self.verifier):
            if name not in (None, "none"):
                registry.check_planner(name)
        if self.tool_calls not in (None, "native", "text"):
            raise InputError(f"--tool-calls is {self.tool_calls!r}; choose native or text")
        _prices("--price", self.price)
        _prices("--verifier-price", self.verifier_price)
        if chosen("planner", self.planner).value == "offline":
            for option, value in (("--price", self.price), ("--tool-calls", self.tool_calls)):
                if value is not None:
                    raise InputError(f"{option} is for a model; the planner offline calls none")

    def new_planner(self, **options: Any) -> Planner:
        """The planner; `options` go to its constructor, too."""
        own = {"tool_calls": self.tool_calls, "price": _prices("--price", self.price)}
        given = {name: value for name, value in own.items() if value is not None}
        return registry.planner(self.planner, **given, **options)

    def new_verifier(self, planner: Planner) -> Planner | str | None:
        """The verifier as an Agent takes it; the planner's own name means the planner itself."""
        if self.verifier is None or (self.verifier == planner.name and sees(planner)):
            return None
        if self.verifier == "none":
            return "none"
        price = _prices("--verifier-price", self.verifier_price)
        return registry.verifier(self.verifier, **({"price": price} if price else {}))

    def new_agent(self, **options: Any) -> Agent:
        """The agent; `options` are those of Agent that are not in this group."""
        planner = self.new_planner()
        return Agent(
            planner,
            self.segmenter,
            verifier=self.new_verifier(planner),
            effort=self.effort,
            **options,
        )


@dataclass(frozen=True)
class ImageOptions:
    """Which images are taken."""

    max_megapixels: MegapixelsOption = MAX_MEGAPIXELS
    any_image: AnyImageOption = False

    def load(self, image: str) -> Pixels:
        """The pixels of an image."""
        return load_image(image, max_megapixels=self.max_megapixels)


@dataclass(frozen=True)
class BudgetOptions:
    """Limits of one question; when one is reached, the best answer so far is given."""

    max_turns: Annotated[int, typer.Option(min=1, help="Most replies of the planner.")] = 12
    max_seconds: Annotated[
        float | None, typer.Option(help="No request is sent after this many seconds.")
    ] = None
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="No request is sent after this many tokens, in and out."),
    ] = None
    max_usd: Annotated[
        float | None, typer.Option(help="No request is sent after this cost in US dollars.")
    ] = None

    def budget(self) -> Budget:
        """The budget; raises InputError for a limit that is not above 0."""
        return Budget(self.max_turns, self.max_seconds, self.max_tokens, self.max_usd)


@dataclass(frozen=True)
class OutputOptions:
    """Where an answer goes; raises InputError for a folder that cannot be written to."""

    out: Annotated[
        Path | None, typer.Option(help="Write overlay.png, answer.json and the masks as PNG here.")
    ] = None
    as_json: JsonOption = False

    def __post_init__(self) -> None:
        if self.out is not None:
            check_writable(self.out)

    def prepare(self) -> None:
        """Makes the folder; raises InputError for one that an answer cannot be saved in.

        Called when all else is known to be right, and before a model is loaded or called.
        """
        if self.out is not None:
            prepare_folder(self.out, *SAVED)


def check_writable(folder: Path) -> None:
    """Raises InputError for a folder that cannot be written to or made; makes nothing."""
    there = folder
    try:
        while not there.exists() and there != there.parent:
            there = there.parent
    except OSError as error:  # such as a name that is too long
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    if not there.is_dir():
        raise InputError(f"cannot write to {folder}: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {folder}: no permission to write in {there}")


def _prices(option: str, text: str | None) -> tuple[float, ...] | None:
    """Three prices from the command line; raises InputError."""
    if text is None:
        return None
    try:
        values = tuple(float(value) for value in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(0 <= value < 1e6 for value in values):
        raise InputError(
            f"{option} is {text!r}; give the US dollars for a million input, cached and "
            "output tokens, such as 0.75,0.075,4.5"
        )
    return values
