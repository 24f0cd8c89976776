"""The agent: wires models, tools and limits to the turn loop, which is in `loop`."""

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from contextvars import copy_context
from dataclasses import replace

from sam3_agent import registry
from sam3_agent.abilities import refuse_other, refuse_unless_above
from sam3_agent.answer import Answer, Status
from sam3_agent.budget import (
    Budget,
    EitherEvent,
    UsageTracker,
    refuse_if_stopped,
    stop_requested,
)
from sam3_agent.chat import Chat
from sam3_agent.errors import InputError, ModelError, Sam3AgentError
from sam3_agent.events import ChecksFinished, Event, Finished, final_answer
from sam3_agent.fast_path import answer_concept
from sam3_agent.images import MAX_MEGAPIXELS, ImageSource, Pixels, load_image
from sam3_agent.loop import TurnLoop
from sam3_agent.messages import Message
from sam3_agent.planner import Planner, checked_planner, price_of, sees
from sam3_agent.review import (
    BALANCED,
    AnswerReview,
    Effort,
    Reviewer,
    checked_effort,
    compare_readings,
)
from sam3_agent.scene import Scene
from sam3_agent.segmenter import Segmenter, checked_segmenter, outside_domain
from sam3_agent.task import Task, checked_query
from sam3_agent.tool import Conclusion, Tool, ToolFunction, tools_by_name
from sam3_agent.tool_runner import ToolRunner


