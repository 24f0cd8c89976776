"""What the commands share: options, progress on stderr, results on stdout, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from sam3_agent import registry
from sam3_agent.answer import Answer
from sam3_agent.errors import InputError, ModelError, Sam3AgentError
from sam3_agent.planner import Planner

progress = Console(stderr=True, highlight=False)

ImageArgument = Annotated[
    str,
    typer.Argument(metavar="IMAGE", help="A file, an http(s): or file: URL, or a data: URL."),
]
PlannerOption = Annotated[
    str | None,
    typer.Option(
        help="Who plans: offline (default, unless $SAM3_AGENT_PLANNER or `setup` says otherwise), "
        "openai:MODEL, gemini:MODEL."
    ),
]
SegmenterOption = Annotated[
    str | None,
    typer.Option(
        help="Who segments: tiny (default, unless $SAM3_AGENT_SEGMENTER or `setup` says "
        "otherwise; drawn icons only), facebook/sam3, a folder with a SAM 3 checkpoint, or, with "
        "open weights, open:tiny, open:base (Grounding DINO + SAM 2)."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(help="Leave overlay.png, answer.json and one PNG per mask in this folder."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
ToolCallsOption = Annotated[
    str | None, typer.Option(help="native, or text for models without native tool calls.")
]
EffortOption = Annotated[
    str,
    typer.Option(
        help="fast: a bare concept goes straight to the segmenter, nothing is checked. "
        "balanced: the answer's masks are verified once. exhaustive: and a search for what is "
        "missing. thorough: and three votes and a second reading."
    ),
]
VerifierOption = Annotated[
    str | None,
    typer.Option(help="Who checks: a planner's name, or none; by default the planner, if it sees."),
]
PriceOption = Annotated[
    str | None,
    typer.Option(metavar="IN,CACHED,OUT", help="US dollars for a million tokens, where not known."),
]
VerifierPriceOption = Annotated[
    str | None, typer.Option(metavar="IN,CACHED,OUT", help="The same for the verifier.")
]
AnyImageOption = Annotated[
    bool,
    typer.Option(
        "--any-image",
        help="Ask also about an image of a kind that the segmenter does not know, such as a photo "
        "with tiny.",
    ),
]
MegapixelsOption = Annotated[float, typer.Option(min=0.001, help="Refuse a larger image.")]

T = TypeVar("T")


def say(line: str) -> None:
    """One line of progress on stderr."""
    progress.print(escape(printable(line)), soft_wrap=True)


def printable(text: str) -> str:
    """Text that cannot steer a terminal: what a model said may hold escape codes."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def say_models(planner: str | None, segmenter: str) -> None:
    """One line: who plans and who segments, and how to change them."""
    parts = []
    if planner is not None:
        what = " (a small English grammar, no MLLM)" if planner == "offline" else ""
        parts.append(f"planner {planner}{what}, change with --planner")
    what = " (knows only its icon nouns; for photos open:tiny)" if segmenter == "tiny" else ""
    parts.append(f"segmenter {segmenter}{what}, change with --segmenter")
    say("; ".join(parts))


def deliver(
    answer: Answer, out: Path | None, as_json: bool, extra: dict[str, Any] | None = None
) -> None:
    """Save an answer if asked to, and print it."""
    extra = extra or {}
    if out is not None:
        folder = or_exit(lambda: answer.save(out))
        say(f"wrote {len(answer.masks)} masks, answer.json and {folder / 'overlay.png'}")
    if as_json:
        print_json({**answer.to_dict(), **extra})
        return
    typer.echo(printable(answer.text))
    for instance in answer.to_dict()["instances"]:
        box = ",".join(f"{v:.0f}" for v in instance["box"])
        line = f"  {instance['number']}: {instance['phrase']}  score {instance['score']:.2f}  "
        typer.echo(printable(f"{line}box {box} px  area {instance['area']} px"))
    for phrase, presence in extra.get("presence", {}).items():
        typer.echo(f"  presence of {phrase!r}: {presence:.2f}")


def planner_options(tool_calls: str | None, price: str | None) -> dict[str, Any]:
    """The options of an MLLM planner, as `registry.planner` takes them."""
    options: dict[str, Any] = {}
    if tool_calls is not None:
        if tool_calls not in ("native", "text"):
            raise InputError(f"--tool-calls is {tool_calls!r}; choose native or text")
        options["tool_calls"] = tool_calls
    if price is not None:
        options["price"] = _prices("--price", price)
    return options


def chosen_verifier(name: str | None, planner: Planner, price: str | None) -> Planner | str | None:
    """What an agent takes as verifier; the planner's own name means the planner, at its price."""
    if name is None or name in ("none", planner.name):
        return "none" if name == "none" else None
    options = {} if price is None else {"price": _prices("--verifier-price", price)}
    return registry.verifier(name, **options)


def _prices(option: str, text: str) -> tuple[float, ...]:
    """Three prices from the command line."""
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(0 <= value < 1e6 for value in values):
        raise InputError(
            f"{option} is {text!r}; give the US dollars for a million input, cached and "
            "output tokens, such as 0.75,0.075,4.5"
        )
    return tuple(values)


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(value))


def or_exit(work: Callable[[], T]) -> T:
    """The result of `work`, or the exit code that its error stands for."""
    try:
        return work()
    except InputError as error:
        _fail(error, 2)
    except ModelError as error:
        _fail(error, 3)


def _fail(error: Sam3AgentError, code: int) -> NoReturn:
    say(f"error: {error}")
    raise typer.Exit(code)
