"""The tags with which models mark reasoning in a reply, and a reply without it."""

import re

_NAMES = r"(?:\w{1,20}:)?(?:think|thinking|thoughts?|reasoning|analysis|reflection|scratchpad)"

REASONING_TAGS = (
    (rf"<{_NAMES}\b[^>]{{0,100}}>", rf"</{_NAMES}\s*>"),
    (r"\[THINK\]", r"\[/THINK\]"),
    (
        r"<\|channel\|>\s*analysis\b(?! *to=)",
        r"<\|(?:end|call|return)\|>|(?=<\|(?:start|channel)\|>)",
    ),
    (r"<\|channel>thought\b", r"<channel\|>"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    (r"◁think▷", r"◁/think▷"),
    (r"<\|open\|>think<\|sep\|>", r"<\|close\|>think<\|sep\|>"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
)
"""Patterns, to be read regardless of case, of how reasoning begins and ends: DeepSeek, Qwen and
many; Mistral; gpt-oss; Gemma 4; Command A; Kimi-VL; Kimi K3; Sky-T1."""

REASONING_END = "|".join(end for _, end in REASONING_TAGS if "channel" not in end)
"""What ends reasoning that began in the prompt, so that its opening tag is not in the reply."""

_REASONING = re.compile(
    "|".join(rf"{begin}.*?(?:{end}|\Z)" for begin, end in REASONING_TAGS),
    re.DOTALL | re.IGNORECASE,
)
_UNOPENED = re.compile(rf"\A.*(?:{REASONING_END})", re.DOTALL | re.IGNORECASE)


def without_reasoning(text: str) -> str:
    """The text with a blank for each piece of reasoning; what is not closed lasts to the end."""
    return _UNOPENED.sub(" ", _REASONING.sub(" ", text))
