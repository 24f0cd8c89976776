"""The tool `answer`: gives the final answer, which ends the run."""

from sam3_agent.errors import ToolError
from sam3_agent.mentions import read_mentions
from sam3_agent.sanitize import visible_text
from sam3_agent.scene import Scene
from sam3_agent.tool import Conclusion
from sam3_agent.tools.observation_text import checked_numbers


def answer(scene: Scene, text: str, numbers: list[int], unable: bool = False) -> Conclusion:
    """Give the final answer.

    text: the answer in plain words; tie words to masks as in "the [dog](3) on the [sofa](1)".
    numbers: the masks of what was asked for; empty when nothing matches.
    unable: no sense in the question (not: no match).
    """
    if unable and numbers:
        raise ToolError("an answer with masks is not `unable`; leave out one of the two")
    known = range(1, len(scene.masks) + 1)
    plain, mentions = read_mentions(visible_text(text).strip(), known)
    checked_numbers(scene, [n for mention in mentions for n in mention.numbers], 0)
    chosen = checked_numbers(scene, numbers, 0)
    if not plain:
        raise ToolError("the answer's text is empty; answer in one or two plain sentences")
    return Conclusion(plain, chosen, mentions, unable)
