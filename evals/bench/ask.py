"""Measures the overhead of one ask with many verified candidates and a slow stub model."""

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_agent.agent import Agent
from sam3_agent.evals.bench.measurement import Measurement
from sam3_agent.model.fake_segmenter import FakeSegmenter

CANDIDATES = 20
LATENCY = 2.0
SIZE = (1200, 1800)


def measure() -> dict[str, float]:
    """Asks once, with 20 candidate masks that are then verified by a stub MLLM.

    The client is that of `openai:` with a mock transport. cpu and wall: seconds; bytes: the bodies
    of all requests; calls: the number of requests.
    """
    import httpx2

    from sam3_agent.model.providers.openai_chat import OpenAIPlanner

    sizes: list[int] = []

    def serve(request: Any) -> Any:
        sizes.append(len(request.content))
        body = json.loads(request.content)
        # takes wall time and no CPU time, as a model elsewhere does; calls side by side hide it
        time.sleep(LATENCY)
        name, arguments = _step(body)
        call = {"name": name, "arguments": json.dumps(arguments)}
        message = {
            "role": "assistant",
            "tool_calls": [{"id": f"call_{len(sizes)}", "type": "function", "function": call}],
        }
        return httpx2.Response(200, json={"choices": [{"index": 0, "message": message}]})

    client = httpx2.Client(transport=httpx2.MockTransport(serve))
    planner = OpenAIPlanner("stub", base_url="http://stub/v1", api_key="none", http_client=client)
    agent = Agent(planner, _segmenter())
    image = _photo()
    agent.ask(image, "which of the birds is awake?")  # warms up imports and caches
    sizes.clear()
    cpu, wall = time.process_time(), time.perf_counter()
    answer = agent.ask(image, "which of the birds is awake?")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert len(answer.numbers) == CANDIDATES, answer.text
    assert answer.usage.parts["verify"].calls, "nothing was verified"
    return {"cpu": cpu, "wall": wall, "bytes": float(sum(sizes)), "calls": float(len(sizes))}


def _step(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns the stub's call: segment, then answer with all masks; as a verifier, all right."""
    if body["tools"][0]["function"]["name"] == "judge":
        (text,) = (p["text"] for p in body["messages"][-1]["content"] if p["type"] == "text")
        numbers = text.splitlines()[1].removeprefix("Masks to judge: ").split(", ")
        right = {"right": True, "confidence": 0.9, "reason": "a bird"}
        return "judge", {"verdicts": [{"number": int(n), **right} for n in numbers]}
    if any(message["role"] == "tool" for message in body["messages"]):
        return "answer", {"text": "All.", "numbers": list(range(1, CANDIDATES + 1))}
    return "segment", {"phrases": ["bird"]}


def _segmenter() -> FakeSegmenter:
    """Makes a segmenter that finds twenty ellipses in rows of five."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = [
        np.hypot((x - 180 - 360 * (i % 5)) / 120, (y - 150 - 300 * (i // 5)) / 90) < 1
        for i in range(CANDIDATES)
    ]
    return FakeSegmenter({"bird": np.array(masks)})


def _photo() -> npt.NDArray[np.uint8]:
    """Makes an image that compresses like a photo: soft shapes with a little noise."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 256, (30, 45, 3), dtype=np.uint8))
    wide = np.asarray(soft.resize((SIZE[1], SIZE[0]), Image.Resampling.BICUBIC), np.float32)
    return (wide + rng.normal(0, 4, wide.shape)).clip(0, 255).astype(np.uint8)


def measurements(masks: int) -> Iterator[Measurement]:
    """Measures one ask with many candidates, all verified, against a slow stub MLLM."""
    measured = measure()
    about = f"one ask, {CANDIDATES} candidates verified, {LATENCY:g} s a model call"
    note = "the reference was measured once, not in this run"
    for what, unit, value, reference, most in (
        ("harness", "CPU s", measured["cpu"], 30.0, 1.0),
        ("sent", "MB", measured["bytes"] / 1e6, 78.0, 5.0),
        ("model calls", "calls", measured["calls"], 23.0, 8.0),
        ("wall", "s", measured["wall"], 46.0, 12.0),
    ):
        target = f"at most {most:g}"
        yield Measurement(f"{about}: {what}", unit, value, reference, target, value <= most, note)
