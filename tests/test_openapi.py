"""The OpenAPI of the REST server: valid, complete, and as its generated clients send requests."""

from typing import Any

import pytest
from openapi_schema_validator import validate as check_value
from openapi_spec_validator import validate as check_openapi
from pycocotools import mask as coco

from sam3_agent import Agent, PlannerError
from sam3_agent.errors import ToolError
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.error_responses import to_call_error
from sam3_agent.plugin.rest import build
from sam3_agent.plugin.tool_calls import TOOLS
from sam3_agent.plugin.work_queue import BusyError, CallTimeoutError, ClosedError, WorkQueue
from tests.plugin_fixtures import data_uri, png, rest_client

GOOD = data_uri(png())


@pytest.fixture
def toolkit(segmenter: FakeSegmenter) -> Toolkit:
    return Toolkit.of(Agent(ScriptedPlanner([]), segmenter))


@pytest.fixture
def openapi(toolkit: Toolkit) -> dict[str, Any]:
    return build(toolkit, WorkQueue()).openapi()


def operations(openapi: dict[str, Any]) -> dict[str, Any]:
    return {one["operationId"]: one for path in openapi["paths"].values() for one in path.values()}


def resolved(openapi: dict[str, Any], schema: Any) -> Any:
    """A schema with its references written out."""
    if isinstance(schema, list):
        return [resolved(openapi, one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return resolved(openapi, openapi["components"]["schemas"][schema["$ref"].split("/")[-1]])
    return {name: resolved(openapi, one) for name, one in schema.items()}


def test_it_is_valid_and_names_its_operations_as_the_tools(openapi: dict[str, Any]) -> None:
    check_openapi(openapi)
    files = ["read_overlay_jpg", "read_masks_json", "read_masks", "read_conversation_json"]
    others = ["open_image", "health", "read_metrics"]
    assert list(operations(openapi)) == [*TOOLS, *others, *files]


def test_every_parameter_of_a_path_is_declared_and_described(openapi: dict[str, Any]) -> None:
    for path, methods in openapi["paths"].items():
        for operation in methods.values():
            declared = operation.get("parameters", [])
            in_path = [one["name"] for one in declared if one["in"] == "path"]
            assert [f"{{{name}}}" in path for name in in_path] == [True] * path.count("{")
            assert all(one["required"] == (one["in"] == "path") for one in declared)
            assert all(one["description"] and one["schema"]["examples"] for one in declared)


@pytest.mark.parametrize(
    "error",
    [
        ToolError("x"),
        BusyError(1),
        ClosedError(),
        CallTimeoutError(),
        PlannerError("x"),
        RuntimeError(),
    ],
)
def test_the_kind_of_an_error_is_described_as_it_is_sent(
    openapi: dict[str, Any], error: Exception
) -> None:
    sent = to_call_error(error)
    response = operations(openapi)["ask_image"]["responses"][str(sent.status)]
    assert response["content"]["application/json"]["example"]["error"]["kind"] == sent.kind


def test_every_response_is_described_with_an_example_that_fits(openapi: dict[str, Any]) -> None:
    everywhere = {"400", "401", "403", "413", "421", "429"}
    for name, operation in operations(openapi).items():
        assert everywhere <= set(operation["responses"]), name
        for status, response in operation["responses"].items():
            assert response["description"]
            content = response["content"].get("application/json")
            if content is None or (status == "200" and name.startswith("read_")):
                continue
            check_value(content["example"], resolved(openapi, content["schema"]))
        assert "Retry-After" in operation["responses"]["429"]["headers"]
    for name in TOOLS:
        assert {"408", "415", "422", "500", "502", "503", "504"} <= set(
            operations(openapi)[name]["responses"]
        )


def test_every_body_has_an_example_that_is_accepted(openapi: dict[str, Any]) -> None:
    for operation in operations(openapi).values():
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            check_value(content["example"], content["schema"])


def test_the_mask_of_the_example_is_the_one_that_it_describes(openapi: dict[str, Any]) -> None:
    response = operations(openapi)["segment"]["responses"]["200"]
    example = response["content"]["application/json"]["example"]
    (mark,) = example["masks"]
    rle = {**mark["segmentation"], "counts": mark["segmentation"]["counts"].encode()}
    assert int(coco.area(rle)) == mark["area"]
    x, y, width, height = coco.toBbox(rle)
    assert [x, y, x + width, y + height] == mark["box"]


@pytest.mark.parametrize(
    ("path", "fields", "masks"),
    [
        ("/segment", [("phrases", "dog"), ("phrases", "leash")], 3),
        ("/segment", [("phrases", "dog")], 2),
        ("/segment", [("phrases", '["dog", "leash"]')], 3),
        ("/segment", [("phrases", "dog\nleash")], 3),
        (
            "/segment",
            [("phrases", "dog"), *[("region", side) for side in ("0", "0", "100", "100.0")]],
            2,
        ),
        ("/segment", [("phrases", "dog"), ("region", "0, 0, 100, 100")], 2),
        ("/refine", [("points", "[20, 40]"), ("points", "[25, 45]")], 1),
        ("/refine", [("points", "[[20, 40]]")], 1),
        ("/refine", [("like", "[5, 20, 30, 70]"), ("like", "[60, 40, 75, 70]")], 2),
    ],
)
async def test_the_items_of_a_list_come_as_parts_of_a_form_by_themselves(
    toolkit: Toolkit, path: str, fields: list[tuple[str, str]], masks: int
) -> None:
    parts: list[Any] = [(name, (None, value)) for name, value in fields]
    async with rest_client(toolkit) as client:
        found = await client.post(path, files=[("image", ("a.png", png())), *parts])
        assert found.status_code == 200, found.text
        assert len(found.json()["masks"]) == masks


async def test_a_phrase_that_comes_as_a_part_may_have_commas(toolkit: Toolkit) -> None:
    async with rest_client(toolkit) as client:
        parts: list[Any] = [("phrases", (None, "a large, red car"))]
        found = await client.post("/segment", files=[("image", ("a.png", png())), *parts])
        assert (found.status_code, found.json()["masks"]) == (200, [])


async def test_a_part_that_is_no_list_comes_once(toolkit: Toolkit) -> None:
    async with rest_client(toolkit) as client:
        for name in ("image", "threshold", "x" * 500):
            parts: list[Any] = [(name, (None, "1")), (name, (None, "2"))]
            refused = await client.post("/segment", files=parts)
            assert (refused.status_code, "comes twice" in refused.text) == (422, True)
            assert len(refused.text) < 300
        files: list[Any] = [("phrases", ("a", b"dog")), ("phrases", (None, "dog"))]
        assert (await client.post("/segment", files=files)).status_code == 422
