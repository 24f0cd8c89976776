"""More masks than 255, and thousands, through the servers and the metrics."""

import time

import numpy as np
import pytest
from mcp.client import Client

from sam3_agent import Agent, Masks
from sam3_agent.evals.metrics import ConceptSample, cgf1
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.mcp_server import build
from sam3_agent.plugin.work_queue import WorkQueue
from tests.mcp_fixtures import called, server_of, text_of, values_of
from tests.plugin_fixtures import data_uri, png, rest_client

COUNTS = [256, 300, 5000]


def toolkit_of(count: int) -> Toolkit:
    """An agent that answers with `count` masks of one or two pixels, in a 200 x 100 picture."""
    boxes = [(x := 2 * (i % 100), y := 2 * (i // 100), x + 1 + i % 2, y + 1) for i in range(count)]
    replies = [
        calling(("segment", {"phrases": ["dot"]})),
        calling(("answer", {"text": "Dots.", "numbers": list(range(1, count + 1))})),
    ]
    return Toolkit.of(Agent(ScriptedPlanner(replies), FakeSegmenter({"dot": boxes})))


@pytest.mark.parametrize("count", COUNTS)
async def test_rest_returns_every_mask(count: int) -> None:
    async with rest_client(toolkit_of(count)) as client:
        for path, fields in (("/ask", {"query": "which dots?"}), ("/segment", {"phrases": "dot"})):
            reply = await client.post(path, json={"image": data_uri(png()), **fields})
            assert reply.status_code == 200, reply.text[:500]
            areas = [mask["area"] for mask in reply.json()["masks"]]
            assert areas == [1 + i % 2 for i in range(count)]


@pytest.mark.parametrize("count", COUNTS)
async def test_mcp_fits_many_masks_into_a_result(count: int) -> None:
    async with Client(build(toolkit_of(count), WorkQueue())) as client:
        for name, fields in (("ask_image", {"query": "which?"}), ("segment", {"phrases": "dot"})):
            result = await called(client, name, image=data_uri(png()), **fields)
            assert len(result.model_dump_json()) <= 900_000
            assert str(count) in text_of(result)


async def test_an_image_with_too_many_masks_is_given_again_to_start_anew() -> None:
    width = 210
    boxes = [(x := i % width, y := i // width, x + 1, y + 1) for i in range(10_000)]
    planner, segmenter = ScriptedPlanner([]), FakeSegmenter({"dot": boxes})
    given = {"image": data_uri(png(width, 100)), "phrases": ["dot"]}
    async with Client(server_of(planner, segmenter)) as client:
        handle = values_of(await called(client, "segment", **given))["image"]
        full = await client.call_tool("segment", {**given, "image": handle})
        assert full.is_error
        assert "10000 masks; give the image itself again" in text_of(full)
        assert values_of(await called(client, "segment", **given))["image"] != handle


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
