"""The tool that ends a run."""

from sam3_agent.errors import ToolError
from sam3_agent.mentions import read_mentions
from sam3_agent.scene import Scene
from sam3_agent.tool import Conclusion


def answer(scene: Scene, text: str, numbers: list[int]) -> Conclusion:
    """Give the final answer.

    text: the answer in plain words; tie words to masks as in "the [dog](3) on the [sofa](1)".
    numbers: the masks that the answer is about; an empty list when nothing in the image matches.
    """
    plain, mentions = read_mentions(text.strip())
    known = len(scene.masks)
    named = [*numbers, *(number for mention in mentions for number in mention.numbers)]
    unknown = [number for number in named if not 1 <= number <= known]
    if unknown:
        have = f"the masks are 1 to {known}" if known else "no mask has been found yet"
        told = ", ".join(str(number)[:20] for number in unknown[:8])
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise ToolError(f"there is no mask {told}{more}: {have}")
    if not plain:
        raise ToolError("the answer's text is empty; answer in one or two plain sentences")
    return Conclusion(plain, tuple(dict.fromkeys(numbers)), mentions)
