"""`sam3-agent eval`: an agent or a segmenter on a benchmark with known truth."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.progress import Progress

from sam3_agent import load
from sam3_agent.agent import Agent
from sam3_agent.commands.console import (
    JsonOption,
    PlannerOption,
    SegmenterOption,
    or_exit,
    print_json,
    progress,
    say_models,
)


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
        say_models(None if brain == "none" else brain, eye.name)
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

    report = or_exit(run)
    if as_json:
        print_json(report)
        return
    for name, row in {"all": report["metrics"], **report.get("kinds", {})}.items():
        values = "  ".join(
            f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row.items()
        )
        typer.echo(f"{name:12} {values}")
