"""`sam3-agent eval`: any solver on a benchmark with known truth."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer
from rich.progress import Progress

from sam3_agent import registry
from sam3_agent.agent import Agent
from sam3_agent.commands.eval_data import DataOptions
from sam3_agent.commands.eval_run import (
    RunOptions,
    new_folder,
    run_with_progress,
    write_predictions,
)
from sam3_agent.commands.options import JsonOption, ModelOptions, command
from sam3_agent.commands.output import print_json, print_models, print_stderr, print_stdout, stderr
from sam3_agent.config import chosen
from sam3_agent.errors import InputError
from sam3_agent.evals.benchmarks.scenes import STYLES
from sam3_agent.evals.report.page import DASH
from sam3_agent.evals.results_file import FILE_NAME
from sam3_agent.evals.run_header import new_header
from sam3_agent.evals.setup import setup
from sam3_agent.evals.solvers import SOLVERS, check_solver, make_solver
from sam3_agent.evals.summary import summary
from sam3_agent.evals.synthetic.concept_report import concept_report
from sam3_agent.extras import require
from sam3_agent.planner import Planner, price_of
from sam3_agent.saving import prepare_folder
from sam3_agent.segmenter import Segmenter


@dataclass(frozen=True)
class SolverOptions:
    """What answers the samples; `--baseline` is the old name of `--solver`."""

    solver: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(SOLVERS),
            help=" ".join(f"{name}: {what}." for name, what in SOLVERS.items())
            + " Default: agent.",
        ),
    ] = None
    baseline: Annotated[str | None, typer.Option(hidden=True)] = None
    boxes: Annotated[
        str | None,
        typer.Option(help="How mllm writes boxes: yx1000 (Gemini), xy1000 (Qwen3), xy."),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(min=0, help="The planner's temperature. Default: that of its server."),
    ] = None

    def __post_init__(self) -> None:
        if None not in (self.solver, self.baseline):
            raise InputError("--baseline is the old name of --solver; give only one of them")

    @property
    def name(self) -> str:
        """The solver's name."""
        given = self.baseline if self.solver is None else self.solver
        return "agent" if given is None else given

    @property
    def has_agent(self) -> bool:
        """Whether the solver is an agent, so that effort and verifier matter."""
        return self.name in ("agent", "oracle")


