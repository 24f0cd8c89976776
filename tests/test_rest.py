"""The REST server in a process of its own, over real HTTP; and against its own OpenAPI."""

import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from prometheus_client.parser import text_string_to_metric_families
from pycocotools import mask as coco

from sam3_agent import Agent
from sam3_agent.evals.synthetic.annotated_set import read_set
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import Toolkit
from tests.plugin_fixtures import (
    DEMO,
    RED_CARS,
    Server,
    data_uri,
    png,
    rest_client,
    running,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = ("--root", "evals/demo", "--no-urls", "--max-memory", "60")
    with running("serve", *options) as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=60, trust_env=False) as made:
        yield made


def assert_finds_the_car(found: dict[str, Any]) -> None:
    assert found["status"] == "answered"
    (mask,) = found["masks"]
    (scene,) = (one for one in read_set(DEMO) if one.file_name == "red_cars.png")
    (query,) = (one for one in scene.queries if one.text == "the leftmost red car")
    truth = scene.scene.mask(query.targets[0])
    pixels = coco.decode(mask["segmentation"]).astype(bool)
    assert (pixels & truth).sum() / (pixels | truth).sum() > 0.6


def test_a_question_is_answered_with_json_and_with_a_form(client: httpx2.Client) -> None:
    query = "the leftmost red car"
    assert_finds_the_car(client.post("/ask", json={"image": "red_cars.png", "query": query}).json())
    files = {"image": ("whatever.txt", RED_CARS.read_bytes(), "text/plain")}
    found = client.post("/ask", files=files, data={"query": query}).json()
    assert_finds_the_car(found)
    overlay = client.get(f"/images/{found['image']}/overlay.jpg")
    assert (overlay.status_code, overlay.headers["content-type"]) == (200, "image/jpeg")
    assert overlay.headers["x-content-type-options"] == "nosniff"
    number = found["masks"][0]["number"]
    assert client.get(f"/images/{found['image']}/masks/{number}.png").content[:4] == b"\x89PNG"
    assert len(client.get(f"/images/{found['image']}/conversation.json").json()) == 1
    missing = client.get(f"/images/{found['image']}/masks/99.png")
    assert (missing.status_code, missing.json()["error"]["kind"]) == (404, "input")


def test_an_image_is_opened_once_and_used_by_its_handle(client: httpx2.Client) -> None:
    opened = client.post("/images", json={"image": data_uri(RED_CARS.read_bytes())}).json()
    assert (opened["width"], opened["height"]) == (640, 480)
    phrases = ["red car"]
    found = client.post("/segment", json={"image": opened["image"], "phrases": phrases}).json()
    assert [mask["number"] for mask in found["masks"]] == [1, 2, 3]
    form = {"image": opened["image"], "phrases": json.dumps(phrases)}
    again = client.post("/segment", files={"unused": ("", b"")}, data=form)
    assert again.status_code == 422  # a field that the tool has not


def test_arguments_as_text_are_taken_from_json_and_from_a_form(client: httpx2.Client) -> None:
    files = {"image": ("a.png", RED_CARS.read_bytes(), "image/png")}
    for phrases in ('["red car"]', "red car"):
        body = {"image": "red_cars.png", "phrases": phrases, "threshold": "0.5"}
        found = client.post("/segment", json=body).json()
        assert len(found["masks"]) == 3
        data = {"phrases": phrases, "threshold": "0.5"}
        assert len(client.post("/segment", files=files, data=data).json()["masks"]) == 3


