"""A tool that counts pixels."""

from typing import Annotated

from pydantic import Field

from sam3_agent import Observation, Scene, ToolError


def count_pixels(
    scene: Scene,
    numbers: Annotated[list[int], Field(description="the masks", min_length=1, max_length=100)],
) -> Observation:
    """Count the pixels of masks."""
    unknown = [number for number in numbers if number not in scene.numbers]
    if unknown:
        raise ToolError(f"there is no mask {unknown[0]}; the masks are {list(scene.numbers)}")
    areas = scene.select(numbers).areas()
    pairs = zip(numbers, areas, strict=True)
    return Observation(" ".join(f"{number}: {area} pixels." for number, area in pairs))
