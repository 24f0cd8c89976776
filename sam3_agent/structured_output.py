"""Structured output: questions to a model outside the conversation, answered by a schema."""

import contextvars
import inspect
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from sam3_agent.budget import Budget, UsageTracker, current_tracker
from sam3_agent.errors import PlannerError, ToolError
from sam3_agent.messages import Message
from sam3_agent.planner import Planner, sees
from sam3_agent.reply import ask_planner
from sam3_agent.tool import Observation, Tool, tool_named
from sam3_agent.tool_schema import lax_model

MAX_PARALLEL = 8
"""Questions that are asked in parallel."""

ATTEMPTS = 2
"""How often a question is asked when the reply does not fit the schema."""


T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class StructuredReply(Generic[T]):
    """A reply that fits the schema, or why there is none."""

    value: T | None
    failure: str = ""


@dataclass(frozen=True)
class Schema(Generic[T]):
    """What a reply has to be: the arguments of a tool, the only one that may be called.

    name: of that tool; the docstring of `model` is its description.
    """

    name: str
    model: type[T]

    def tool(self) -> Tool:
        """The tool; it is never run, only its arguments are read."""
        description = inspect.getdoc(self.model) or ""
        return Tool(self.name, description, lax_model(self.model), lambda scene: Observation(""))


def ask_structured(
    model: Planner, part: str, system: str, questions: Sequence[Message], schema: Schema[T]
) -> list[StructuredReply[T]]:
    """One StructuredReply per question, in order, each from a conversation of its own.

    The cost goes to the current tracker as `part`, and nothing is asked once the budget is used up.
    A model that fails, or does not keep to the schema, gives a reply without a value. Raises
    StoppedError when the caller has stopped the question.
    """
    tracker = current_tracker.get() or UsageTracker(Budget())
    saw = sees(model)

    def ask(question: Message) -> StructuredReply[T]:
        lost = StructuredReply[T](None, f"{model.name} takes no pictures")
        if saw and not sees(model):
            return lost
        reply = _ask(model, part, [Message("system", system), question], schema, tracker)
        # a reply about pictures that its server turned out not to take is worth nothing
        return lost if saw and not sees(model) else reply

    if len(questions) < 2:
        return [ask(question) for question in questions]
    pool = ThreadPoolExecutor(min(MAX_PARALLEL, len(questions)))
    try:
        futures = [
            pool.submit(contextvars.copy_context().run, ask, question) for question in questions
        ]
        return [future.result() for future in futures]
    except BaseException as error:
        # what has not been asked yet is not; replies on their way are waited for, since their cost
        # belongs to the question, but not on Ctrl-C
        tracker.stopped.set()
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    finally:
        pool.shutdown(wait=False)


def _ask(
    model: Planner, part: str, messages: list[Message], schema: Schema[T], tracker: UsageTracker
) -> StructuredReply[T]:
    tool, problem = schema.tool(), ""
    for _ in range(ATTEMPTS):
        over = tracker.exhausted()
        if over is not None:
            return StructuredReply(None, f"the budget is used up: {over}")
        try:
            reply = ask_planner(model, part, messages, (tool,), tracker)
        except PlannerError as error:
            return StructuredReply(None, str(error))
        problem = f"you did not call `{tool.name}`; call it"
        results: list[Message] = []
        fitting: list[T] = []
        for call in reply.tool_calls:
            try:
                if tool_named(call.name, (tool.name,)):
                    fitting.append(schema.model(**tool.checked(call.arguments)))
            except ToolError as error:
                problem = str(error)
            results.append(Message("tool", f"Error: {problem}", tool_call_id=call.id))
        if fitting:
            return StructuredReply(_joined(fitting))
        messages = [*messages, reply, *(results or [Message("user", f"Error: {problem}")])]
    return StructuredReply(None, f"{model.name} gave no usable reply ({problem})")


def _joined(replies: Sequence[T]) -> T:
    """The first of several calls, its lists followed by those of the others.

    Some models make a call for each item.
    """
    joined: dict[str, Any] = {
        name: [item for reply in replies for item in getattr(reply, name)]
        for name, value in replies[0]
        if isinstance(value, list)
    }
    return replies[0].model_copy(update=joined)
