"""Records of answers for callers, without the folders of this machine."""

import re
from pathlib import Path
from typing import Any

from sam3_agent.answer import Answer

_FOLDER = re.compile(r"(?<![^:+])[~.]*/(?:[^+]*/)?")


def answer_record(answer: Answer) -> dict[str, Any]:
    """An answer with its conversation as JSON values."""
    return {
        **answer.to_dict(),
        "planner": public_name(answer.planner),
        "segmenter": public_name(answer.segmenter),
        "conversation": [message.to_dict() for message in answer.messages],
    }


def public_name(name: str) -> str:
    """A model's name without the folder of a machine that it, or a part of it, may lie in."""
    return Path(name).name if Path(name).is_absolute() else _FOLDER.sub("", name)
