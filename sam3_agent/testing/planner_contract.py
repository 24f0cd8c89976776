"""What every planner has to keep."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from sam3_agent import Agent, Answer, Message, Observation, PlannerError, Scene, registry
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.planner import Planner, checked_planner, checked_reply, price_of, sees, settings_of
from sam3_agent.tool import Tool


class PlannerContract:
    """Tests of a planner: derive a class and override `planner`; the rest is optional.

    query: a question that the planner can answer about a picture with two dogs.
    """

    query = "the dogs"

    def planner(self) -> Planner:
        """A new planner, ready to reply; it is asked no more than a few times."""
        raise NotImplementedError

    def conversation(self) -> list[Message]:
        """The messages that begin a question."""
        question = Message("user", self.query, pictures=(picture(),))
        return [Message("system", registry.system_prompt()), question]

    def test_it_is_a_planner_with_a_name(self) -> None:
        planner = checked_planner(self.planner())
        assert planner.name.strip() == planner.name != ""

    def test_what_it_declares_is_of_the_right_type(self) -> None:
        planner = self.planner()
        assert isinstance(sees(planner), bool)
        price = price_of(planner)
        assert price is None or price.cost(1_000_000, 0, 1_000_000) >= 0
        assert json.loads(json.dumps(settings_of(planner))) == settings_of(planner)

    def test_its_reply_is_an_assistant_message_with_calls_that_can_be_told_apart(self) -> None:
        planner = self.planner()
        reply = checked_reply(planner, planner.reply(self.conversation(), registry.tools()))
        ids = [call.id for call in reply.tool_calls]
        assert len(set(ids)) == len(ids)
        assert all(ids)
        counts = (reply.spent.input_tokens, reply.spent.output_tokens, reply.spent.cost or 0)
        assert min(counts) >= 0

    def test_it_leaves_the_conversation_and_the_tools_as_they_are(self) -> None:
        messages, tools = self.conversation(), registry.tools()
        before = [message.to_dict() for message in messages]
        planner = self.planner()
        planner.reply(messages, tools)
        assert [message.to_dict() for message in messages] == before
        assert np.array_equal(messages[1].pictures[0], picture())
        assert [tool.name for tool in tools] == [tool.name for tool in registry.tools()]

    def test_it_goes_on_after_its_own_calls_were_answered(self) -> None:
        planner, messages, tools = self.planner(), self.conversation(), registry.tools()
        reply = planner.reply(messages, tools)
        answers = [
            Message("tool", "Error: try again", tool_call_id=call.id) for call in reply.tool_calls
        ]
        more = [*messages, reply, *(answers or [Message("user", "Call a tool.")])]
        _reply_or_fail(planner, more, tools)

    def test_it_never_raises_anything_but_a_planner_error(self) -> None:
        messages = self.conversation()
        odd = [Message("system", "§ \u200b"), Message("user", "x" * 20_000)]
        for conversation in (messages[:1], messages[1:], odd, [*messages, messages[1]]):
            _reply_or_fail(self.planner(), conversation, registry.tools())

    def test_it_takes_tools_that_it_does_not_know(self) -> None:
        tools = [*registry.tools(), Tool.from_function(rotate)]
        _reply_or_fail(self.planner(), self.conversation(), tools)

    def test_an_agent_ends_with_it_also_in_two_threads(self) -> None:
        agent = Agent(self.planner(), dogs())
        with ThreadPoolExecutor(2) as pool:
            for answer in pool.map(_ask, [agent, agent], [self.query] * 2):
                ends = ("answered", "no_target", "out_of_budget", "unable")
                assert answer is None or answer.status in ends


def picture() -> Pixels:
    """A grey picture, (100, 200, 3) uint8."""
    return np.full((100, 200, 3), 128, np.uint8)


def dogs() -> FakeSegmenter:
    """A segmenter that finds two dogs in `picture`."""
    return FakeSegmenter({"dog": [(10, 20, 60, 70), (120, 40, 150, 70)]})


def rotate(scene: Scene, degrees: int) -> Observation:
    """Turn the picture."""
    return Observation(f"turned by {degrees} degrees")


def _ask(agent: Agent, query: str) -> Answer | None:
    try:
        return agent.ask(picture(), query)
    except PlannerError:
        return None


def _reply_or_fail(planner: Planner, messages: Sequence[Message], tools: Sequence[Tool]) -> None:
    """Let a planner reply with a proper message, or raise PlannerError."""
    with suppress(PlannerError):
        checked_reply(planner, planner.reply(messages, tools))
