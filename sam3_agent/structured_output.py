"""Consultations: questions to a model outside the conversation, each answered by filling a form."""

import contextvars
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sam3_agent.errors import PlannerError, ToolError
from sam3_agent.messages import Message
from sam3_agent.planner import Planner, sees
from sam3_agent.reply import sanitize_reply
from sam3_agent.tool import Tool, tool_named
from sam3_agent.usage import Budget, UsageTracker, current_tracker, usage_of

MAX_AT_ONCE = 8
"""Questions that are asked side by side."""

TRIES = 2
"""How often a model is asked that does not fill the form."""


@dataclass(frozen=True)
class Opinion:
    """A filled form, or why there is none."""

    values: Mapping[str, Any] | None
    failure: str = ""


def consult(
    model: Planner, part: str, system: str, questions: Sequence[Message], form: Tool
) -> list[Opinion]:
    """One Opinion per question, in order, each from a fresh conversation.

    form: the one tool that the model may call; its checked arguments are the opinion. What it costs
    goes to the current ledger as `part`, and nothing is asked once the budget is spent. What the
    model does wrong, and that it cannot be reached, is an opinion without values.
    """
    account = current_tracker.get() or UsageTracker(Budget())
    saw = sees(model)

    def ask(question: Message) -> Opinion:
        if saw and not sees(model):
            return Opinion(None, f"{model.name} takes no pictures")
        opinion = _asked(model, part, [Message("system", system), question], form, account)
        # what it says of a picture that its server turned out not to take is worth nothing
        return (
            Opinion(None, f"{model.name} takes no pictures") if saw and not sees(model) else opinion
        )

    if len(questions) < 2:
        return [ask(question) for question in questions]
    with ThreadPoolExecutor(min(MAX_AT_ONCE, len(questions))) as pool:
        waiting = [
            pool.submit(contextvars.copy_context().run, ask, question) for question in questions
        ]
        try:
            return [one.result() for one in waiting]
        except BaseException:  # Ctrl-C, too: what has not been asked yet is not
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _asked(
    model: Planner, part: str, messages: list[Message], form: Tool, account: UsageTracker
) -> Opinion:
    problem = ""
    for _ in range(TRIES):
        over = account.exhausted()
        if over is not None:
            return Opinion(None, f"the budget is used up: {over}")
        try:
            reply = sanitize_reply(model.reply(tuple(messages), (form,)))
        except PlannerError as error:
            account.add(part, usage_of(error))
            return Opinion(None, str(error))
        account.add(part, reply.spent)
        problem = f"you did not call `{form.name}`; call it"
        answers, filled = [], []
        for call in reply.tool_calls:
            try:
                if tool_named(call.name, (form.name,)):
                    filled.append(form.checked(call.arguments))
            except ToolError as error:
                problem = str(error)
            answers.append(Message("tool", f"Error: {problem}", tool_call_id=call.id))
        if filled:
            return Opinion(_joined(filled))
        messages = [*messages, reply, *(answers or [Message("user", f"Error: {problem}")])]
    return Opinion(None, f"{model.name} gave no usable opinion ({problem})")


def _joined(forms: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first of several filled forms, its lists followed by those of the others."""
    return {
        name: [one for form in forms for one in form.get(name, ())]
        if isinstance(value, list)
        else value
        for name, value in forms[0].items()
    }
