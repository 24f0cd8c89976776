"""A run: one question on its way from the planner's first turn to an answer."""

import contextlib
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sam3_agent import registry
from sam3_agent.answer import Answer, Status
from sam3_agent.errors import DeadlineError, PlannerError, PromptError, ToolError
from sam3_agent.events import (
    ChecksFinished,
    Event,
    PlannerReplied,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)
from sam3_agent.messages import Message, ToolCall
from sam3_agent.observations import UserQuestion
from sam3_agent.reply import sanitize_reply
from sam3_agent.review import Checks
from sam3_agent.sanitize import one_line
from sam3_agent.scene import Scene
from sam3_agent.text_answer import answer_text, text_answer
from sam3_agent.tool import Conclusion, Tool, tool_named
from sam3_agent.usage import Usage, UsageTracker, current_tracker, deadline, usage_of
from sam3_agent.vocabulary import unknown_part

if TYPE_CHECKING:
    from sam3_agent.agent import Agent

MAX_CALLS = 16
"""Calls in one reply that are run; each further one is answered with an error."""

MAX_TOLD = 600
"""Characters of an error that a planner is told."""

CLEAR_PRESENCE = 0.8
"""From here on a concept is taken to be there without a planner's look."""

LAST_TURN = "This is your last turn: call `answer` now with the best that you have."
NO_CALL = "You called no tool. Call a tool; when you are done, call `answer`."
DOUBTS = (
    "Not sent yet: an independent check of this answer has doubts. It may be wrong, too.\n{}\n"
    "Look again where it pays, then call `answer`: corrected, or the same if you are sure."
)


@dataclass(frozen=True)
class Asked:
    """A question in its place: the scene, and what was said about it before.

    context: earlier questions and answers of a chat, in words; empty for a first question.
    """

    scene: Scene
    query: str
    history: tuple[Message, ...] = ()
    answered: tuple[int, ...] = ()
    context: str = ""


