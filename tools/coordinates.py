"""Converts places between pixels and what planners use: percent of the image's width and height.

Planners are sent pictures in other sizes than the image has; percent mean the same in all of them.
"""

from collections.abc import Iterable, Sequence

from sam3_agent.errors import ToolError
from sam3_agent.geometry import Box, Point
from sam3_agent.scene import Scene


def pixel_box(scene: Scene, box: Sequence[float], what: str = "box") -> Box:
    """A box x0 y0 x1 y1 in percent as pixels; raises ToolError with what was wrong."""
    named = f"the {what} {_listed(box)}"
    _check(named, box, "x0,y0,x1,y1", 4)
    x0, y0, x1, y1 = box
    if x0 >= x1 or y0 >= y1:
        raise ToolError(f"{named} has no area: x0 < x1 and y0 < y1 must hold")
    return (*_pixels(scene, x0, y0), *_pixels(scene, x1, y1))


def pixel_point(scene: Scene, point: Sequence[float]) -> Point:
    """A point x y in percent as pixels inside the image; raises ToolError with what was wrong."""
    _check(f"the point {_listed(point)}", point, "x,y", 2)
    x, y = _pixels(scene, *point)
    return min(x, scene.width - 0.5), min(y, scene.height - 0.5)


def percent_box(scene: Scene, box: Iterable[float]) -> str:
    """A box x0 y0 x1 y1 in pixels as "x0,y0,x1,y1" in percent."""
    x0, y0, x1, y1 = box
    return f"{percent_point(scene, x0, y0)},{percent_point(scene, x1, y1)}"


def percent_point(scene: Scene, x: float, y: float) -> str:
    """A point in pixels as "x,y" in percent."""
    return f"{plain(100 * x / scene.width)},{plain(100 * y / scene.height)}"


def plain(value: float) -> str:
    """A number with one decimal at most."""
    return f"{round(value, 1) + 0.0:g}"


def _check(named: str, values: Sequence[float], form: str, count: int) -> None:
    wanted = f"{form} in percent of the image, 0 to 100"
    if len(values) != count or not all(0 <= value <= 100 for value in values):
        raise ToolError(f"{named} is not {wanted}")
    if max(values) <= 1:
        raise ToolError(f"{named} seems to be in fractions; give {wanted}")


def _pixels(scene: Scene, x: float, y: float) -> Point:
    return x * scene.width / 100, y * scene.height / 100


def _listed(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:6])
    return f"[{shown}{', …' if len(values) > 6 else ''}]"
