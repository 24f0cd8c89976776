"""The tool that ends a run."""

from sam3_agent.errors import ToolError
from sam3_agent.scene import Scene
from sam3_agent.tool import Conclusion


def answer(scene: Scene, text: str, numbers: list[int]) -> Conclusion:
    """Give the final answer.

    text: the answer to the question in plain words.
    numbers: the masks that the answer is about; an empty list when nothing in the image matches.
    """
    known = len(scene.masks)
    unknown = [number for number in numbers if not 1 <= number <= known]
    if unknown:
        have = f"the masks are 1 to {known}" if known else "no mask has been found yet"
        told = ", ".join(str(number)[:20] for number in unknown[:8])
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise ToolError(f"there is no mask {told}{more}: {have}")
    if not text.strip():
        raise ToolError("the answer's text is empty; answer in one or two plain sentences")
    return Conclusion(text.strip(), tuple(dict.fromkeys(numbers)))
