"""The agent: ask a planner, run its tools on the scene, until it answers."""

import asyncio
import contextlib
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from sam3_agent import load
from sam3_agent.answer import Answer, Status
from sam3_agent.errors import DeadlineError, InputError, PromptError, ToolError
from sam3_agent.events import (
    Event,
    Finished,
    PlannerReplied,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)
from sam3_agent.images import MAX_MEGAPIXELS, ImageSource, Pixels, load_image
from sam3_agent.messages import Message, ToolCall
from sam3_agent.planner import Planner
from sam3_agent.scene import Scene
from sam3_agent.segmenter import Segmenter
from sam3_agent.tool import MAX_ARGUMENTS, Conclusion, Tool, tool_named
from sam3_agent.usage import Budget, Spent, Usage, deadline

MAX_QUERY_CHARACTERS = 4000
"""A question longer than this is refused: it would crowd out the conversation."""

MAX_CALLS = 16
"""Calls in one reply that are run; each further one is answered with an error."""

MAX_SAID = 20_000
"""Characters of a reply's words that are kept; of a longer one the middle is left out."""

MAX_TOLD = 600
"""Characters of an error that a planner is told."""

FREE = 0
"""The price of a planner that has none, such as `offline`."""

LAST_TURN = "This is your last turn: call `answer` now with the best that you have."
NO_CALL = "You called no tool. Call a tool; when you are done, call `answer`."


class Agent:
    """Grounds questions about images: words and masks.

    planner, segmenter: an object or a name (see `load`); None takes the environment's choice,
        else `offline` and `tiny`.
    tools: what the planner may call, by default `load.tools()`.
    budget: what one question may cost.
    max_megapixels: a larger image is refused.

    An agent keeps nothing between questions, so one may serve several threads.
    """

    def __init__(
        self,
        planner: Planner | str | None = None,
        segmenter: Segmenter | str | None = None,
        *,
        tools: Sequence[Tool] | None = None,
        budget: Budget | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        self.planner = planner if not isinstance(planner, str | None) else load.planner(planner)
        self.segmenter = (
            segmenter if not isinstance(segmenter, str | None) else load.segmenter(segmenter)
        )
        self.tools = {tool.name: tool for tool in (load.tools() if tools is None else tools)}
        self.budget = budget or Budget()
        if self.budget.usd is not None and getattr(self.planner, "price", FREE) is None:
            raise InputError(
                f"a budget of {self.budget.usd:g} US dollars cannot be kept: the price of "
                f"{self.planner.name} is not known; give it (price, --price IN,CACHED,OUT)"
            )
        self.max_megapixels = max_megapixels

    def ask(self, image: ImageSource, query: str) -> Answer:
        """Answer a question about an image.

        image: path, URL, bytes, PIL image or (H, W, 3) uint8 array. Raises ImageError and
        InputError for input that cannot be used, PlannerError and SegmenterError when a model
        fails. What the planner does wrong is never raised.
        """
        for event in self.stream(image, query):
            if isinstance(event, Finished):
                return event.answer
        raise AssertionError("a stream ends with Finished")

    async def aask(self, image: ImageSource, query: str) -> Answer:
        """`ask` for async callers, each step in a thread; cancelling stops at the next step."""
        events = self.stream(image, query)
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, events))
            try:
                event = await asyncio.shield(step)
            except asyncio.CancelledError:
                step.add_done_callback(lambda _: events.close())
                raise
            if isinstance(event, Finished):
                return event.answer

    def stream(self, image: ImageSource, query: str) -> Generator[Event, None, None]:
        """`ask` as typed events; the last is Finished. Closing the generator stops the run."""
        query = _checked_query(query)
        return _Run(self, load_image(image, max_megapixels=self.max_megapixels), query).events()


