"""Where a model runs: the device, its precision, and what to say when its memory is too small."""

from typing import Any

from sam3_agent.errors import SegmenterError


def best_device() -> str:
    """CUDA or MPS where there is one, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def precision(device: str) -> Any:
    """bfloat16 on CUDA as Meta runs SAM 3, inside the block only; float32 elsewhere."""
    import torch

    return torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda"))


def memory_error(error: Exception, device: str, model: str = "SAM 3") -> SegmenterError:
    """A lack of memory as SegmenterError; any other RuntimeError is a bug and flies."""
    import torch

    words = str(error).lower()
    if not isinstance(error, torch.OutOfMemoryError) and "allocate" not in words:
        raise error
    return SegmenterError(
        f"the {device} device has too little memory for {model}: close other programs, use another "
        "device (device='cpu'), or a smaller checkpoint"
    )
