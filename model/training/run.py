"""Runs a training of the tiny SAM 3: resumable, with one process a core."""

import multiprocessing
import os
import signal
import tempfile
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist

from sam3_agent.extras import require
from sam3_agent.model.training.batch import Source
from sam3_agent.model.training.run_folder import EXPORTED, run_folder
from sam3_agent.model.training.run_state import check_same_run
from sam3_agent.model.training.settings import Settings
from sam3_agent.model.training.trainer import Trainer
from sam3_agent.model.training.workers import work_together


def train(
    source: Source,
    folder: Path,
    settings: Settings | None = None,
    *,
    export: Path | None = None,
) -> None:
    """Train in `folder` (state.pt, log.jsonl) and write the checkpoint to `export` at every save.

    A run that was cut off continues from its last save: same step, same scenes, same schedule.
    Ctrl-C (SIGINT) ends it after the step at hand with a save, and KeyboardInterrupt. source: must
    be importable by worker processes. Raises InputError for a folder or export that cannot be
    written to, a damaged state, or one of other settings; ModelError when the training diverges.
    """
    require("scipy", purpose="training the tiny SAM 3")
    settings = settings or Settings()
    with (
        run_folder(folder),
        run_folder(export, EXPORTED) if export else nullcontext(),
        tempfile.TemporaryDirectory() as rendezvous,
    ):
        check_same_run(folder, settings)
        job = (settings, source, folder, export, f"file://{rendezvous}/workers")
        if settings.workers == 1:
            _work(0, *job)
        else:
            work_together(_work, job, settings.workers)


def _work(
    rank: int,
    settings: Settings,
    source: Source,
    folder: Path,
    export: Path | None,
    rendezvous: str,
) -> None:
    if settings.workers == 1:
        Trainer(rank, settings, source, folder, export).run()
        return
    torch.set_num_threads(1)
    # torch interrupts workers whose parent died; a shell's background job would ignore that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it died before torch asked for that signal
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", rendezvous, rank=rank, world_size=settings.workers)
    try:
        Trainer(rank, settings, source, folder, export).run()
    finally:
        dist.destroy_process_group()
