"""Limits the size of pictures before they are decoded."""

from sam3_agent.errors import ImageError
from sam3_agent.geometry import Extent

MAX_MEGAPIXELS = 100.0
MIN_SIDE = 2


def check_size(extent: Extent, name: str, max_megapixels: float) -> None:
    """Raises ImageError for a picture that is too small or too large. name: of the picture."""
    width, height = extent
    if min(extent) < MIN_SIDE:
        raise ImageError(
            f"{name} is {width}x{height} pixels; each side needs at least {MIN_SIDE} pixels"
        )
    if width * height > max_megapixels * 1e6:
        raise ImageError(
            f"{name} has {width * height / 1e6:.0f} megapixels, the limit is {max_megapixels:g}; "
            "make it smaller or raise the limit (max_megapixels, --max-megapixels)"
        )
