"""The tool `edit`: drops, restores, merges and subtracts masks."""

from typing import Literal

from sam3_agent.observations import MaskNumbers
from sam3_agent.overlay import view
from sam3_agent.scene import Scene
from sam3_agent.tool import Observation
from sam3_agent.tools.observation_text import checked_numbers, mask_lines, ranges


def edit(
    scene: Scene, action: Literal["drop", "restore", "merge", "subtract"], numbers: list[int]
) -> Observation:
    """Change masks. merge: all into one new mask. subtract: a new mask, the first without the rest.

    What is dropped or replaced can be restored.
    """
    chosen = checked_numbers(scene, numbers, 2 if action in ("merge", "subtract") else 1)
    made: list[int] = []
    match action:
        case "drop":
            scene.drop(chosen)
            done = f"Dropped {ranges(chosen)}."
        case "restore":
            scene.restore(chosen)
            done = f"Restored {ranges(chosen)}."
        case "merge":
            made = [scene.merge(chosen)]
            done = f"Masks {ranges(chosen)} are now mask {made[0]}."
        case "subtract":
            made = [scene.subtract(chosen[0], chosen[1:])]
            done = f"Mask {chosen[0]} without {ranges(chosen[1:])} is now mask {made[0]}."
    left = f"Masks: {ranges(scene.numbers) or 'none'}."
    pictures = (view(scene.image, scene.select(made), made),) if made else ()
    text = "\n".join([f"{done} {left}", *mask_lines(scene, made)])
    return Observation(text, pictures, MaskNumbers(scene.numbers))
