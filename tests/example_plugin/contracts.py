"""The contracts of sam3-agent, for the parts of this package: `pytest contracts.py`."""

import numpy as np
from sam3_agent_example.benchmark import draw
from sam3_agent_example.planner import KeywordPlanner
from sam3_agent_example.segmenter import ColorSegmenter
from sam3_agent_example.tool import count_pixels

from sam3_agent import Scene, Tool
from sam3_agent.images import Pixels
from sam3_agent.testing.planner_contract import PlannerContract
from sam3_agent.testing.segmenter_contract import SegmenterContract
from sam3_agent.testing.tool_contract import ToolContract


class TestKeywordPlanner(PlannerContract):
    query = "where is the dog?"

    def planner(self) -> KeywordPlanner:
        return KeywordPlanner()


class TestColorSegmenter(SegmenterContract):
    phrases = ("red", "blue")

    def segmenter(self) -> ColorSegmenter:
        return ColorSegmenter()

    def image(self) -> Pixels:
        return np.ascontiguousarray(draw())


class TestCountPixels(ToolContract):
    arguments = {"numbers": [1]}  # noqa: RUF012

    def tool(self) -> Tool:
        return Tool.from_function(count_pixels)

    def scene(self) -> Scene:
        scene = Scene(draw(), ColorSegmenter())
        scene.segment(["red"])
        return scene
