"""The tool that finds every instance of a concept."""

from collections.abc import Mapping, Sequence
from typing import Any

from sam3_agent.errors import ToolError
from sam3_agent.scene import Finding, Scene
from sam3_agent.tool import Observation
from sam3_agent.tools.overlay import draw_masks

MAX_PHRASES = 16
"""More concepts than this in one call are refused."""


def segment(scene: Scene, phrases: list[str]) -> Observation:
    """Find every instance of each concept and get numbered masks.

    phrases: short noun phrases, singular, with at most two visual attributes, such as "red car".
    Give all concepts that you need in one call. A mask keeps its number for good.
    """
    if not 1 <= len(phrases) <= MAX_PHRASES:
        raise ToolError(f"segment takes 1 to {MAX_PHRASES} phrases, not {len(phrases)}")
    findings = scene.find(phrases)
    numbers = tuple(dict.fromkeys(n for finding in findings for n in finding.numbers))
    masks = [_mask_data(scene, number) for number in numbers]
    text = "\n".join([*map(_finding_line, findings), *map(_mask_line, masks)])
    pictures = (draw_masks(scene.image, scene.select(numbers), numbers),) if numbers else ()
    data = {
        "image": {"width": scene.width, "height": scene.height},
        "findings": [
            {"phrase": f.phrase, "presence": round(f.presence, 3), "numbers": list(f.numbers)}
            for f in findings
        ],
        "masks": masks,
    }
    return Observation(text, pictures, data)


def find_together(scene: Scene, calls: Sequence[Mapping[str, Any]]) -> None:
    """Ask for the phrases of several calls at once; the calls themselves then cost nothing."""
    phrases = [phrase for call in calls for phrase in call["phrases"]]
    scene.find(phrases[: MAX_PHRASES * MAX_PHRASES])


def _mask_data(scene: Scene, number: int) -> dict[str, Any]:
    masks = scene.select([number])
    return {
        "number": number,
        "phrase": masks.phrases[0],
        "score": round(float(masks.scores[0]), 3),
        "box": [round(float(v), 1) for v in masks.boxes[0]],
        "area": int(masks.areas()[0]),
        "area_percent": round(100 * float(masks.areas()[0]) / (scene.width * scene.height), 2),
    }


def _finding_line(finding: Finding) -> str:
    found = ", ".join(map(str, finding.numbers)) or "none"
    return f'"{finding.phrase}": masks {found} (presence {finding.presence:.2f})'


def _mask_line(mask: dict[str, Any]) -> str:
    box = ",".join(f"{v:.0f}" for v in mask["box"])
    return (
        f'{mask["number"]}: "{mask["phrase"]}" score {mask["score"]:.2f} '
        f"box {box} area {mask['area_percent']:.1f}%"
    )