class Agent:
    """Grounds questions about images: words and masks.

    planner, segmenter: an object or a name (see `registry`); None takes the environment's choice,
        else `offline` and `tiny`.
    verifier: the model of the checks (see `review`), an object or a name as of a planner. None is
        the planner itself unless it has `sees = False` (see `Planner`); "none" checks nothing.
    effort: an Effort, or the name of one. `fast` asks a question that is itself a concept ("red
        cars") of the segmenter alone when its presence is clear, and checks nothing; `balanced` has
        each mask of an answer verified once; `exhaustive` also asks whether anything is missing;
        `thorough` takes three votes on each mask, too, and reads the question twice from scratch.
    ask_person: passes one short question on to the person when a task has two readings.
    tools: what the planner may call, Tools or plain functions (see `Tool.from_function`); by
        default `registry.tools()`.
    budget: what one question may cost.
    max_megapixels: a larger image is refused.
    check_domain: whether an image of a kind that the segmenter was not trained on (a photo, for
        `tiny`) is answered `unable` before any model is asked.

    An agent keeps nothing between questions, so one may serve several threads; a `Chat` keeps its
    masks and messages.
    """

    def __init__(
        self,
        planner: Planner | str | None = None,
        segmenter: Segmenter | str | None = None,
        *,
        verifier: Planner | str | None = None,
        effort: Effort | str = BALANCED,
        ask_person: Callable[[str], str] | None = None,
        tools: Sequence[Tool | ToolFunction] | None = None,
        budget: Budget | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        check_domain: bool = True,
    ) -> None:
        self.effort = checked_effort(effort)
        if isinstance(planner, str | None):
            planner = registry.planner(planner)
        self.planner = checked_planner(planner)
        self.verifier = _chosen_verifier(verifier, self.planner)
        self._reviewer: Reviewer | None = None
        if self.verifier is not None and self.effort.checks:
            self._reviewer = registry.reviewer(self.verifier)
        if ask_person is not None and not callable(ask_person):
            raise InputError(f"ask_person is {ask_person!r:.80}; give a function of the question")
        self.ask_person = ask_person
        self.budget = Budget() if budget is None else budget
        refuse_other(self.budget, Budget, "budget", "a Budget, such as Budget(turns=5)")
        refuse_unless_above(max_megapixels, "limit of megapixels", 0)
        self.max_megapixels = max_megapixels
        self.check_domain = check_domain
        _refuse_unknown_price(self.budget, self.planner, self.verifier)
        # last, since loading one takes seconds
        if isinstance(segmenter, str | None):
            segmenter = registry.segmenter(segmenter)
        self.segmenter = checked_segmenter(segmenter)
        self.tools = tools_by_name(registry.tools(self.segmenter) if tools is None else tools)

    def __repr__(self) -> str:
        verifier = self.verifier.name if self.verifier else "none"
        return (
            f"Agent(planner={self.planner.name!r}, segmenter={self.segmenter.name!r}, "
            f"verifier={verifier!r}, effort={self.effort.name!r})"
        )

    def ask(self, image: ImageSource, query: str) -> Answer:
        """Answer a question about an image.

        image: path, URL, bytes, PIL image or array, as in `load_image`. Raises ImageError and
        InputError for input that cannot be used, PlannerError and SegmenterError when a model
        fails. A wrong tool call of the planner is never raised.
        """
        return final_answer(self.stream(image, query))

    async def aask(self, image: ImageSource, query: str) -> Answer:
        """`ask` for async callers, in a thread.

        Cancelling returns at once; the thread ends at its next step and calls no model after that.
        """
        import asyncio  # slow to import, and the command line never needs it

        cancelled = threading.Event()
        context = copy_context()
        context.run(stop_requested.set, EitherEvent(cancelled, stop_requested.get()))
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                None, lambda: context.run(self._ask_until, image, query)
            )
        finally:
            cancelled.set()

    def _ask_until(self, image: ImageSource, query: str) -> Answer:
        """`ask`, but raises StoppedError at the next step once it is to stop."""
        with closing(self.stream(image, query)) as events:
            for event in events:
                if isinstance(event, Finished):
                    return event.answer
                refuse_if_stopped()
        raise AssertionError("the events of a question end with Finished")

    def stream(self, image: ImageSource, query: str) -> Generator[Event, None, None]:
        """`ask` as typed events; the last is Finished. Closing the generator stops the run."""
        query, tracker = checked_query(query), UsageTracker(self.budget)
        with tracker.active():  # a download counts, too
            scene = self._scene(image)
        return self.stream_task(Task(scene, query), tracker)

    def chat(self, image: ImageSource) -> Chat:
        """A conversation about one image: its masks stay, and questions may follow up."""
        return Chat(self.stream_task, self._scene(image))

    def reviewer(self) -> Reviewer | None:
        """The independent checks, if there is a verifier and the effort wants them.

        None as well when the verifier has turned out to take no pictures.
        """
        reviewer = self._reviewer
        return reviewer if reviewer is not None and reviewer.available else None

    def outside_domain(self, image: Pixels) -> str | None:
        """Why the segmenter cannot judge this image, and what can; None if it can, or must."""
        return outside_domain(self.segmenter, image) if self.check_domain else None

    def stream_task(
        self, task: Task, tracker: UsageTracker | None = None
    ) -> Generator[Event, None, None]:
        """The events of answering a task; the last is Finished.

        tracker: gets what it costs, so that the caller knows it whatever happens.
        """
        tracker = UsageTracker(self.budget) if tracker is None else tracker
        task.scene.begin_question()
        try:
            answer = yield from self._answer_task(task, tracker)
        except Sam3AgentError as error:
            error.usage = tracker.usage(self.effort.name)
            raise
        finally:
            tracker.stopped.set()  # also when this generator is closed
        yield Finished(answer)

    def _answer_task(self, task: Task, tracker: UsageTracker) -> Generator[Event, None, Answer]:
        why = self.outside_domain(task.scene.image)
        if why is not None:
            messages = [*task.messages(registry.system_prompt()), Message("assistant", why)]
            return self._answer(task, Conclusion(why, (), unable=True), "unable", messages, tracker)
        asking = [] if self.ask_person is None else [registry.ask_person_tool(self.ask_person)]
        answer = yield from self._read(task, asking, tracker)
        rereads = self.effort.readings > 1 and not task.history
        reviewer = self.reviewer() if rereads and answer.status != "out_of_budget" else None
        if reviewer is None:
            return answer
        return (yield from self._read_again(task, asking, tracker, answer, reviewer))

    def _read(
        self, task: Task, asking: list[Tool], tracker: UsageTracker
    ) -> Generator[Event, None, Answer]:
        """One reading of a task: by the fast path if it is a concept, else turn by turn.

        asking: the tool that asks the person, if there is one.
        """
        scene, reviewer = task.scene, self.reviewer()
        checks = reviewer.tools() if reviewer is not None else []
        runner = ToolRunner([*self.tools.values(), *checks, *asking], scene, tracker)
        messages = task.messages(registry.system_prompt())
        review = AnswerReview(reviewer, self.effort, task)
        loop = TurnLoop(self.planner, runner, review, messages, tracker)
        began = scene.segmenter_seconds
        try:
            conclusion = yield from self._fast_path(task, runner, messages)
            status: Status = "answered"
            if conclusion is None:
                conclusion, status = yield from loop.run()
        finally:
            tracker.segmenter_seconds += scene.segmenter_seconds - began
        return self._answer(task, conclusion, status, messages, tracker)

    def _fast_path(
        self, task: Task, runner: ToolRunner, messages: list[Message]
    ) -> Generator[Event, None, Conclusion | None]:
        """The answer to a task that is a concept, if the effort allows that and it is clear."""
        if not self.effort.fast_path or task.history:
            return None
        concept = registry.atomic_concept(task.query)
        if concept is None:
            return None
        return (yield from answer_concept(*concept, runner, messages))

    def _read_again(
        self,
        task: Task,
        asking: list[Tool],
        tracker: UsageTracker,
        first: Answer,
        reviewer: Reviewer,
    ) -> Generator[Event, None, Answer]:
        """The better of an answer and that of a second reading, from scratch.

        The task's scene takes over the masks of a second answer that is better.
        """
        again = replace(task, scene=Scene(task.scene.image, self.segmenter))
        best = first
        try:
            second = yield from self._read(again, asking, tracker)
        except ModelError as error:
            verdict = f"failed ({error})"
        else:
            with tracker.timed("checks"):
                best, verdict = compare_readings(reviewer, first, second)
            if best is second:
                task.scene.adopt(again.scene)
        yield ChecksFinished(f"second reading: {verdict}")
        return replace(best, usage=tracker.usage(self.effort.name))

    def _answer(
        self,
        task: Task,
        conclusion: Conclusion,
        status: Status,
        messages: Sequence[Message],
        tracker: UsageTracker,
    ) -> Answer:
        mentioned = [n for mention in conclusion.mentions for n in mention.numbers]
        context = tuple(dict.fromkeys(n for n in mentioned if n not in conclusion.numbers))
        return Answer(
            query=task.query,
            text=conclusion.text,
            status=status,
            masks=task.scene.select(conclusion.numbers),
            numbers=conclusion.numbers,
            usage=tracker.usage(self.effort.name),
            messages=tuple(messages),
            planner=self.planner.name,
            segmenter=self.segmenter.name,
            image=task.scene.image,
            mentions=conclusion.mentions,
            context_masks=task.scene.select(context),
            context_numbers=context,
        )

    def _scene(self, image: ImageSource) -> Scene:
        return Scene(load_image(image, max_megapixels=self.max_megapixels), self.segmenter)


def _chosen_verifier(verifier: Planner | str | None, planner: Planner) -> Planner | None:
    if verifier is None:
        return planner if sees(planner) else None
    if isinstance(verifier, str):
        return None if verifier == "none" else registry.verifier(verifier)
    return checked_planner(verifier, "verifier")


def _refuse_unknown_price(budget: Budget, *models: Planner | None) -> None:
    """Raise InputError for a budget in dollars that cannot be kept."""
    for model in models:
        if model is not None and budget.usd is not None and price_of(model) is None:
            raise InputError(
                f"a budget of {budget.usd:g} US dollars cannot be kept: the price of "
                f"{model.name} is not known; give it (price, --price, --verifier-price)"
            )
