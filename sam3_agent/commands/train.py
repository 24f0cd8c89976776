"""`sam3-agent train-tiny`: train the tiny SAM 3 that ships, from nothing."""

from pathlib import Path
from typing import Annotated

import typer

from sam3_agent.commands.console import or_exit


def train_tiny(
    folder: Annotated[Path, typer.Argument(help="Keeps the state and the log; resumes from them.")],
    export: Annotated[
        Path | None, typer.Option(help="Write the checkpoint here at every save.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="Training time in all.")] = 100.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one to a core.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights and the scenes.")] = 0,
) -> None:
    """Train the tiny SAM 3 on synthetic scenes; an interrupted run goes on where it was."""
    from sam3_agent.evals.synthetic.training_samples import training_sample
    from sam3_agent.model.training.trainer import Settings, train

    settings = Settings(minutes, workers=workers, seed=seed)
    or_exit(lambda: train(training_sample, folder, settings, export=export))
