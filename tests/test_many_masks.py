"""Crowds: more masks than 255, and thousands, through the servers and the metrics."""

import asyncio
import json
import time
from typing import Any

import httpx2
import numpy as np
import pytest
from mcp.client import Client

from sam3_agent import Agent, Masks
from sam3_agent.evals.metrics import ConceptSample, cgf1
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.mcp_server import build
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.rest import app
from sam3_agent.plugin.work_queue import WorkQueue
from tests.plugin_fixtures import data_uri, png

COUNTS = [256, 300, 5000]


def crowd(count: int) -> Toolkit:
    """An agent that answers with `count` masks of one or two pixels, in a 200 x 100 picture."""
    boxes = [(x := 2 * (i % 100), y := 2 * (i // 100), x + 1 + i % 2, y + 1) for i in range(count)]
    replies = [
        calling(("segment", {"phrases": ["dot"]})),
        calling(("answer", {"text": "Dots.", "numbers": list(range(1, count + 1))})),
    ]
    return Toolkit.of(Agent(ScriptedPlanner(replies), FakeSegmenter({"dot": boxes})))


@pytest.mark.parametrize("count", COUNTS)
def test_rest_gives_every_mask(count: int) -> None:
    async def ask(path: str, **fields: object) -> dict[str, object]:
        transport = httpx2.ASGITransport(app(crowd(count), WorkQueue(), AccessRules()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            reply = await client.post(path, json={"image": data_uri(png()), **fields})
            assert reply.status_code == 200, reply.text[:500]
            body: dict[str, object] = reply.json()
            return body

    for body in (
        asyncio.run(ask("/ask", query="which dots?")),
        asyncio.run(ask("/segment", phrases=["dot"])),
    ):
        masks = body["masks"]
        assert isinstance(masks, list)
        assert [one["area"] for one in masks] == [1 + i % 2 for i in range(count)]


@pytest.mark.parametrize("count", COUNTS)
def test_mcp_fits_a_crowd_into_a_result(count: int) -> None:
    async def ask() -> list[str]:
        async with Client(build(crowd(count), WorkQueue())) as client:
            calls: list[tuple[str, dict[str, Any]]] = [
                ("ask_image", {"image": data_uri(png()), "query": "which dots?"}),
                ("segment", {"image": data_uri(png()), "phrases": ["dot"]}),
            ]
            return [
                (await client.call_tool(name, given)).model_dump_json() for name, given in calls
            ]

    for result in asyncio.run(ask()):
        assert '"isError":true' not in result, result[:500]
        assert len(result) <= 900_000
        assert str(count) in result


def test_an_image_with_too_many_masks_is_given_again_to_start_anew() -> None:
    width = 210
    boxes = [(x := i % width, y := i // width, x + 1, y + 1) for i in range(10_000)]
    toolkit = Toolkit.of(Agent(ScriptedPlanner([]), FakeSegmenter({"dot": boxes})))
    given = {"image": data_uri(png(width, 100)), "phrases": ["dot"]}

    async def ask() -> list[tuple[bool, str]]:
        async with Client(build(toolkit, WorkQueue())) as client:
            first = await client.call_tool("segment", given)
            handle = json.loads(first.content[-1].model_dump_json())["uri"].split("/")[2]
            full = await client.call_tool("segment", {**given, "image": handle})
            again = await client.call_tool("segment", given)
            return [(bool(one.is_error), one.model_dump_json()) for one in (first, full, again)]

    (wrong, _), (refused, told), (wrong_again, _) = asyncio.run(ask())
    assert (wrong, refused, wrong_again) == (False, True, False)
    assert "10000 masks; give the image itself again" in told


def test_metrics_of_thousands_of_masks_take_seconds() -> None:
    boxes = [(2 * (i % 100), 2 * (i // 100), 2 * (i % 100) + 1, 2 * (i // 100) + 1)
             for i in range(5000)]  # fmt: skip
    segmenter = FakeSegmenter({"dot": boxes})
    (found,) = segmenter.detect((100, 200), ["dot"])
    began = time.process_time()
    assert found.masks.areas().sum() == 5000
    overlap = found.masks.overlap(found.masks)
    assert (overlap.sum(), overlap.shape) == (5000, (5000, 5000))
    assert len(Masks.concatenate([found.masks, found.masks]).nms("iou", 0.5)) == 5000
    scores = cgf1([ConceptSample(overlap), ConceptSample(np.zeros((0, 0)))])
    assert scores["pmf1"] == pytest.approx(1, abs=1e-4)  # of the original's epsilons
    assert time.process_time() - began < 60
