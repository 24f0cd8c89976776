"""The answer of a planner that replies in plain text and never calls `answer`."""

import re
from collections.abc import Sequence

from sam3_agent.mentions import NUMBER_LIST, Mention, listed_numbers, narrow, read_mentions
from sam3_agent.reasoning import without_reasoning
from sam3_agent.sanitize import shorten, visible_text
from sam3_agent.scene import Scene
from sam3_agent.tool import Conclusion

MAX_TEXT = 4000
"""Characters of a reply that are taken for an answer; of a longer one the middle is left out."""

# Models that write channels have a header before the text of the last one.
_HEADER = re.compile(r"\A.*<\|message\|>", re.DOTALL)
_MARKUP = re.compile(r"<\|[^<>|\n]{0,40}\|?>|</?(?:answer|response)>", re.IGNORECASE)

_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_BROKEN_CALL = re.compile(r"[A-Z]+(?:_[A-Z]+)+(?:\n|\Z)")
"""How a provider's text begins when it could not read the model's call, such as Gemini's."""

_WORD = re.compile(r"(?<!\w)[^\W\d_]{1,40}(?!\w)")

# "mask 3", "masks 1, 2 and 5-7", "Mask #2": not "3%", "mask 2.5" or "masked 2".
_NAMED = re.compile(
    r"\b(?:mask(?:s|e|en)?|masques?|máscaras?)\b(?:\s*(?:numbers?|nos?\.|nr\.))?[\s:#*_`(\[]*"
    rf"({NUMBER_LIST})(?![\w%]|\.\d)",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"(no|none|nothing)\b"
    r"|there( is|\Ws| are) (no|none|nothing|not)\b|there (is|are)n\Wt\b"
    r"|i (do not|don\Wt|cannot|can\Wt|could not|couldn\Wt) (see|find)\b",
    re.IGNORECASE,
)


def answer_text(text: str) -> str:
    """The prose of a reply without a call: without reasoning (`<think>` and its
    siblings), code and special tokens; empty when nothing is left that is prose.
    """
    text = without_reasoning(text)
    text = _FENCED.sub(" ", _MARKUP.sub(" ", _HEADER.sub("", text))).strip()
    # JSON alone is a call that could not be read, and no answer
    is_data = text.startswith("{") or (text.startswith("[") and text.endswith("]"))
    if is_data or _BROKEN_CALL.match(text) or not _WORD.search(text):
        return ""
    return shorten(text, MAX_TEXT, middle=True)


def text_answer(texts: Sequence[str], scene: Scene) -> tuple[Conclusion, bool] | None:
    """The answer that replies without a call amount to, and whether they name its masks.

    texts: the replies in order, as `answer_text` gives them; the last one that names masks counts,
    else the last one. Its masks are those that it names ("[dog](3)", else "mask 3"), else those
    that were found last, or none when it denies that there is anything. None when there is no text.
    """
    readings = [_read(text, scene) for text in texts if text]
    if not readings:
        return None
    # a last reply such as "Done." must not discard the masks of the one before
    named = [one for one in readings if one.numbers]
    chosen = named[-1] if named else readings[-1]
    numbers = chosen.numbers
    if named:
        source = "with the masks that it names"
    # "there is no dog": then the masks that were found last are not what it means
    elif _DENIAL.match(chosen.text) or not scene.last_found:
        source = "and it names no masks"
    else:
        numbers, source = scene.last_found, "with the masks that were found last"
    note = f"(The planner did not call `answer`: this is its text, {source}.)"
    return Conclusion(f"{chosen.text}\n{note}", numbers, chosen.mentions), bool(named)


def _read(text: str, scene: Scene) -> Conclusion:
    """A reply's plain text, the masks that it names, and which words name which."""
    known = range(1, len(scene.masks) + 1)
    plain, marks = read_mentions(visible_text(text), known)
    mentions = [
        Mention(mark.start, mark.end, numbers)
        for mark in marks
        if (numbers := tuple(n for n in mark.numbers if n in known))
    ]
    named = [n for mention in mentions for n in mention.numbers]
    # prose is searched only without links: "unlike mask 3" names what is not meant
    if not named:
        found = _NAMED.finditer(narrow(plain))
        named = [n for one in found for n in listed_numbers(one[1]) if n in known]
    return Conclusion(plain, tuple(dict.fromkeys(named)), tuple(mentions))