def test_progress_comes_as_events_when_asked_for(client: httpx2.Client) -> None:
    body = {"image": "red_cars.png", "query": "the leftmost red car"}
    events: list[tuple[str, Any]] = []
    with client.stream(
        "POST", "/ask", json=body, headers={"Accept": "text/event-stream"}
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for block in "".join(response.iter_text()).strip().split("\n\n"):
            event, data = block.split("\n")
            events.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    assert {name for name, _ in events[:-1]} == {"progress"}
    assert events[0][1]["text"].startswith("turn 1 of")
    assert events[-1][0] == "result"
    assert_finds_the_car(events[-1][1])
    refused = client.post(
        "/ask", json={"image": "none.png", "query": "?"}, headers={"Accept": "text/event-stream"}
    )
    assert refused.status_code == 422


async def test_a_failing_planner_is_reported_without_its_message(segmenter: FakeSegmenter) -> None:
    body = {"image": data_uri(png()), "query": "the dog"}
    error = {"kind": "planner", "message": "the planner failed; the server's log says why"}
    async with rest_client(Toolkit.of(Agent(ScriptedPlanner([]), segmenter))) as client:
        failed = await client.post("/ask", json=body)
        assert (failed.status_code, failed.json()) == (502, {"error": error})
        streamed = await client.post("/ask", json=body, headers={"Accept": "text/event-stream"})
        assert streamed.status_code == 200  # it fails after the first event
        *_, last = streamed.text.strip().split("\n\n")
        assert last == f"event: error\ndata: {json.dumps({'error': error})}"


async def test_the_openapi_describes_bodies_by_models(segmenter: FakeSegmenter) -> None:
    async with rest_client(Toolkit.of(Agent(ScriptedPlanner([]), segmenter))) as client:
        openapi = (await client.get("/openapi.json")).json()
    schemas, segment = openapi["components"]["schemas"], openapi["paths"]["/segment"]["post"]
    named = {"200": "ToolResult", "422": "ErrorBody", "429": "ErrorBody"}
    for status, name in named.items():
        content = segment["responses"][status]["content"]["application/json"]
        assert content["schema"] == {"$ref": f"#/components/schemas/{name}"}
    assert set(schemas["ToolResult"]["required"]) == set(schemas["ToolResult"]["properties"])
    assert "pictures" not in schemas["ToolResult"]["properties"]
    assert "segmentation" in schemas["Mark"]["required"]
    bodies = segment["requestBody"]["content"]
    assert bodies["application/json"]["schema"]["required"] == ["image", "phrases"]
    image = bodies["multipart/form-data"]["schema"]["properties"]["image"]
    assert image["format"] == "binary"


def test_health_names_the_models_and_metrics_count_by_route(client: httpx2.Client) -> None:
    health = client.get("/health").json()
    assert health == {"status": "ok", "planner": "offline", "segmenter": "tiny"}
    client.post("/segment", json={"image": "red_cars.png", "phrases": ["bus"]})
    client.get(f"/images/img_{'0' * 24}/overlay.jpg")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {one.name: one for one in text_string_to_metric_families(response.text)}
    requests = {tuple(one.labels.values()) for one in families["sam3_agent_requests"].samples}
    assert {("/segment", "200"), ("/images/{handle}", "404")} <= requests
    assert not {"/health", "/metrics"} & {route for route, *_ in requests}
    buckets = families["sam3_agent_request_seconds"].samples
    assert {"0.05", "300.0", "+Inf"} <= {one.labels.get("le") for one in buckets}
    assert families["sam3_agent_images"].samples[0].value >= 1
    assert families["sam3_agent_image_bytes"].samples[0].value > 0
    assert {"sam3_agent_running", "sam3_agent_waiting"} <= set(families)


def test_two_hundred_requests_sixteen_at_a_time(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """No error, memory flat after warm-up; the times are printed."""
    pictures = [path.name for path in sorted(DEMO.glob("*.png"))]
    taken: list[float] = []

    limits = httpx2.Limits(max_connections=16)
    with (
        httpx2.Client(base_url=server.url, timeout=120, trust_env=False, limits=limits) as client,
        ThreadPoolExecutor(16) as pool,
    ):

        def ask(number: int) -> int:
            body: dict[str, Any] = {"image": pictures[number % len(pictures)]}
            path, asked = "/segment", {"phrases": ["red car", "dog"]}
            if number % 4 == 0:
                path, asked = "/ask", {"query": "how many red cars?"}  # type: ignore[dict-item]
            began = time.perf_counter()
            answer = client.post(path, json={**body, **asked})
            taken.append(time.perf_counter() - began)
            return answer.status_code

        assert set(pool.map(ask, range(100))) == {200}
        warm = server.memory()
        assert set(pool.map(ask, range(200))) == {200}
        grown = server.memory() - warm
    taken = sorted(taken[100:])
    p50, p95 = statistics.median(taken), taken[int(0.95 * len(taken))]
    with capsys.disabled():
        print(f"\n200 requests, 16 at a time: p50 {p50:.2f} s, p95 {p95:.2f} s, ", end="")
        print(f"memory {warm:.0f} MB, {grown:+.0f} MB")
    assert grown < 40


ANY_IMAGE = "positive_data_acceptance"
"""A check that cannot hold: text that fits the schema need not name an image."""


def test_made_up_requests_are_answered_as_the_openapi_says(server: Server) -> None:
    """schemathesis: statuses, content types and bodies; wrong input is refused, nothing breaks."""
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    every = schemathesis.checks.CHECKS.get_all()  # pyright: ignore[reportAttributeAccessIssue]
    checks = [one for one in every if one.__name__ != ANY_IMAGE]
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    tried = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        for mode in modes:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=12,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
            )
            def each(case: Any) -> None:
                nonlocal tried
                tried += 1
                case.call_and_validate(checks=checks)

            with contextlib.suppress(Unsatisfiable):  # nothing can be wrong without parameters
                each()
    assert tried >= 50
