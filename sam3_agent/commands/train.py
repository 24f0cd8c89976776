"""`sam3-agent train-tiny`: train the tiny SAM 3 that ships, from nothing."""

from pathlib import Path
from typing import Annotated

import typer

from sam3_agent.commands.options import check_writable, command


@command
def train_tiny(
    folder: Annotated[
        Path, typer.Argument(help="Gets the state and the log; training resumes from them.")
    ],
    export: Annotated[
        Path | None, typer.Option(help="Write the checkpoint here at every save.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="Training time in all.")] = 100.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes; one per core is best.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights and the scenes.")] = 0,
) -> None:
    """Train the tiny SAM 3 on synthetic scenes; an interrupted run continues."""
    for place in (folder, export or folder):
        check_writable(place)
    from sam3_agent.evals.synthetic.training_samples import training_sample
    from sam3_agent.model.training.run import train
    from sam3_agent.model.training.settings import Settings

    train(training_sample, folder, Settings(minutes, workers=workers, seed=seed), export=export)
