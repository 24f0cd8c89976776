"""`sam3-agent eval`: any solver on a benchmark with known truth."""

import json
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Live

from sam3_agent import registry
from sam3_agent.agent import Agent
from sam3_agent.commands.console import (
    EffortOption,
    JsonOption,
    PlannerOption,
    PriceOption,
    SegmenterOption,
    ToolCallsOption,
    VerifierOption,
    VerifierPriceOption,
    chosen_verifier,
    or_exit,
    planner_options,
    print_json,
    progress,
    say,
    say_models,
)
from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Benchmark
from sam3_agent.evals.benchmarks import read
from sam3_agent.evals.benchmarks.scenes import STYLES
from sam3_agent.evals.report.page import DASH
from sam3_agent.evals.results_file import Run, RunFile
from sam3_agent.evals.run_header import new_header
from sam3_agent.evals.runner import Progress, Shard, run_samples, select_samples
from sam3_agent.evals.setup import setup
from sam3_agent.evals.solvers import make_solver
from sam3_agent.evals.solvers.solver import Solver
from sam3_agent.evals.summary import summary
from sam3_agent.evals.synthetic.concept_report import concept_report
from sam3_agent.extras import require
from sam3_agent.planner import Planner, price_of

Style = StrEnum("Style", ["TRAIN", "HELDOUT"])
Baseline = StrEnum("Baseline", ["SEGMENTER", "MLLM", "ORACLE", "REFERENCE"])


