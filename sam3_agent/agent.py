"""The agent: asks a planner, runs its tools on the scene, until it answers."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from sam3_agent import registry
from sam3_agent.answer import Answer
from sam3_agent.chat import Chat
from sam3_agent.effort import BALANCED, Effort, effort_named
from sam3_agent.errors import InputError, ModelError, Sam3AgentError
from sam3_agent.events import ChecksFinished, Event, Finished
from sam3_agent.images import MAX_MEGAPIXELS, ImageSource, Pixels, load_image
from sam3_agent.loop import Asked, Run
from sam3_agent.planner import Planner, checked_planner, price_of, sees
from sam3_agent.review import Candidate, Checks
from sam3_agent.sanitize import replace_surrogates
from sam3_agent.scene import Scene
from sam3_agent.segmenter import Segmenter, checked_segmenter, outside_domain
from sam3_agent.tool import Tool, ToolFunction, tools_by_name
from sam3_agent.usage import Budget, UsageTracker

MAX_QUERY_CHARACTERS = 4000
"""A question longer than this is refused: it would crowd out the conversation."""

AGREEING_IOU = 0.8
"""Two readings whose masks together overlap at least this much agree."""


class Agent:
    """Grounds questions about images: words and masks.

    planner, segmenter: an object or a name (see `load`); None takes the environment's choice,
        else `offline` and `tiny`.
    verifier: who checks, in fresh conversations; an object or a name as of a planner. None is the
        planner itself unless it has `sees = False` (see `Planner`); "none" is nobody.
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

    An agent keeps nothing between questions, so one may serve several threads; `chat` keeps.
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
        self.effort = effort_named(effort) if isinstance(effort, str) else effort
        self.planner = (
            registry.planner(planner)
            if planner is None or isinstance(planner, str)
            else checked_planner(planner)
        )
        self.segmenter = (
            registry.segmenter(segmenter)
            if segmenter is None or isinstance(segmenter, str)
            else checked_segmenter(segmenter)
        )
        self.verifier: Planner | None
        if verifier is None:
            self.verifier = self.planner if sees(self.planner) else None
        elif isinstance(verifier, str):
            self.verifier = None if verifier == "none" else registry.verifier(verifier)
        else:
            self.verifier = checked_planner(verifier, "verifier")
        self._verifier_saw = self.verifier is not None and sees(self.verifier)
        self.ask_person = ask_person
        self.tools = tools_by_name(registry.tools(self.segmenter) if tools is None else tools)
        self.budget = budget or Budget()
        self.max_megapixels = max_megapixels
        self.check_domain = check_domain
        for model in (self.planner, self.verifier):
            if model and self.budget.usd is not None and price_of(model) is None:
                raise InputError(
                    f"a budget of {self.budget.usd:g} US dollars cannot be kept: the price of "
                    f"{model.name} is not known; give it (price, --price, --verifier-price)"
                )

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
        fails. What the planner does wrong is never raised.
        """
        return last_answer(self.stream(image, query))

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
        query = checked_query(query)
        return self.answering(Asked(self._scene(image), query))

    def chat(self, image: ImageSource) -> Chat:
        """A conversation about one image: its masks stay, and questions may follow up."""
        return Chat(self, self._scene(image))

    def checks(self) -> Checks | None:
        """Independent checks, if there is a verifier and the effort wants them.

        None as well when the verifier has turned out to take no pictures.
        """
        if self.verifier is None or not self.effort.checks:
            return None
        if self._verifier_saw and not sees(self.verifier):
            return None
        return registry.checks(self.verifier)

    def outside_domain(self, image: Pixels) -> str | None:
        """Why the segmenter cannot judge this image, and what can; None if it can, or must."""
        return outside_domain(self.segmenter, image) if self.check_domain else None

    def answering(
        self, asked: Asked, account: UsageTracker | None = None
    ) -> Generator[Event, None, None]:
        """The events of a question that is already in its place, with Finished as the last.

        account: gets what it costs, so that the caller knows whatever happens.
        """
        account = UsageTracker(self.budget) if account is None else account
        person = None if self.ask_person is None else registry.ask_person_tool(self.ask_person)
        run = Run(self, asked, account, person)
        if (why := self.outside_domain(asked.scene.image)) is not None:
            yield Finished(run.refused(why))
            return
        try:
            answer = yield from run.events()
        except Sam3AgentError as error:
            error.usage = run.usage()
            raise
        if (
            self.effort.readings > 1
            and not asked.history
            and answer.status != "out_of_budget"
            and (checks := self.checks()) is not None
        ):
            again = Asked(Scene(asked.scene.image, self.segmenter), asked.query)
            second = Run(self, again, account, person)
            answer = yield from self._second_reading(second, asked.scene, answer, checks)
        yield Finished(answer)

    def _second_reading(
        self, run: Run, scene: Scene, first: Answer, checks: Checks
    ) -> Generator[Event, None, Answer]:
        """The better of an answer and that of a second reading from scratch, `run`.

        scene: the first reading's; it takes over the masks of a second answer that is better.
        """
        best, verdict = first, "agrees"
        try:
            second = yield from run.events()
        except ModelError as error:
            verdict = f"failed ({error})"
        else:
            if second.status == "out_of_budget":
                verdict = "came to no end"
            elif not _agree(first, second):
                pair = [Candidate(one.text, one.masks, one.numbers) for one in (first, second)]
                with run.checking():
                    better = checks.better(scene.image, first.query, *pair)
                if better is pair[1]:
                    best = second
                    scene.adopt(run.scene)
                verdict = f"differs; the {'second' if best is second else 'first'} answer is kept"
        yield ChecksFinished(f"second reading: {verdict}")
        usage = first.usage.followed_by(run.usage())
        return replace(best, usage=usage)

    def _scene(self, image: ImageSource) -> Scene:
        return Scene(load_image(image, max_megapixels=self.max_megapixels), self.segmenter)


def last_answer(events: Generator[Event, None, None]) -> Answer:
    """Drain a stream."""
    for event in events:
        if isinstance(event, Finished):
            return event.answer
    raise AssertionError("a stream ends with Finished")


def checked_query(query: str) -> str:
    """The question without spaces around it; raises InputError."""
    if not isinstance(query, str):
        raise InputError(f"the question is {query!r:.80}, not text")
    if not query.strip():
        raise InputError("the question is empty; ask something such as 'the leftmost red car'")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InputError(
            f"the question has {len(query)} characters, the limit is {MAX_QUERY_CHARACTERS}"
        )
    return replace_surrogates(query.strip())


def _agree(first: Answer, second: Answer) -> bool:
    """Whether two answers mark the same pixels."""
    if not first.numbers or not second.numbers:
        return first.numbers == second.numbers
    overlap = first.masks.union().overlap(second.masks.union())
    return bool(overlap[0, 0] >= AGREEING_IOU)
