"""Sizes and places in an image, in pixels, x to the right and y down."""

from typing import TypeAlias

Size: TypeAlias = tuple[int, int]
"""(height, width), as of an array"""

Extent: TypeAlias = tuple[int, int]
"""(width, height), as of a Pillow image"""

Point: TypeAlias = tuple[float, float]
"""x y"""

Box: TypeAlias = tuple[float, float, float, float]
"""x0 y0 x1 y1"""

Region: TypeAlias = tuple[int, int, int, int]
"""x0 y0 x1 y1 in whole pixels; x1 and y1 are exclusive."""