def evaluate(
    benchmark: Annotated[
        str, typer.Argument(metavar="NAME", help="The benchmark; a wrong name lists them.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="The benchmark's files, as its authors publish them.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Which part of the benchmark.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which scenes.")] = 0,
    style: Annotated[
        Style, typer.Option(help="heldout: scenes in a drawing style never trained on.")
    ] = Style.TRAIN,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many samples (scenes: 200).")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only every N-th sample from the I-th on.")
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(min=1, help="Ask every sample so often, each time with another seed."),
    ] = 1,
    planner: PlannerOption = None,
    segmenter: SegmenterOption = None,
    baseline: Annotated[
        Baseline | None,
        typer.Option(
            help="Instead of the agent. segmenter: the whole query as one concept phrase; mllm: "
            "the planner's own boxes into SAM 3; reference: the rules of Meta's agent with this "
            "planner; oracle: the best subset of what the agent found, its ceiling."
        ),
    ] = None,
    effort: EffortOption = "balanced",
    verifier: VerifierOption = None,
    boxes: Annotated[
        str | None,
        typer.Option(help="How the mllm writes boxes: yx1000 (Gemini), xy1000 (Qwen3), xy."),
    ] = None,
    concepts: Annotated[
        bool, typer.Option("--concepts", help="Score the segmenter alone on concept phrases.")
    ] = False,
    tool_calls: ToolCallsOption = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, help="The planner's temperature (the server's own unless told)."),
    ] = None,
    price: PriceOption = None,
    verifier_price: VerifierPriceOption = None,
    score_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Referring benchmarks: resize masks to this side before they are compared, such "
            "as 480 for LAVT's and ReLA's protocol (not resized unless told).",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Samples at a time (1 for offline, else 8).")
    ] = None,
    max_usd: Annotated[
        float | None, typer.Option(min=0, help="Begin no sample after so many US dollars in all.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of run.jsonl (a new one in runs/ unless told).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; nothing is asked twice.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="As --resume, and ask again what failed.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave broken samples out instead of refusing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure an agent, or something to compare it with, on a benchmark with known truth.

    The benchmark's files are checked before anything is asked: what is broken in them is told line
    by line, and the run is refused unless --skip-bad. A sample that fails later is a row with its
    error, counts as answered with nothing, and is asked again by --retry-failed. Every row is on
    disk in run.jsonl as soon as it is finished, so that a killed run goes on with --resume.
    `sam3-agent report` makes a page of it.
    """
    if concepts and (baseline or benchmark != "scenes"):
        raise typer.BadParameter("--concepts scores the segmenter alone; it takes no --baseline")

    def run() -> dict[str, Any]:
        if concepts:
            return _concepts(seed, limit or 200, style.value, segmenter)
        options = _benchmark_options(benchmark, seed, style.value, limit, score_size)
        asked = _read(benchmark, data, split, options, skip_bad)
        eye = registry.segmenter(segmenter)
        name = baseline.value if baseline else "agent"
        brain = None
        if name != "segmenter":
            model_options = planner_options(tool_calls, price)
            if temperature is not None:
                model_options["temperature"] = temperature
            brain = registry.planner(planner, **model_options)
        asks = name in ("agent", "oracle")
        checker: Planner | str | None = None
        if brain is not None and asks:
            checker = chosen_verifier(verifier, brain, verifier_price)
        for model in (brain, checker):
            if model is None or isinstance(model, str) or max_usd is None:
                continue
            if price_of(model) is None:
                raise InputError(
                    f"--max-usd cannot be kept: the price of {model.name} is not known; "
                    "give --price, or --verifier-price for a verifier"
                )
        say_models(brain.name if brain else None, eye.name)
        config = {
            "benchmark": benchmark,
            "data": None if data is None else str(data.resolve()),
            "split": split,
            "seed": seed,
            "options": options,
            "limit": limit,
            "shard": shard,
            "skip_bad": skip_bad,
            "strategy": name,
            "planner": brain.name if brain else "none",
            "segmenter": eye.name,
            "effort": effort if asks else None,
            "verifier": verifier if asks else None,
            "boxes": boxes,
            "tool_calls": tool_calls,
            "temperature": temperature,
            "repeats": repeats if repeats > 1 else None,
        }
        agent_options: dict[str, Any] = {"effort": effort, "verifier": checker}
        solver = make_solver(
            name,
            brain,
            eye,
            agent=partial(Agent, **agent_options),
            boxes=boxes,
        )
        if (resume or retry_failed) and out is None:
            raise InputError("--resume and --retry-failed need the run's folder: --out DIR")
        few = brain is None or brain.name == "offline"
        finished = _run(
            asked,
            solver,
            config,
            setup(brain, eye, checker if not isinstance(checker, str) else None),
            out or _new_folder(benchmark, name),
            resume=resume or retry_failed,
            retry_failed=retry_failed,
            workers=workers or (1 if few else 8),
            max_usd=max_usd,
        )
        _write_predictions(asked, finished)
        numbers = summary(asked, finished)
        out_of = f"{len(finished.rows)} of {finished.header.total}"
        say(f"{out_of} samples in {finished.path}; sam3-agent report {finished.path.parent}")
        if numbers["missing"]:
            say(
                "--max-usd is spent, or what a sample cost is not known; the others were not "
                "begun: go on with --resume and a larger sum"
            )
        return {
            **numbers,
            "kinds": numbers["groups"].get("kind", {}),
            "config": config,
            "setup": dict(finished.header.setup),
            "run": str(finished.path),
        }

    report = or_exit(run)
    if as_json:
        print_json(report)
        return
    for name, row in {"all": report["metrics"], **report.get("kinds", {})}.items():
        values = "  ".join(f"{key} {_printed(value)}" for key, value in row.items())
        typer.echo(f"{name:12} {values}")
    if report.get("note"):
        typer.echo(report["note"])


def _printed(value: float | None) -> str:
    """A metric, or a dash where none of its samples is there."""
    if value is None:
        return DASH
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _read(
    name: str,
    data: Path | None,
    split: str | None,
    options: dict[str, Any],
    skip_bad: bool,
) -> Benchmark:
    """The benchmark; its problems are told, and refused unless they are to be skipped."""
    benchmark = read(name, data, split, **options)
    for problem in benchmark.problems:
        say(f"bad data: {problem}")
    if benchmark.problems and not skip_bad:
        raise InputError(
            f"{len(benchmark.problems)} samples of {name} are broken (see above), so nothing was "
            "asked; mend them, or leave them out with --skip-bad"
        )
    if not benchmark.samples:
        raise InputError(f"{name} has no sample here")
    return benchmark


def _benchmark_options(
    name: str, seed: int, style: str, limit: int | None, score_size: int | None
) -> dict[str, Any]:
    """What `read` takes for this benchmark beside data and split."""
    if name == "scenes":
        options: dict[str, Any] = {"seed": seed, "style": style, "limit": limit}
    else:
        options = {}
    return options if score_size is None else {**options, "score_size": score_size}


def _run(
    benchmark: Benchmark,
    solver: Solver,
    config: dict[str, Any],
    made_with: dict[str, Any],
    folder: Path,
    *,
    resume: bool,
    retry_failed: bool,
    workers: int,
    max_usd: float | None,
) -> Run:
    shard = _shard(config["shard"])
    samples = select_samples(benchmark.samples, config["limit"], shard, config["repeats"] or 1)
    told = new_header(config, benchmark.samples[: config["limit"]], len(samples), made_with)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[told]}"),
    )
    with (
        RunFile(folder, told, resume=resume) as file,
        Live(*columns, console=progress, transient=True) as bar,
    ):
        task = bar.add_task(f"{benchmark.name}", total=len(samples), told="")

        def tell(at: Progress) -> None:
            left = "?" if at.seconds_left is None else str(timedelta(seconds=int(at.seconds_left)))
            words = f"score {at.score:.3f}  {at.usd:.2f} USD  {left} left"
            if at.failed:
                words += f"  {at.failed} failed"
            bar.update(task, completed=at.done, told=words)

        try:
            return run_samples(
                benchmark,
                solver,
                samples,
                file,
                workers=workers,
                max_usd=max_usd,
                retry_failed=retry_failed,
                on_progress=tell,
            )
        except KeyboardInterrupt:
            say(f"stopped; go on with --out {folder} --resume")
            raise


def _write_predictions(benchmark: Benchmark, run: Run) -> None:
    """Write the answers as the benchmark's own evaluator reads them, where it reads a file."""
    rows = run.ordered
    for repeat in sorted({row.repeat for row in rows}):
        files = benchmark.predictions([row for row in rows if row.repeat == repeat])
        for name, content in files.items():
            end = f"_{repeat}.json" if repeat > 1 else ".json"
            path = run.path.with_name(name.removesuffix(".json") + end)
            path.write_text(json.dumps(content), encoding="utf-8")
            say(f"wrote {path}")


def _concepts(seed: int, limit: int, style: str, segmenter: str | None) -> dict[str, Any]:
    require("scipy", purpose="eval --concepts")
    eye = registry.segmenter(segmenter)
    say_models(None, eye.name)
    with Live(console=progress, transient=True) as bar:
        task = bar.add_task(f"scenes {seed}", total=limit)
        report = concept_report(eye, seed, limit, STYLES[style], lambda: bar.advance(task))
    config = {"benchmark": "scenes", "seed": seed, "limit": limit, "style": style}
    return {**report, "config": {**config, "segmenter": eye.name, "concepts": True}}


def _new_folder(benchmark: str, solver: str) -> Path:
    name = f"{benchmark}-{solver}-{datetime.now():%Y%m%d-%H%M%S}"
    folders = (Path("runs") / (name if n == 1 else f"{name}-{n}") for n in count(1))
    return next(folder for folder in folders if not folder.exists())


def _shard(text: str | None) -> Shard | None:
    if text is None:
        return None
    first, _, of = text.partition("/")
    if not (first.isdecimal() and of.isdecimal()):
        raise InputError(f"--shard is {text!r}; it is I/N, such as 1/4")
    return int(first), int(of)