class _Run:
    """One question on its way to an answer."""

    def __init__(self, agent: Agent, image: Pixels, query: str) -> None:
        self.agent = agent
        self.scene = Scene(image, agent.segmenter)
        self.query = query
        self.began = time.monotonic()
        self.spent = Spent()
        self.planner_seconds = 0.0
        self.turns = self.tool_calls = self.tool_errors = self.mistakes = 0
        self.messages = [
            Message("system", load.system_prompt()),
            Message("user", query, pictures=(image,)),
        ]

    def events(self) -> Generator[Event, None, None]:
        budget = self.agent.budget
        while (over := self._over()) is None:
            yield TurnStarted(self.turns + 1, budget.turns)
            if self.turns + 1 == budget.turns:
                self.messages.append(Message("user", LAST_TURN))
            try:
                reply = self._reply()
            except DeadlineError as error:
                self.spent += Spent(retries=error.tries)
                over = f"its {budget.seconds:g} seconds ({error})"
                break
            yield PlannerReplied(reply)
            self._prepare(reply.tool_calls)
            if not reply.tool_calls:
                self.messages.append(Message("user", NO_CALL))
            conclusion: Conclusion | None = None
            worked = False
            for number, call in enumerate(reply.tool_calls, 1):
                yield ToolStarted(call)
                message, failed, concluded = self._call(call, number)
                conclusion = conclusion or concluded
                worked = worked or not failed
                yield ToolFinished(call, message, failed)
            self.mistakes = 0 if worked else self.mistakes + 1
            if conclusion is not None:
                status: Status = "answered" if conclusion.numbers else "no_target"
                yield Finished(self._answer(conclusion, status))
                return
        best = Conclusion(
            f"The planner used up {over} without an answer; "
            "these are the masks that its last concept call found.",
            self.scene.latest,
        )
        yield Finished(self._answer(best, "out_of_budget"))

    def _over(self) -> str | None:
        """Which part of the budget is spent, if any."""
        budget = self.agent.budget
        if self.turns >= budget.turns:
            return f"its {budget.turns} turns"
        if self.mistakes >= budget.mistakes:
            last = self.messages[-1].text.removeprefix("Error: ")
            return f"its {budget.mistakes} mistakes in a row (the last: {last})"
        return budget.exhausted(self.spent, time.monotonic() - self.began)

    def _reply(self) -> Message:
        seconds = self.agent.budget.seconds
        limit = deadline.set(None if seconds is None else self.began + seconds)
        began = time.monotonic()
        try:
            reply = self.agent.planner.reply(tuple(self.messages), tuple(self.agent.tools.values()))
        finally:
            deadline.reset(limit)
        self.planner_seconds += time.monotonic() - began
        reply = _kept(reply)
        self.spent += reply.spent
        self.turns += 1
        self.messages.append(reply)
        return reply

    def _prepare(self, calls: Sequence[ToolCall]) -> None:
        """Let a tool do the work of its calls together; what is wrong is told call by call."""
        together: dict[str, list[dict[str, Any]]] = {}
        for call in calls[:MAX_CALLS]:
            name = tool_named(call.name, self.agent.tools)
            if name is not None:
                with contextlib.suppress(ToolError):
                    arguments = self.agent.tools[name].checked(call.arguments)
                    together.setdefault(name, []).append(arguments)
        for name, several in together.items():
            prepare = self.agent.tools[name].prepare
            if prepare is not None and len(several) > 1:
                with contextlib.suppress(ToolError, PromptError):
                    prepare(self.scene, several)

    def _call(self, call: ToolCall, number: int) -> tuple[Message, bool, Conclusion | None]:
        """Run the reply's tool call of this number, and add what it gave to the conversation."""
        self.tool_calls += 1
        failed, concluded = False, None
        try:
            name = tool_named(call.name, self.agent.tools)
            if name is None:
                known = ", ".join(self.agent.tools)
                raise ToolError(f"there is no tool {call.name!r}; the tools are: {known}")
            if number > MAX_CALLS:
                raise ToolError(f"not run: one reply may have at most {MAX_CALLS} calls")
            result = self.agent.tools[name].run(self.scene, call.arguments)
        except (ToolError, PromptError) as error:
            self.tool_errors += 1
            failed = True
            told = _cut(" ".join(str(error).split()), MAX_TOLD)
            message = Message("tool", f"Error: {told}", tool_call_id=call.id)
        else:
            if isinstance(result, Conclusion):
                concluded = result
                message = Message("tool", "Answered.", tool_call_id=call.id)
            else:
                message = Message(
                    "tool", result.text, result.pictures, tool_call_id=call.id, data=result.data
                )
        self.messages.append(message)
        return message, failed, concluded

    def _answer(self, conclusion: Conclusion, status: Status) -> Answer:
        return Answer(
            query=self.query,
            text=conclusion.text,
            status=status,
            masks=self.scene.select(conclusion.numbers),
            numbers=conclusion.numbers,
            usage=Usage(
                turns=self.turns,
                tool_calls=self.tool_calls,
                tool_errors=self.tool_errors,
                spent=self.spent,
                seconds=time.monotonic() - self.began,
                planner_seconds=self.planner_seconds,
                segmenter_seconds=self.scene.segmenter_seconds,
            ),
            messages=tuple(self.messages),
            planner=self.agent.planner.name,
            segmenter=self.agent.segmenter.name,
            image=self.scene.image,
        )


def _kept(reply: Message) -> Message:
    """A reply as it goes into the conversation: text that can be sent on, and not endless."""
    calls = tuple(
        replace(
            call,
            id=_sendable(call.id),
            name=_cut(_sendable(call.name), 100),
            arguments=_sendable(call.arguments)[: MAX_ARGUMENTS + 1],
        )
        for call in reply.tool_calls
    )
    return replace(reply, text=_cut(_sendable(reply.text), MAX_SAID), tool_calls=calls)


def _sendable(text: str) -> str:
    """Text without halves of surrogate pairs, which no encoding can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _cut(text: str, limit: int) -> str:
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


def _checked_query(query: str) -> str:
    if not isinstance(query, str) or not query.strip():
        raise InputError("the question is empty; ask something such as 'the leftmost red car'")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InputError(
            f"the question has {len(query)} characters, the limit is {MAX_QUERY_CHARACTERS}"
        )
    return _sendable(query.strip())
