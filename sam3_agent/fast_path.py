"""Answers a question that is itself a concept ("red cars") without the planner."""

import json
from collections.abc import Generator

from sam3_agent.errors import PromptError
from sam3_agent.events import ChecksFinished, Event
from sam3_agent.messages import Message, ToolCall
from sam3_agent.tool import Conclusion
from sam3_agent.tool_runner import ToolRunner
from sam3_agent.vocabulary import unknown_part

CLEAR_PRESENCE = 0.8
"""From this presence on a concept counts as present in the image."""


def answer_concept(
    phrase: str, single: bool, runner: ToolRunner, messages: list[Message]
) -> Generator[Event, None, Conclusion | None]:
    """The instances of a concept, when they are clear; None when the planner has to be asked.

    single: whether exactly one is asked for. messages: the conversation, to which a clear answer is
    added.
    """
    scene = runner.scene
    if unknown_part(phrase, scene.vocabulary):
        return None
    try:
        (finding,) = scene.segment([phrase])
    except PromptError:
        return None
    count = len(finding.numbers)
    clear = finding.presence >= CLEAR_PRESENCE and (count == 1 if single else count > 0)
    yield ChecksFinished(
        f'"{phrase}" asked without the planner: {count} found, presence '
        f"{finding.presence:.2f}" + ("" if clear else "; not clear, so the planner is asked")
    )
    if not clear:
        return None
    if "segment" in runner.tools:  # a follow-up question finds the masks in the conversation
        call = ToolCall("fast_path", "segment", json.dumps({"phrases": [phrase]}))
        messages += [Message("assistant", tool_calls=(call,)), runner.run(call).message]
    text = f"Found {count} of “{phrase}”."
    messages.append(Message("assistant", text))
    return Conclusion(text, finding.numbers)
