"""The device that a model runs on: its precision, threads, and errors of too little memory."""

import contextlib
from collections.abc import Iterator

from sam3_agent.errors import SegmenterError


def best_device() -> str:
    """CUDA or MPS where there is one, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


SMALL = 20_000_000
"""Parameters below which a second thread costs more than it brings (measured: evals/LOG.md)."""


def precision(device: str) -> str:
    """The data type in which SAM 3 runs there."""
    return "bfloat16" if device.startswith("cuda") else "float32"


@contextlib.contextmanager
def inference(device: str, parameters: int) -> Iterator[None]:
    """Runs SAM 3 in the block without gradients, in bfloat16 on CUDA as Meta does, else float32.

    A small model on the CPU has one thread. All settings are restored afterwards.
    """
    import torch

    threads = torch.get_num_threads()
    alone = device == "cpu" and parameters < SMALL and threads > 1
    half = torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda"))
    try:
        if alone:
            torch.set_num_threads(1)
        with torch.inference_mode(), half:
            yield
    finally:
        if alone:
            torch.set_num_threads(threads)


def memory_error(error: Exception, device: str, model: str = "SAM 3") -> SegmenterError:
    """A lack of memory as SegmenterError; any other RuntimeError is a bug and raised as it is."""
    import torch

    words = str(error).lower()
    if not isinstance(error, torch.OutOfMemoryError) and "allocate" not in words:
        raise error
    return SegmenterError(
        f"the {device} device has too little memory for {model}: close other programs, use another "
        "device (device='cpu'), or a smaller checkpoint"
    )
