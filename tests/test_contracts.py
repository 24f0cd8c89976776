"""Every planner, segmenter and tool that ships keeps the contract that plug-ins are tested by."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest

from sam3_agent import Scene, registry
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.offline.planner import OfflinePlanner
from sam3_agent.model.open_vocabulary import OpenVocabularySegmenter
from sam3_agent.model.sam3 import Sam3Segmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.planner import Planner
from sam3_agent.segmenter import Segmenter
from sam3_agent.testing.planner_contract import PlannerContract, dogs, picture
from sam3_agent.testing.segmenter_contract import SegmenterContract
from sam3_agent.testing.tool_contract import ToolContract
from sam3_agent.tool import Tool
from tests.checkpoints import save_grounding_dino_checkpoint, save_sam2_checkpoint
from tests.gemini_fixtures import ANSWER, MockGemini, call, candidate_body
from tests.openai_fixtures import Server, model_reply
from tests.openai_fixtures import planner as openai_planner

SEGMENT = calling(("segment", {"phrases": ["dog"]}))
DONE = calling(("answer", {"text": "Two dogs.", "numbers": [1, 2]}))


class TestOffline(PlannerContract):
    def planner(self) -> Planner:
        return OfflinePlanner()


class TestScripted(PlannerContract):
    def planner(self) -> Planner:
        return ScriptedPlanner([SEGMENT, DONE, SEGMENT, DONE])


def openai_answer(request: httpx2.Request) -> httpx2.Response:
    """A segment call first, then an answer, as a model would by the conversation."""
    roles = [message["role"] for message in json.loads(request.content)["messages"]]
    if "tool" in roles:
        return model_reply(None, ("b", "answer", {"text": "Two dogs.", "numbers": [1, 2]}))
    return model_reply("Looking.", ("a", "segment", {"phrases": ["dog"]}), prompt_tokens=9)


class TestOpenAI(PlannerContract):
    def planner(self) -> Planner:
        return openai_planner(Server(*[openai_answer] * 50))


class TestGemini(PlannerContract):
    def planner(self) -> Planner:
        looking = candidate_body(call("segment", phrases=["dog"]))
        return MockGemini(*[looking, ANSWER] * 25).planner


class TestFake(SegmenterContract):
    def segmenter(self) -> Segmenter:
        return FakeSegmenter({"dog": [(0, 0, 9, 9), (12, 1, 18, 9)], "red car": [(1, 1, 5, 5)]})


@cache
def tiny() -> Segmenter:
    return Sam3Segmenter("tiny", device="cpu")


class TestTiny(SegmenterContract):
    phrases = ("dog", "cat")

    def segmenter(self) -> Segmenter:
        return tiny()


@cache
def open_vocabulary() -> Segmenter:
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_grounding_dino_checkpoint(folder / "dino")
        save_sam2_checkpoint(folder / "sam2")
        return OpenVocabularySegmenter(f"{folder / 'dino'}+{folder / 'sam2'}", device="cpu")


class TestOpenVocabulary(SegmenterContract):
    def segmenter(self) -> Segmenter:
        return open_vocabulary()


class Judging(ScriptedPlanner):
    """Sees pictures, finds every mask right and the set complete."""

    sees = True

    def __init__(self) -> None:
        verdict = {"number": 1, "right": True, "confidence": 0.9, "reason": "a dog"}
        whole = {"complete": True, "missing": "", "regions": []}
        super().__init__([calling(("judge", {"verdicts": [verdict]}), ("report", whole))] * 9)


CALLS: dict[str, dict[str, Any]] = {
    "segment": {"phrases": ["dog"]},
    "segment_like": {"positive": [1]},
    "segment_at": {"points": [[20, 50]]},
    "look": {"region": [0, 0, 50, 50]},
    "measure": {"numbers": [1, 2]},
    "edit": {"action": "drop", "numbers": [1]},
    "answer": {"text": "A dog.", "numbers": [1]},
    "verify": {"numbers": [1], "statement": "a dog"},
    "check_complete": {"query": "dogs", "numbers": [1, 2]},
    "ask_person": {"question": "Which dog?"},
}


def shipped_tools() -> list[Tool]:
    asking = registry.ask_person_tool(lambda question: "the left one")
    return [*registry.tools(), *registry.reviewer(Judging()).tools(), asking]


class TestTools(ToolContract):
    name: str

    @pytest.fixture(autouse=True, params=[tool.name for tool in shipped_tools()])
    def choose(self, request: pytest.FixtureRequest) -> None:
        self.name, self.arguments = request.param, CALLS[request.param]

    def tool(self) -> Tool:
        return next(tool for tool in shipped_tools() if tool.name == self.name)

    def scene(self) -> Scene:
        scene = Scene(picture(), dogs())
        scene.segment(["dog"])
        return scene