class Run:
    """One reading of a question by an agent's planner; what it costs goes to `account`.

    person: the tool with which the planner may ask the person.
    """

    def __init__(
        self, agent: "Agent", asked: Asked, account: UsageTracker, person: Tool | None = None
    ) -> None:
        self.agent, self.asked, self.scene, self.account = agent, asked, asked.scene, account
        self.checks = agent.checks()
        self.tools = {tool.name: tool for tool in self._offered(person)}
        self.scene.begin_question()
        self.segmenter_began = self.scene.segmenter_seconds
        self.planner_seconds = self.checks_seconds = 0.0
        self.turns = self.tool_calls = self.tool_errors = self.mistakes = 0
        self.checked = False
        self.doubted: Conclusion | None = None
        self.reminded = False
        self.texts: list[str] = []
        question = Message(
            "user",
            asked.query,
            () if asked.history else (self.scene.image,),
            question=UserQuestion(asked.answered, self.scene.vocabulary),
        )
        before = asked.history or (Message("system", registry.system_prompt()),)
        self.messages = [*before, question]

    def events(self) -> Generator[Event, None, Answer]:
        """The run step by step; the generator's return value is the answer."""
        if self.agent.effort.straight and not self.asked.history:
            straight = yield from self._straight()
            if straight is not None:
                return straight
        return (yield from self._turns())

    def refused(self, why: str) -> Answer:
        """The answer `unable`, with the reason, to a question that no model was asked."""
        self.messages.append(Message("assistant", why))
        return self._answer(Conclusion(why, (), unable=True), "unable")

    def _turns(self) -> Generator[Event, None, Answer]:
        budget = self.agent.budget
        while (over := self._over()) is None:
            yield TurnStarted(self.turns + 1, budget.turns)
            if self.turns + 1 == budget.turns:
                self.messages.append(Message("user", LAST_TURN))
            try:
                reply = self._reply()
            except PlannerError as error:
                self.account.add("planner", usage_of(error))
                if isinstance(error, DeadlineError):
                    over = f"its time ({error})"
                    break
                if self.doubted is None:
                    raise
                yield ChecksFinished(f"the doubted answer is sent: {error}")
                return self._answer(self.doubted, _status(self.doubted))
            yield PlannerReplied(reply)
            if self.checks is not None and self.agent.checks() is None:
                yield self._without_checks(self.checks)
            if reply.tool_calls:
                self.reminded, self.texts = False, []
                self._prepare(reply.tool_calls)
                conclusion = yield from self._calls(reply.tool_calls)
            else:
                conclusion = yield from self._text(answer_text(reply.text))
            if conclusion is not None:
                return self._answer(conclusion, _status(conclusion))
        return self._answer(self.doubted or self._best(over), "out_of_budget")

    def _without_checks(self, checks: Checks) -> Event:
        """Take the checks out of a run whose verifier has turned out to take no pictures."""
        for tool in checks.tools():
            self.tools.pop(tool.name, None)
        self.checks = None
        name = self.agent.verifier.name if self.agent.verifier else "the verifier"
        return ChecksFinished(f"{name} takes no pictures, so nothing is verified")

    def _best(self, over: str | None) -> Conclusion:
        """The best so far of a run that has used up `over`."""
        spoken = text_answer(self.texts, self.scene)
        if spoken is not None:
            best, _ = spoken
            return replace(best, text=f"{best.text}\n(It used up {over}.)")
        return Conclusion(
            f"The planner used up {over} without an answer; "
            "these are the masks that its last concept call found.",
            self.scene.last_found,
        )

    def _text(self, text: str) -> Generator[Event, None, Conclusion | None]:
        """The answer of a reply without calls: the first time the planner is reminded to call
        `answer`, then what it says is taken for its answer and reviewed as any other.
        """
        self.texts.append(text)
        spoken = text_answer(self.texts, self.scene)
        if spoken is None or not self.reminded:
            self.mistakes += 1
            self.messages.append(Message("user", NO_CALL))
            self.reminded = spoken is not None
            return None
        conclusion, names_masks = spoken
        if self.doubted is not None and not names_masks:
            yield ChecksFinished("the doubted answer is sent: the planner called no tool since")
            return self.doubted
        report, doubts = self._review(conclusion)
        if report:
            yield ChecksFinished(report)
        if doubts:
            self.doubted = self.doubted or conclusion
            self.messages.append(Message("user", DOUBTS.format(doubts)))
            return None
        return conclusion

    def _calls(self, calls: Sequence[ToolCall]) -> Generator[Event, None, Conclusion | None]:
        """Run the calls of one reply in order; the first conclusion that stands."""
        conclusion: Conclusion | None = None
        worked = False
        doubts = ""
        for number, call in enumerate(calls, 1):
            self.tool_calls += 1
            yield ToolStarted(call)
            message, failed, concluded = self._call(call, number)
            if concluded is not None and conclusion is None:
                if not doubts:
                    report, doubts = self._review(concluded)
                    if report:
                        yield ChecksFinished(report)
                if doubts:
                    self.doubted, concluded = self.doubted or concluded, None
                    message = Message("tool", DOUBTS.format(doubts), tool_call_id=call.id)
            self.messages.append(message)
            conclusion = conclusion or concluded
            worked = worked or not failed
            yield ToolFinished(call, message, failed)
        self.mistakes = 0 if worked else self.mistakes + 1
        return conclusion

    def _straight(self) -> Generator[Event, None, Answer | None]:
        """A question that is itself a concept, asked without the planner; None if not clear."""
        concept = registry.atomic_concept(self.asked.query)
        if concept is None:
            return None
        phrase, single = concept
        if unknown_part(phrase, self.scene.vocabulary):
            return None
        try:
            (finding,) = self.scene.segment([phrase])
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
        if "segment" in self.tools:  # so that a follow-up question finds the masks
            call = ToolCall("straight", "segment", json.dumps({"phrases": [phrase]}))
            self.messages += [Message("assistant", tool_calls=(call,)), self._call(call, 1)[0]]
        text = f"Found {count} of “{phrase}”."
        self.messages.append(Message("assistant", text))
        return self._answer(Conclusion(text, finding.numbers), "answered")

    def _review(self, conclusion: Conclusion) -> tuple[str, str]:
        """What fresh eyes say about an answer, once per run, and what of it are doubts."""
        effort = self.agent.effort
        if self.checks is None or self.checked or self.turns >= self.agent.budget.turns:
            return "", ""
        if conclusion.unable:
            return "", ""
        if not (effort.votes and conclusion.numbers) and not effort.complete:
            return "", ""
        self.checked = True
        lines, doubts = [], []
        question = self.asked.context + self.asked.query
        with self.checking():
            if effort.votes and conclusion.numbers:
                for verdict in self.checks.verdicts(
                    self.scene, conclusion.numbers, question, effort.votes
                ):
                    lines.append(verdict.line())
                    doubts += [verdict.line()] if verdict.right is False else []
            if effort.complete:
                found = self.checks.completeness(self.scene, question, conclusion.numbers)
                line = found.line((self.scene.height, self.scene.width))
                lines.append(line)
                doubts += [line] if found.complete is False else []
        return "\n".join(lines), "\n".join(doubts)

    @contextlib.contextmanager
    def checking(self) -> Generator[None, None, None]:
        """Time spent on checks."""
        began = time.monotonic()
        try:
            with self._accounted():
                yield
        finally:
            self.checks_seconds += time.monotonic() - began

    @contextlib.contextmanager
    def _accounted(self) -> Generator[None, None, None]:
        """Whoever asks a model in here heeds the deadline, and finds the ledger.

        Set around each step and not around the run, whose steps may come from several threads.
        """
        limit, account = deadline.set(self.account.deadline), current_tracker.set(self.account)
        try:
            yield
        finally:
            deadline.reset(limit)
            current_tracker.reset(account)

    def _offered(self, person: Tool | None) -> list[Tool]:
        """The agent's tools, the checks that there are, and the way to ask the person."""
        tools = list(self.agent.tools.values())
        if self.checks is not None:
            tools += self.checks.tools()
        if person is not None:
            tools.append(person)
        return tools

    def _over(self) -> str | None:
        """Which part of the budget is spent, if any."""
        budget = self.agent.budget
        if self.turns >= budget.turns:
            return f"its {budget.turns} turns"
        if self.mistakes >= budget.mistakes:
            last = self.messages[-1].text.removeprefix("Error: ")
            return f"its {budget.mistakes} mistakes in a row (the last: {last})"
        return self.account.exhausted()

    def _reply(self) -> Message:
        began = time.monotonic()
        try:
            with self._accounted():
                reply = self.agent.planner.reply(tuple(self.messages), tuple(self.tools.values()))
        finally:
            self.planner_seconds += time.monotonic() - began
        reply = sanitize_reply(reply)
        self.account.add("planner", reply.spent)
        self.turns += 1
        self.messages.append(reply)
        return reply

    def _prepare(self, calls: Sequence[ToolCall]) -> None:
        """Let a tool do the work of its calls together; what is wrong is told call by call."""
        together: dict[str, list[dict[str, Any]]] = {}
        for call in calls[:MAX_CALLS]:
            name = tool_named(call.name, self.tools)
            if name is not None:
                with contextlib.suppress(ToolError):
                    arguments = self.tools[name].checked(call.arguments)
                    together.setdefault(name, []).append(arguments)
        for name, several in together.items():
            prepare = self.tools[name].prepare
            if prepare is not None and len(several) > 1:
                with contextlib.suppress(ToolError, PromptError):
                    prepare(self.scene, several)

    def _call(self, call: ToolCall, number: int) -> tuple[Message, bool, Conclusion | None]:
        """Run the reply's tool call of this number: what it gave, whether it failed."""
        try:
            name = tool_named(call.name, self.tools)
            if name is None:
                known = ", ".join(self.tools)
                raise ToolError(f"there is no tool {call.name!r}; the tools are: {known}")
            if number > MAX_CALLS:
                raise ToolError(f"not run: one reply may have at most {MAX_CALLS} calls")
            with self._accounted():
                result = self.tools[name].run(self.scene, call.arguments)
        except (ToolError, PromptError) as error:
            self.tool_errors += 1
            told = one_line(str(error), MAX_TOLD, middle=True)
            return Message("tool", f"Error: {told}", tool_call_id=call.id), True, None
        if isinstance(result, Conclusion):
            return Message("tool", "Answered.", tool_call_id=call.id), False, result
        message = Message(
            "tool", result.text, result.pictures, tool_call_id=call.id, findings=result.findings
        )
        return message, False, None

    def usage(self) -> Usage:
        """What the run has cost so far, and the question in all."""
        return Usage(
            effort=self.agent.effort.name,
            turns=self.turns,
            tool_calls=self.tool_calls,
            tool_errors=self.tool_errors,
            spent=self.account.total,
            parts=dict(self.account.parts),
            seconds=self.account.seconds,
            planner_seconds=self.planner_seconds,
            checks_seconds=self.checks_seconds,
            segmenter_seconds=self.scene.segmenter_seconds - self.segmenter_began,
        )

    def _answer(self, conclusion: Conclusion, status: Status) -> Answer:
        mentioned = [n for mention in conclusion.mentions for n in mention.numbers]
        beside = tuple(dict.fromkeys(n for n in mentioned if n not in conclusion.numbers))
        return Answer(
            query=self.asked.query,
            text=conclusion.text,
            status=status,
            masks=self.scene.select(conclusion.numbers),
            numbers=conclusion.numbers,
            usage=self.usage(),
            messages=tuple(self.messages),
            planner=self.agent.planner.name,
            segmenter=self.agent.segmenter.name,
            image=self.scene.image,
            mentions=conclusion.mentions,
            context_masks=self.scene.select(beside),
            context_numbers=beside,
        )


def _status(conclusion: Conclusion) -> Status:
    if conclusion.unable:
        return "unable"
    return "answered" if conclusion.numbers else "no_target"
