"""The command line: `sam3-agent ask`, `sam3-agent segment` and their kin.

With --json stdout is exactly one JSON object; everything else goes to stderr. Exit codes: 0 a
finished run (also when nothing matched), 2 bad usage or input, 3 a planner or segmenter failed.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from sam3_agent import load
from sam3_agent.agent import Agent
from sam3_agent.answer import Answer
from sam3_agent.errors import InputError, ModelError, Sam3AgentError
from sam3_agent.events import Finished, ToolFinished, ToolStarted, TurnStarted
from sam3_agent.images import MAX_MEGAPIXELS, load_image
from sam3_agent.scene import Scene
from sam3_agent.usage import Budget, Usage

app = typer.Typer(
    help="Ask a picture a question in plain language; get words and pixel-exact masks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
progress = Console(stderr=True, highlight=False)

ImageArgument = Annotated[str, typer.Argument(metavar="IMAGE", help="A file or an http(s) URL.")]
PlannerOption = Annotated[
    str | None,
    typer.Option(help="Who plans: offline (default, or $SAM3_AGENT_PLANNER)."),
]
SegmenterOption = Annotated[
    str | None,
    typer.Option(
        help="Who segments: tiny (default, or $SAM3_AGENT_SEGMENTER), facebook/sam3, "
        "or a folder with a SAM 3 checkpoint."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(help="Leave overlay.png, answer.json and one PNG per mask in this folder."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
MegapixelsOption = Annotated[float, typer.Option(min=0.001, help="Refuse a larger image.")]

T = TypeVar("T")


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what happens to stderr.")] = False,
) -> None:
    """Set up logging for every command."""
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, stream=sys.stderr)


@app.command()
def ask(
    image: ImageArgument,
    query: Annotated[str, typer.Argument(help="A question, such as 'the leftmost red car'.")],
    planner: PlannerOption = None,
    segmenter: SegmenterOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
    max_turns: Annotated[int, typer.Option(min=1, help="Replies the planner has.")] = 12,
    max_megapixels: MegapixelsOption = MAX_MEGAPIXELS,
) -> None:
    """Ask a question about an image; get words and masks."""

    def run() -> Answer:
        pixels = load_image(image, max_megapixels=max_megapixels)
        agent = Agent(
            planner, segmenter, budget=Budget(turns=max_turns), max_megapixels=max_megapixels
        )
        _say_models(agent.planner.name, agent.segmenter.name)
        for event in agent.stream(pixels, query):
            match event:
                case TurnStarted():
                    _say(f"turn {event.turn} of {event.max_turns}: asking {agent.planner.name}")
                case ToolStarted():
                    _say(f"  {event.call.name} {event.call.arguments}")
                case ToolFinished():
                    for line in event.message.text.splitlines():
                        _say(f"    {line}")
                case Finished():
                    return event.answer
        raise AssertionError("a stream ends with Finished")

    answer = _or_exit(run)
    _deliver(answer, out, as_json, {})


@app.command()
def segment(
    image: ImageArgument,
    phrases: Annotated[
        list[str], typer.Argument(metavar="PHRASE...", help="Concepts, such as 'red car' dog.")
    ],
    segmenter: SegmenterOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Least score of a mask [the segmenter's: 0.5]."),
    ] = None,
    out: OutOption = None,
    as_json: JsonOption = False,
    max_megapixels: MegapixelsOption = MAX_MEGAPIXELS,
) -> None:
    """Find every instance of each concept, without a planner."""

    def run() -> tuple[Answer, dict[str, Any]]:
        began = time.perf_counter()
        pixels = load_image(image, max_megapixels=max_megapixels)
        eye = load.segmenter(segmenter)
        _say_models(None, eye.name)
        scene = Scene(pixels, eye)
        findings = scene.find(phrases, threshold)
        numbers = tuple(dict.fromkeys(n for finding in findings for n in finding.numbers))
        answer = Answer(
            query=", ".join(phrases),
            text="; ".join(f"{f.phrase}: {len(f.numbers)}" for f in findings),
            status="answered" if numbers else "no_target",
            masks=scene.select(numbers),
            numbers=numbers,
            usage=Usage(
                seconds=time.perf_counter() - began, segmenter_seconds=scene.segmenter_seconds
            ),
            messages=(),
            planner="none",
            segmenter=eye.name,
            image=pixels,
        )
        presence = {f.phrase: round(f.presence, 4) for f in findings}
        return answer, {"presence": presence}

    answer, extra = _or_exit(run)
    _deliver(answer, out, as_json, extra)


class Benchmark(StrEnum):
    """What can be evaluated."""

    SCENES = "scenes"


class Baseline(StrEnum):
    """What an agent is compared with."""

    SEGMENTER = "segmenter"


class Style(StrEnum):
    """Which drawing styles the scenes have."""

    TRAIN = "train"
    HELDOUT = "heldout"


@app.command("eval")
def evaluate(
    benchmark: Annotated[Benchmark, typer.Argument(help="scenes: held-out synthetic scenes.")],
    seed: Annotated[int, typer.Option(min=0, help="Which scenes.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 200,
    planner: PlannerOption = None,
    segmenter: SegmenterOption = None,
    baseline: Annotated[
        Baseline | None,
        typer.Option(help="Instead of the agent: the whole query as one concept phrase."),
    ] = None,
    concepts: Annotated[
        bool, typer.Option("--concepts", help="Score the segmenter alone on concept phrases.")
    ] = False,
    style: Annotated[
        Style, typer.Option(help="heldout: the drawing style that was never trained on.")
    ] = Style.TRAIN,
    as_json: JsonOption = False,
) -> None:
    """Measure an agent or a segmenter on a benchmark with known truth."""
    if concepts and baseline:
        raise typer.BadParameter("--concepts scores the segmenter alone; it takes no --baseline")

    def run() -> dict[str, Any]:
        from sam3_agent.evals import scene_benchmark as scenes
        from sam3_agent.evals.sprites import HELD_OUT_STYLE, TRAIN_STYLES

        styles = TRAIN_STYLES if style is Style.TRAIN else (HELD_OUT_STYLE,)
        eye = load.segmenter(segmenter)
        if concepts or baseline:
            brain, solve = "none", scenes.segmenter_solver(eye)
        else:
            agent = Agent(planner, eye)
            brain, solve = agent.planner.name, scenes.agent_solver(agent)
        _say_models(None if brain == "none" else brain, eye.name)
        with Progress(console=progress, transient=True) as bar:
            task = bar.add_task(f"{benchmark.value} {seed}", total=limit)
            if concepts:
                report = scenes.concept_report(eye, seed, limit, styles, lambda: bar.advance(task))
            else:
                samples = []
                for sample in scenes.referring_samples(solve, seed, limit, styles):
                    samples.append(sample)
                    bar.advance(task)
                report = scenes.referring_report(samples)
        config = {
            "benchmark": benchmark.value,
            "seed": seed,
            "limit": limit,
            "style": style.value,
            "planner": brain,
            "segmenter": eye.name,
            "baseline": baseline.value if baseline else None,
            "concepts": concepts,
        }
        return {**report, "config": config}

    report = _or_exit(run)
    if as_json:
        typer.echo(json.dumps(report))
        return
    for name, row in {"all": report["metrics"], **report.get("kinds", {})}.items():
        values = "  ".join(
            f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row.items()
        )
        typer.echo(f"{name:12} {values}")


def _deliver(answer: Answer, out: Path | None, as_json: bool, extra: dict[str, Any]) -> None:
    """Save and print an answer."""
    if out is not None:
        folder = _or_exit(lambda: answer.save(out))
        _say(f"wrote {len(answer.masks)} masks, answer.json and {folder / 'overlay.png'}")
    if as_json:
        typer.echo(json.dumps({**answer.to_dict(), **extra}, ensure_ascii=False))
        return
    typer.echo(answer.text)
    for instance in answer.to_dict()["instances"]:
        box = ",".join(f"{v:.0f}" for v in instance["box"])
        typer.echo(
            f"  {instance['number']}: {instance['phrase']}  score {instance['score']:.2f}  "
            f"box {box}  area {instance['area']}"
        )
    for phrase, presence in extra.get("presence", {}).items():
        typer.echo(f"  presence of {phrase!r}: {presence:.2f}")


def _say(line: str) -> None:
    progress.print(escape(line), soft_wrap=True)


def _say_models(planner: str | None, segmenter: str) -> None:
    """One line: who plans and who segments, and how to change them."""
    parts = []
    if planner is not None:
        what = " (a small English grammar, no MLLM)" if planner == "offline" else ""
        parts.append(f"planner {planner}{what}, change with --planner")
    what = " (knows only its icon nouns; for photos facebook/sam3)" if segmenter == "tiny" else ""
    parts.append(f"segmenter {segmenter}{what}, change with --segmenter")
    _say("; ".join(parts))


def _or_exit(work: Callable[[], T]) -> T:
    """The result of `work`, or the exit code that its error stands for."""
    try:
        return work()
    except InputError as error:
        _fail(error, 2)
    except ModelError as error:
        _fail(error, 3)


def _fail(error: Sam3AgentError, code: int) -> NoReturn:
    _say(f"error: {error}")
    raise typer.Exit(code)
