"""Structured output: questions to a model outside the conversation, answered by a schema."""

import contextvars
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sam3_agent.budget import Budget, UsageTracker, current_tracker
from sam3_agent.errors import PlannerError, ToolError
from sam3_agent.messages import Message
from sam3_agent.planner import Planner, sees
from sam3_agent.reply import ask_planner
from sam3_agent.tool import Tool, tool_named

MAX_PARALLEL = 8
"""Questions that are asked in parallel."""

ATTEMPTS = 2
"""How often a question is asked when the reply does not fit the schema."""


@dataclass(frozen=True)
class StructuredReply:
    """The values of a reply that fits the schema, or why there are none."""

    values: Mapping[str, Any] | None
    failure: str = ""


def ask_structured(
    model: Planner, part: str, system: str, questions: Sequence[Message], schema: Tool
) -> list[StructuredReply]:
    """One StructuredReply per question, in order, each from a conversation of its own.

    schema: the one tool that the model may call; its checked arguments are the values. The cost
    goes to the current tracker as `part`, and nothing is asked once the budget is used up. A model
    that fails, or does not keep to the schema, gives a reply without values.
    """
    tracker = current_tracker.get() or UsageTracker(Budget())
    saw = sees(model)

    def ask(question: Message) -> StructuredReply:
        lost = StructuredReply(None, f"{model.name} takes no pictures")
        if saw and not sees(model):
            return lost
        reply = _ask(model, part, [Message("system", system), question], schema, tracker)
        # a reply about pictures that its server turned out not to take is worth nothing
        return lost if saw and not sees(model) else reply

    if len(questions) < 2:
        return [ask(question) for question in questions]
    with ThreadPoolExecutor(min(MAX_PARALLEL, len(questions))) as pool:
        futures = [
            pool.submit(contextvars.copy_context().run, ask, question) for question in questions
        ]
        try:
            return [future.result() for future in futures]
        except BaseException:  # Ctrl-C, too: what has not been asked yet is not
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _ask(
    model: Planner, part: str, messages: list[Message], schema: Tool, tracker: UsageTracker
) -> StructuredReply:
    problem = ""
    for _ in range(ATTEMPTS):
        over = tracker.exhausted()
        if over is not None:
            return StructuredReply(None, f"the budget is used up: {over}")
        try:
            reply = ask_planner(model, part, messages, (schema,), tracker)
        except PlannerError as error:
            return StructuredReply(None, str(error))
        problem = f"you did not call `{schema.name}`; call it"
        results, fitting = [], []
        for call in reply.tool_calls:
            try:
                if tool_named(call.name, (schema.name,)):
                    fitting.append(schema.checked(call.arguments))
            except ToolError as error:
                problem = str(error)
            results.append(Message("tool", f"Error: {problem}", tool_call_id=call.id))
        if fitting:
            return StructuredReply(_joined(fitting))
        messages = [*messages, reply, *(results or [Message("user", f"Error: {problem}")])]
    return StructuredReply(None, f"{model.name} gave no usable reply ({problem})")


def _joined(calls: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The arguments of the first of several calls, its lists followed by those of the others."""
    return {
        name: [one for call in calls for one in call.get(name, ())]
        if isinstance(value, list)
        else value
        for name, value in calls[0].items()
    }
