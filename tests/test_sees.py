"""An own planner object: whether it sees decides whether it also verifies its own answers."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from sam3_agent import Agent, ChecksFinished, InputError, Message, Tool, registry
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import calling

VERDICT = {"number": 1, "right": True, "confidence": 1, "reason": "seen"}
REPLIES: dict[str, tuple[str, dict[str, Any]]] = {
    "judge": ("judge", {"verdicts": [VERDICT]}),
    "report": ("report", {"complete": True, "missing": "", "regions": []}),
}


class Own:
    """A planner as a user writes one: it knows two steps, and keeps what it is asked."""

    name = "own"

    def __init__(self) -> None:
        self.asked: list[tuple[Sequence[Message], list[str], int]] = []

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        names = [tool.name for tool in tools]
        self.asked.append((messages, names, threading.get_ident()))
        if len(names) == 1:
            name, values = REPLIES[names[0]]
            return calling((name, values))
        if messages[-1].role == "user":
            return calling(("segment", {"phrases": ["dog"]}))
        return calling(("answer", {"text": "The first dog.", "numbers": [1]}))


class Blind(Own):
    sees = False


class Seeing(Own):
    sees = True


def checks_of(agent: Agent, image: Pixels) -> list[str]:
    events = agent.stream(image, "which dog?")
    return [event.text for event in events if isinstance(event, ChecksFinished)]


@pytest.mark.parametrize("kind", [Own, Seeing])
def test_a_planner_that_may_see_verifies_its_own_answers_in_fresh_conversations(
    kind: type[Own], image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = kind()
    agent = Agent(planner, segmenter)
    assert agent.verifier is planner
    assert checks_of(agent, image) == ["mask 1: right (1.00): seen"]
    (first, tools, _), _, (check, form, _) = planner.asked
    assert {"verify", "check_complete"} < set(tools)
    assert [message.role for message in check] == ["system", "user"]
    assert form == ["judge"]
    assert check[0].text == registry.prompt("verify") != first[0].text
    assert [picture.ndim for picture in check[1].pictures] == [3, 3]


def test_its_checks_come_from_several_threads_at_once(image: Pixels) -> None:
    class Waiting(Own):
        together = threading.Barrier(2, timeout=20)

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            if len(tools) == 1 and tools[0].name == "judge":
                self.together.wait()  # passes only when two checks are under way at once
            elif len(tools) > 1 and messages[-1].role == "tool":
                return calling(("answer", {"text": "All.", "numbers": list(range(1, 8))}))
            return super().reply(messages, tools)

    planner = Waiting()
    segmenter = FakeSegmenter({"dog": [(20 * i, 10, 20 * i + 15, 30) for i in range(7)]})
    assert len(checks_of(Agent(planner, segmenter), image)) == 1
    assert len({thread for _, names, thread in planner.asked if names == ["judge"]}) == 2


def test_a_planner_with_sees_false_is_never_asked_to_check(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = Blind()
    agent = Agent(planner, segmenter, effort="thorough")
    assert (agent.verifier, agent.reviewer()) == (None, None)
    assert checks_of(agent, image) == []
    plain = [tool.name for tool in registry.tools(segmenter)]
    assert [names for _, names, _ in planner.asked] == [plain, plain]
    assert planner.asked[0][0][1].pictures[0].shape == image.shape  # it may still look at shapes


@pytest.mark.parametrize("options", [{"verifier": "none"}, {"effort": "fast"}])
def test_without_checks_a_seeing_planner_is_asked_for_its_turns_only(
    options: dict[str, Any], image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = Own()
    assert checks_of(Agent(planner, segmenter, **options), image) == []
    assert len(planner.asked) == 2


def test_a_blind_planner_may_have_another_verifier(image: Pixels, segmenter: FakeSegmenter) -> None:
    planner, verifier = Blind(), Own()
    agent = Agent(planner, segmenter, verifier=verifier)
    assert checks_of(agent, image) == ["mask 1: right (1.00): seen"]
    assert (len(planner.asked), len(verifier.asked)) == (2, 1)


def test_a_name_of_a_blind_planner_is_refused_as_verifier(segmenter: FakeSegmenter) -> None:
    with pytest.raises(InputError, match="offline sees no pictures, so it cannot verify"):
        Agent(Own(), segmenter, verifier="offline")