@command
def evaluate(
    benchmark: Annotated[str, typer.Argument(help="The benchmark; a wrong name lists them.")],
    data: DataOptions,
    models: ModelOptions,
    solver: SolverOptions,
    run: RunOptions,
    concepts: Annotated[
        bool, typer.Option("--concepts", help="Score the segmenter alone on concept phrases.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a solver, such as the agent, on a benchmark with known truth.

    The benchmark's files are checked before anything is asked: each problem is printed, and with
    problems nothing runs unless --skip-bad is given. A sample that fails later is a row with its
    error, counts as answered with nothing, and is asked again by --retry-failed. Each row is
    written to run.jsonl as soon as it is finished, so that a killed run continues with --resume.
    `sam3-agent report` makes a page of it.
    """
    if concepts and ((solver.solver, solver.baseline) != (None, None) or benchmark != "scenes"):
        raise InputError("--concepts scores the segmenter alone on scenes; it takes no --solver")
    unsaved = ""
    if concepts:
        report = _concepts(data, models)
    else:
        report, unsaved = _evaluate(benchmark, data, models, solver, run)
    _print_report(report, as_json)
    if unsaved:
        raise InputError(unsaved)


def _print_report(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    for name, row in {"all": report["metrics"], **report.get("kinds", {})}.items():
        values = "  ".join(f"{key} {_printed(value)}" for key, value in row.items())
        print_stdout(f"{name:12} {values}")
    if report.get("note"):
        print_stdout(report["note"])


def _evaluate(
    name: str, data: DataOptions, models: ModelOptions, solver: SolverOptions, run: RunOptions
) -> tuple[dict[str, Any], str]:
    """Runs a solver on a benchmark; the report as JSON values, and what could not be saved."""
    check_solver(solver.name, chosen("planner", models.planner).value, solver.boxes)
    benchmark = data.read(name)
    if run.out is not None:
        prepare_folder(run.out, FILE_NAME)
    planner, verifier = _planners(models, solver, run.max_usd)
    segmenter = registry.segmenter(models.segmenter)
    print_models(planner.name if planner else None, segmenter.name)
    agent = partial(Agent, effort=models.effort, verifier=verifier)
    made = make_solver(solver.name, planner, segmenter, agent=agent, boxes=solver.boxes)
    samples = data.choose(benchmark)
    config = _config(name, data, models, solver, planner, segmenter)
    made_with = setup(planner, segmenter, None if isinstance(verifier, str) else verifier)
    finished = run_with_progress(
        benchmark,
        made,
        samples,
        new_header(config, benchmark.samples[: data.limit], len(samples), made_with),
        run.out or new_folder(f"{name}-{solver.name}"),
        run,
        run.workers or (1 if planner is None or planner.name == "offline" else 8),
    )
    unsaved = write_predictions(benchmark, finished)
    numbers = summary(benchmark, finished)
    out_of = f"{len(finished.rows)} of {finished.header.total}"
    print_stderr(f"{out_of} samples in {finished.path}; sam3-agent report {finished.path.parent}")
    if numbers["missing"]:
        print_stderr(
            "--max-usd is spent, or what a sample cost is not known; the others were not begun: "
            "continue with --resume and a larger sum"
        )
    return {
        **numbers,
        "kinds": numbers["groups"].get("kind", {}),
        "config": config,
        "setup": dict(finished.header.setup),
        "run": str(finished.path),
    }, unsaved


def _planners(
    models: ModelOptions, solver: SolverOptions, max_usd: float | None
) -> tuple[Planner | None, Planner | str | None]:
    """The solver's planner, and the verifier as an Agent takes it.

    Raises InputError when `max_usd` cannot be kept, since a price is not known.
    """
    if solver.name == "segmenter":
        return None, None
    options = {} if solver.temperature is None else {"temperature": solver.temperature}
    planner = models.new_planner(**options)
    verifier = models.new_verifier(planner) if solver.has_agent else None
    for model in (planner, verifier):
        if model is None or isinstance(model, str) or max_usd is None:
            continue
        if price_of(model) is None:
            raise InputError(
                f"--max-usd cannot be kept: the price of {model.name} is not known; "
                "give --price, or --verifier-price for a verifier"
            )
    return planner, verifier


def _config(
    name: str,
    data: DataOptions,
    models: ModelOptions,
    solver: SolverOptions,
    planner: Planner | None,
    segmenter: Segmenter,
) -> dict[str, Any]:
    """What decides the rows of a run, as its header keeps it."""
    return {
        "benchmark": name,
        "data": None if data.data is None else str(data.data.resolve()),
        "split": data.split,
        "seed": data.seed,
        "options": data.reader_options(name),
        "limit": data.limit,
        "shard": data.shard,
        "skip_bad": data.skip_bad,
        "strategy": solver.name,  # runs have always had this key
        "planner": planner.name if planner else "none",
        "segmenter": segmenter.name,
        "effort": models.effort if solver.has_agent else None,
        "verifier": models.verifier if solver.has_agent else None,
        "boxes": solver.boxes,
        "tool_calls": models.tool_calls,
        "temperature": solver.temperature,
        "repeats": data.repeats if data.repeats > 1 else None,
    }


def _concepts(data: DataOptions, models: ModelOptions) -> dict[str, Any]:
    """Scores the segmenter alone on concept phrases; the report as JSON values."""
    require("scipy", purpose="eval --concepts")
    segmenter = registry.segmenter(models.segmenter)
    print_models(None, segmenter.name)
    limit, style = data.limit or 200, data.style.value
    with Progress(console=stderr, transient=True) as bar:
        task = bar.add_task(f"scenes {data.seed}", total=limit)
        advance = partial(bar.advance, task)
        report = concept_report(segmenter, data.seed, limit, STYLES[style], advance)
    config = {"benchmark": "scenes", "seed": data.seed, "limit": limit, "style": style}
    return {**report, "config": {**config, "segmenter": segmenter.name, "concepts": True}}


def _printed(value: float | None) -> str:
    """A metric, or a dash where none of its samples is there."""
    if value is None:
        return DASH
    return f"{value:.3f}" if isinstance(value, float) else str(value)
