"""The text of observations: a line for each mask; and checks the mask numbers of a call."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sam3_agent.errors import ToolError
from sam3_agent.findings import Finding
from sam3_agent.geometry import Region
from sam3_agent.observations import SegmentFindings
from sam3_agent.overlay import view
from sam3_agent.sanitize import shorten
from sam3_agent.scene import Scene
from sam3_agent.tool import Observation
from sam3_agent.tools.coordinates import percent_box

MAX_VOCABULARY = 2000
"""Characters of a vocabulary that are listed."""

MAX_ROWS = 60
"""Masks of one observation that get a line; the picture shows all."""


def checked_numbers(
    scene: Scene, numbers: Sequence[int], least: int = 1, most: int | None = None
) -> tuple[int, ...]:
    """The numbers, each once; ToolError for masks that do not exist, and too few or too many."""
    known = len(scene.masks)
    unknown = [number for number in numbers if not 1 <= number <= known]
    if unknown:
        have = f"the masks are 1 to {known}" if known else "no mask has been found yet"
        listed = ", ".join(str(number)[:20] for number in unknown[:8])
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise ToolError(f"there is no mask {listed}{more}: {have}")
    once = tuple(dict.fromkeys(numbers))
    if len(once) < least:
        raise ToolError(f"give the numbers of {least} masks or more, not {len(once)}")
    if most is not None and len(once) > most:
        raise ToolError(f"give the numbers of at most {most} masks at a time, not {len(once)}")
    return once


def observation(
    scene: Scene, findings: Sequence[Finding], region: Region | None = None
) -> Observation:
    """The observation of prompts: a line for each, a line for each new mask, a picture of all.

    A mask that an earlier prompt found is named and not described again; a dropped one is named as
    that and not drawn. region: the picture shows only this part.
    """
    numbers = tuple(dict.fromkeys(n for finding in findings for n in finding.numbers))
    fresh = {number for finding in findings for number in finding.fresh}
    shown = scene.kept(numbers)
    new = [number for number in shown if number in fresh]
    lines = [_finding_line(scene, finding, fresh) for finding in findings]
    if any(finding.unknown for finding in findings):
        lines.append(_vocabulary_line(scene))
    pictures = (view(scene.image, scene.select(shown), shown, region),) if shown else ()
    found = SegmentFindings(
        tuple(replace(finding, numbers=scene.kept(finding.numbers)) for finding in findings),
        scene.select(shown),
        shown,
    )
    text = "\n".join([*lines, *mask_lines(scene, new)])
    return Observation(text, pictures, found, summary="\n".join(lines))


def mask_lines(scene: Scene, numbers: Sequence[int]) -> list[str]:
    """A line for each mask, of at most MAX_ROWS, and what is left out."""
    masks = scene.select(numbers[:MAX_ROWS])
    percent = 100 * masks.areas() / (scene.width * scene.height)
    lines = []
    for i, number in enumerate(numbers[:MAX_ROWS]):
        # rounded twice, since a recorded run is replayed only where the text is the same
        score, area = round(float(masks.scores[i]), 3), round(float(percent[i]), 2)
        box = percent_box(scene, [round(float(value), 1) for value in masks.boxes[i]])
        lines.append(
            f'{number}: "{masks.phrases[i]}" score {score:.2f} box {box} '
            f"area {area:.{1 if area >= 1 else 2}f}%"
        )
    left = numbers[MAX_ROWS:]
    if left:
        lines.append(f"and {len(left)} more, {ranges(left)}, in the picture without a line here")
    return lines


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as ranges: "1-3, 7"; two neighbours stay apart."""
    ordered = np.unique(np.asarray(numbers, dtype=np.int64))
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run))
                     for run in runs)  # fmt: skip


def _vocabulary_line(scene: Scene) -> str:
    """The whole vocabulary, nouns with the same attributes together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for noun, attributes in (scene.vocabulary or {}).items():
        groups.setdefault(tuple(attributes), []).append(noun)
    parts = [
        ", ".join(nouns) + (f" (also {'/'.join(attributes)})" if attributes else "")
        for attributes, nouns in groups.items()
    ]
    return shorten(f"The segmenter knows only: {'; '.join(parts)}.", MAX_VOCABULARY, middle=True)


def _finding_line(scene: Scene, finding: Finding, fresh: set[int]) -> str:
    if finding.unknown:
        nearest = " or ".join(f'"{word}"' for word in finding.nearest)
        return (
            f'"{finding.phrase}": not looked for, the segmenter does not know "{finding.unknown}"'
            + (f"; did you mean {nearest}?" if nearest else "")
        )
    kept = scene.kept(finding.numbers)
    groups = {
        "": [number for number in kept if number in fresh],
        "known already: ": [number for number in kept if number not in fresh],
        "dropped: ": [number for number in finding.numbers if number not in kept],
    }
    named = [f"{title}{ranges(group)}" for title, group in groups.items() if group]
    return (
        f'"{finding.phrase}": masks {"; ".join(named) or "none"} (presence {finding.presence:.2f})'
    )
