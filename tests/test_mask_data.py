"""`get_masks`: masks as RLE, polygons or PNG, as many as one result takes."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from sam3_agent import Agent, plugin
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin.provider_schemas import Format
from sam3_agent.plugin.result_size import MAX_RESULT_TOKENS, tokens
from tests.plugin_fixtures import png, rest_client
from tests.test_mask_polygons import filled


@pytest.fixture
def toolkit(segmenter: FakeSegmenter, image: Pixels) -> plugin.Toolkit:
    return plugin.Toolkit.of(Agent(ScriptedPlanner([]), segmenter), images={"photo": image})


@pytest.fixture
def handle(toolkit: plugin.Toolkit) -> str:
    """An image with two dogs and a leash, masks 1 to 3."""
    return toolkit.segment("photo", ["dog", "leash"]).image


def got(toolkit: plugin.Toolkit, handle: str, **arguments: Any) -> plugin.ToolResult:
    return plugin.call("get_masks", {"image": handle, **arguments}, toolkit=toolkit)


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_every_format_gives_the_same_masks_in_the_text(
    toolkit: plugin.Toolkit, handle: str
) -> None:
    masks = toolkit.sessions.get("local", handle).scene.masks
    exact = got(toolkit, handle, format="polygons", tolerance=0)
    rle, drawn = got(toolkit, handle), got(toolkit, handle, format="png")
    texts = [plugin.content(one, "openai") for one in (rle, exact, drawn)]
    for number, coded, traced, file in zip((1, 2, 3), *map(lines_of, texts), strict=True):
        expected = masks.dense()[number - 1]
        assert {coded["number"], traced["number"], file["number"]} == {number}
        assert (coco.decode(coded["segmentation"]) == expected).all()
        assert (filled(traced["polygons"], *masks.size) == expected).all()
        opened = Image.open(io.BytesIO(base64.b64decode(file["png"])))
        assert (np.asarray(opened) == 255 * expected).all()
    for one, name in ((rle, "rle"), (exact, "polygons"), (drawn, "png")):
        assert one.details == {"format": name, "masks": one.to_dict()["details"]["masks"]}
        assert [mark.number for mark in one.masks] == [1, 2, 3]


def test_png_files_are_pictures_where_a_provider_takes_them(
    toolkit: plugin.Toolkit, handle: str
) -> None:
    result = got(toolkit, handle, numbers=[3, 1], format="png")
    assert "in this order: 3, 1" in result.text
    text, *pictures = plugin.content(result, "anthropic")
    assert lines_of(text["text"]) == []
    assert [one["source"]["media_type"] for one in pictures] == ["image/png"] * 2
    blobs = plugin.content(result, "gemini")["parts"]
    assert [one["inline_data"]["mime_type"] for one in blobs] == ["image/png"] * 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"numbers": [4]}, "there is no mask 4; the image has the masks 1 to 3"),
        ({"numbers": [-1, 1]}, "there is no mask -1"),
        ({"numbers": []}, "numbers is empty"),
        ({"format": "svg"}, "not one of rle, polygons, png"),
        ({"format": "polygons", "tolerance": -1}, "not from 0 to 100 pixels"),
        ({"format": "polygons", "tolerance": 1e9}, "not from 0 to 100 pixels"),
    ],
)
def test_what_cannot_be_given_is_refused(
    toolkit: plugin.Toolkit, handle: str, arguments: dict[str, Any], reason: str
) -> None:
    result = got(toolkit, handle, **arguments)
    assert (result.status, reason in result.text) == ("failed", True), result.text


def test_an_image_without_masks_says_what_to_do_first(toolkit: plugin.Toolkit) -> None:
    assert "use ask_image or segment first" in got(toolkit, "photo").text


@pytest.mark.parametrize("form", ["rle", "polygons", "png"])
def test_masks_that_do_not_fit_are_refused_with_those_that_do(form: str) -> None:
    places = [(8 * (i % 100), 8 * (i // 100)) for i in range(900)]
    things = FakeSegmenter({"ant": [(x, y, x + 5, y + 6) for x, y in places]})
    photo = np.zeros((80, 800, 3), np.uint8)
    toolkit = plugin.Toolkit.of(Agent(ScriptedPlanner([]), things), images={"photo": photo})
    handle = toolkit.segment("photo", ["ant"]).image
    refused = got(toolkit, handle, format=form)
    assert refused.status == "failed"
    assert f"these 900 masks do not fit into one result as {form}" in refused.text
    first = json.loads(refused.text.partition("first ")[2])
    assert first == list(range(1, len(first) + 1))
    some = got(toolkit, handle, format=form, numbers=first)
    assert some.status == "done"
    providers: tuple[Format, ...] = ("openai", "anthropic")
    for provider in providers:
        text = plugin.content(some, provider)
        text = text if isinstance(text, str) else text[0]["text"]
        assert tokens(text) <= MAX_RESULT_TOKENS
        assert form == "png" or len(lines_of(text)) == len(first)


def test_a_mask_that_is_too_ragged_for_any_result_is_named_with_its_file() -> None:
    noise = np.random.default_rng(0).random((400, 600)) < 0.5
    toolkit = plugin.Toolkit.of(
        Agent(ScriptedPlanner([]), FakeSegmenter({})),
        images={"photo": np.zeros((400, 600, 3), np.uint8)},
    )
    session = toolkit.session("photo")
    session.scene.masks = Masks.from_dense(noise[None])
    refused = got(toolkit, session.handle, numbers=[1])
    assert "mask 1 alone does not fit into one result as rle" in refused.text
    assert f"/images/{session.handle}/masks/1.png" in refused.text


async def test_rest_gives_them_as_json(segmenter: FakeSegmenter) -> None:
    toolkit = plugin.Toolkit.of(Agent(ScriptedPlanner([]), segmenter))
    async with rest_client(toolkit) as client:
        found = await client.post(
            "/segment", data={"phrases": "dog"}, files={"image": png(200, 100)}
        )
        handle = found.json()["image"]
        for form in ("rle", "polygons", "png"):
            answer = await client.post("/get_masks", json={"image": handle, "format": form})
            assert answer.status_code == 200, answer.text
            assert [one["number"] for one in answer.json()["details"]["masks"]] == [1, 2]
