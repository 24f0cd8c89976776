"""The tools `segment`, `segment_like` and `segment_at`: by phrases, by examples, at a place."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sam3_agent.errors import ToolError
from sam3_agent.findings import Finding
from sam3_agent.geometry import Box
from sam3_agent.scene import Scene
from sam3_agent.segmenter import COUNTING, STANDARD, ConceptPrompt, ObjectPrompt, Selection
from sam3_agent.tool import Observation, Tool
from sam3_agent.tools.coordinates import pixel_box, pixel_point
from sam3_agent.tools.observation_text import checked_numbers, observation
from sam3_agent.vocabulary import nearest_words, unknown_part

MAX_PHRASES = 16
"""More concepts than this in one call are refused."""

MAX_PLACES = 16
"""More examples or points than this in one call are refused."""


def segment(
    scene: Scene,
    phrases: list[str],
    threshold: float | None = None,
    region: list[float] | None = None,
    counting: bool = False,
) -> Observation:
    """Find every instance of each concept: numbered masks, a table, a picture.

    phrases: short singular noun phrases ("red car"), all that you need at once. threshold: least
    score, default {threshold}; moving it is free. region: look only in x0,y0,x1,y1 (percent of the
    image), at full resolution. counting: recipe to count many alike things.
    """
    if not 1 <= len(phrases) <= MAX_PHRASES:
        raise ToolError(f"segment takes 1 to {MAX_PHRASES} phrases, not {len(phrases)}")
    selection, box = _selection(threshold, counting), _region(scene, region)
    unknown = {phrase: unknown_part(phrase, scene.vocabulary) for phrase in phrases}
    known = [phrase for phrase in phrases if not unknown[phrase]]
    found = iter(scene.segment(known, selection=selection, region=box))
    findings = [
        _not_looked_for(scene, phrase, unknown[phrase]) if unknown[phrase] else next(found)
        for phrase in phrases
    ]
    return observation(scene, findings, scene.window(box))


def segment_tool(threshold: float) -> Tool:
    """The tool `segment` of a segmenter with this default threshold."""
    tool = Tool.from_function(segment, segment_together)
    return replace(tool, description=tool.description.replace("{threshold}", f"{threshold:g}"))


def segment_together(scene: Scene, calls: Sequence[Mapping[str, Any]]) -> None:
    """Segment the phrases of several `segment` calls in one batch; the calls then cost nothing."""
    groups: dict[tuple[Selection, Box | None], list[str]] = {}
    for call in calls:
        selection = _selection(call.get("threshold"), call.get("counting", False))
        group = groups.setdefault((selection, _region(scene, call.get("region"))), [])
        group.extend(one for one in call["phrases"] if not unknown_part(one, scene.vocabulary))
    for (selection, box), phrases in groups.items():
        scene.segment(phrases[: MAX_PHRASES * MAX_PHRASES], selection=selection, region=box)


def segment_like(
    scene: Scene,
    positive: list[int | list[float]],
    negative: list[int | list[float]] | None = None,
    phrase: str | None = None,
) -> Observation:
    """Find all that looks like examples: mask numbers or boxes in percent.

    phrase: name it too, better than either alone.
    """
    examples = [*positive, *(negative or ())]
    if not positive or len(examples) > MAX_PLACES:
        raise ToolError(
            f"segment_like takes 1 to {MAX_PLACES} examples, at least one of them positive: "
            "mask numbers or boxes"
        )
    boxes = [_example(scene, example) for example in examples]
    prompt = ConceptPrompt(
        phrase or "", tuple(boxes[: len(positive)]), tuple(boxes[len(positive) :])
    )
    return observation(scene, scene.segment([prompt]))


def segment_at(
    scene: Scene, points: list[list[float]] | None = None, box: list[float] | None = None
) -> Observation:
    """Segment the one object at points [x,y] on it, or in a box, in percent."""
    if not points and box is None:
        raise ToolError("segment_at needs points on the object, or a box around it")
    if len(points or ()) > MAX_PLACES:
        raise ToolError(f"segment_at takes at most {MAX_PLACES} points")
    inside = tuple(pixel_point(scene, point) for point in points or ())
    prompt = ObjectPrompt(inside, box=_region(scene, box, "box"))
    return observation(scene, [scene.segment_at(prompt)])


def _selection(threshold: float | None, counting: bool) -> Selection:
    if threshold is not None and not 0 <= threshold <= 1:
        raise ToolError(f"the threshold {threshold:g} is not a score from 0 to 1")
    selection = COUNTING if counting else STANDARD
    return selection if threshold is None else replace(selection, threshold=threshold)


def _not_looked_for(scene: Scene, phrase: str, unknown: str) -> Finding:
    nearest = nearest_words(unknown, scene.vocabulary or {})
    return Finding(phrase, 0.0, (), unknown=unknown, nearest=tuple(nearest))


def _region(scene: Scene, region: Sequence[float] | None, what: str = "region") -> Box | None:
    return None if region is None else pixel_box(scene, region, what)


def _example(scene: Scene, example: int | Sequence[float]) -> Box:
    """The box of a mask number, or a box in percent."""
    if not isinstance(example, int):
        return pixel_box(scene, example, "example")
    (number,) = checked_numbers(scene, [example])
    x0, y0, x1, y1 = (float(v) for v in scene.masks.boxes[number - 1])
    return x0, y0, x1, y1
