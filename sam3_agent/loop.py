"""The turn loop: asks the planner, runs its tool calls, and reviews its answer."""

from collections.abc import Generator, Sequence
from dataclasses import replace

from sam3_agent.answer import Status
from sam3_agent.budget import UsageTracker
from sam3_agent.errors import DeadlineError, PlannerError
from sam3_agent.events import (
    ChecksFinished,
    Event,
    PlannerReplied,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)
from sam3_agent.messages import Message, ToolCall
from sam3_agent.planner import Planner, settings_of
from sam3_agent.reply import ask_planner
from sam3_agent.review import AnswerReview
from sam3_agent.sanitize import one_line
from sam3_agent.text_answer import answer_text, text_answer
from sam3_agent.tool import Conclusion
from sam3_agent.tool_runner import ToolRunner

LAST_TURN = "This is your last turn: call `answer` now with the best that you have."
NO_CALL = "You called no tool. Call a tool; when you are done, call `answer`."
CUT = (
    "Your reply was cut off at its limit of output tokens, so it does not count. Call a tool at "
    "once, with few words; when you are done, call `answer` with a short text."
)
DOUBTS = (
    "Not sent yet: an independent check of this answer has doubts. It may be wrong, too.\n{}\n"
    "Look again where it pays, then call `answer`: corrected, or the same if you are sure."
)

MAX_WRITTEN = 200
"""Characters of a reply that are shown to a person."""


class TurnLoop:
    """Answers one task turn by turn; `messages`, the conversation, grows as it runs."""

    def __init__(
        self,
        planner: Planner,
        runner: ToolRunner,
        review: AnswerReview,
        messages: list[Message],
        tracker: UsageTracker,
    ) -> None:
        self.planner, self.runner, self.review = planner, runner, review
        self.messages, self.tracker, self.budget = messages, tracker, tracker.budget
        self.turns = self.mistakes = 0
        self.texts: list[str] = []  # of the replies since the last tool call
        self.reminded = False  # that a reply needs a tool call

    def run(self) -> Generator[Event, None, tuple[Conclusion, Status]]:
        """Take turns until the planner answers or the budget is used up."""
        while not (over := self._used_up()):
            self.turns += 1
            yield TurnStarted(self.turns, self.budget.turns)
            if self.turns == self.budget.turns:
                self.messages.append(Message("user", LAST_TURN))
            try:
                reply = self._reply()
            except DeadlineError as error:
                over = f"its time ({error})"
                break
            except PlannerError as error:
                if (doubted := self.review.doubted) is None:
                    raise
                yield ChecksFinished(f"the doubted answer is sent: {error}")
                return doubted, _status(doubted)
            yield PlannerReplied(reply)
            if (lost := self.review.drop_lost_reviewer()) is not None:
                self.runner.withdraw(lost.tools())
                yield ChecksFinished(f"{lost.name} takes no pictures, so nothing is verified")
            if reply.tool_calls:
                conclusion = yield from self._run_calls(reply.tool_calls)
            elif reply.cut:
                conclusion = None
                self.mistakes += 1
                self.messages.append(Message("user", CUT))
            else:
                conclusion = yield from self._take_text(reply.text)
            if conclusion is not None:
                return conclusion, _status(conclusion)
        return self.review.doubted or self._best_so_far(over), "out_of_budget"

    def _used_up(self) -> str:
        """Which part of the budget is used up; "" for none."""
        if self.turns >= self.budget.turns:
            return f"its {self.budget.turns} turns"
        if self.mistakes >= self.budget.mistakes:
            return f"its {self.budget.mistakes} mistakes in a row (the last: {self._mistake()})"
        return self.tracker.exhausted() or ""

    def _mistake(self) -> str:
        """The last mistake, and what a person can do about it."""
        last = self.messages[-1].text
        if last == CUT:
            return "its reply was cut off: allow more output tokens (max_output_tokens)"
        if last != NO_CALL:
            return last.removeprefix("Error: ")
        written = one_line(self.messages[-2].text, MAX_WRITTEN)
        return f"it called no tool and wrote {written!r}{self._without_tools()}"

    def _without_tools(self) -> str:
        """What to try with a model that has called no tool at all, where tools were declared."""
        if self.tracker.tool_calls or settings_of(self.planner).get("tool_calls") != "native":
            return ""
        return (
            "; the model or its server may lack tool calls: try --tool-calls text, in Python "
            "tool_calls='text', or another model"
        )

    def _reply(self) -> Message:
        with self.tracker.timed("planner"):
            reply = ask_planner(
                self.planner, "planner", self.messages, self.runner.tools.values(), self.tracker
            )
        self.tracker.turns += 1
        self.messages.append(reply)
        return reply

    def _run_calls(self, calls: Sequence[ToolCall]) -> Generator[Event, None, Conclusion | None]:
        """Run the calls of one reply in order; the first answer among them that stands."""
        self.texts, self.reminded = [], False
        self.runner.prepare(calls)
        accepted: Conclusion | None = None
        worked, doubts = False, ""
        for number, call in enumerate(calls, 1):
            self.tracker.tool_calls += 1
            yield ToolStarted(call)
            result = self.runner.run(call, number)
            message = result.message
            if result.conclusion is not None and accepted is None:
                doubts = doubts or (yield from self._review(result.conclusion))
                if doubts:
                    message = Message("tool", DOUBTS.format(doubts), tool_call_id=call.id)
                else:
                    accepted = result.conclusion
            self.messages.append(message)
            self.tracker.tool_errors += result.failed
            worked = worked or not result.failed
            yield ToolFinished(call, message, result.failed)
        self.mistakes = 0 if worked else self.mistakes + 1
        return accepted

    def _take_text(self, text: str) -> Generator[Event, None, Conclusion | None]:
        """The answer of a reply without calls: the first time the planner is reminded to call
        `answer`, then its text is taken for its answer and reviewed as any other.
        """
        self.texts.append(answer_text(text))
        found = text_answer(self.texts, self.runner.scene)
        if found is None or not self.reminded:
            self.mistakes += 1
            self.messages.append(Message("user", NO_CALL))
            self.reminded = found is not None
            return None
        conclusion, names_masks = found
        if hint := self._without_tools():
            conclusion = replace(conclusion, text=f"{conclusion.text}\n({hint.removeprefix('; ')})")
        if self.review.doubted is not None and not names_masks:
            yield ChecksFinished("the doubted answer is sent: the planner called no tool since")
            return self.review.doubted
        doubts = yield from self._review(conclusion)
        if doubts:
            self.messages.append(Message("user", DOUBTS.format(doubts)))
            return None
        return conclusion

    def _review(self, conclusion: Conclusion) -> Generator[Event, None, str]:
        """The doubts about an answer; "" for an answer that stands."""
        # in the last turn the planner could not act on doubts
        if self.turns >= self.budget.turns or not self.review.is_due(conclusion):
            return ""
        with self.tracker.timed("checks"):
            report, doubts = self.review.check(conclusion)
        yield ChecksFinished(report)
        return doubts

    def _best_so_far(self, over: str) -> Conclusion:
        """The answer of a planner that used up `over` before it gave one."""
        found = text_answer(self.texts, self.runner.scene)
        if found is not None:
            best, _ = found
            return replace(best, text=f"{best.text}\n(It used up {over}.)")
        return Conclusion(
            f"The planner used up {over} without an answer; "
            "these are the masks that its last concept call found.",
            self.runner.scene.last_found,
        )


def _status(conclusion: Conclusion) -> Status:
    if conclusion.unable:
        return "unable"
    return "answered" if conclusion.numbers else "no_target"
