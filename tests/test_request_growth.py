"""Time of requests: four times the input takes at most five times as long, whatever it holds."""

import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from sam3_agent import Agent
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.request_body import MAX_VALUES
from sam3_agent.plugin.tool_calls import run_tool
from tests.plugin_fixtures import data_uri, png, rest_client

JSON, FORM = "application/json", "multipart/form-data; boundary=xxxxxxxx"
GOOD = data_uri(png())


def body(**values: Any) -> bytes:
    return json.dumps({"image": GOOD, "phrases": ["dog"], **values}).encode()


def keys(count: int) -> dict[str, int]:
    return {f"k{number}": number for number in range(count)}


def part(head: bytes, content: bytes = b"x") -> bytes:
    return (
        b"--xxxxxxxx\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n"
    )


END = b"--xxxxxxxx--\r\n"

Case = tuple[str, str, Callable[[int], bytes]]

CASES: dict[str, Case] = {
    "distinct keys": ("/segment", JSON, lambda n: body(**keys(n))),
    "distinct keys for an image": ("/images", JSON, lambda n: json.dumps(keys(n)).encode()),
    "distinct keys in an argument": ("/refine", JSON, lambda n: body(points=[keys(n)])),
    "a key that comes twice": ("/segment", JSON, lambda n: b'{"a":1' + b',"a":1' * n + b"}"),
    "numbers": ("/measure", JSON, lambda n: body(numbers=list(range(n)))),
    "wrong items": ("/refine", JSON, lambda n: body(like=[["x"] * 4] * (n // 4))),
    "empty lists": ("/refine", JSON, lambda n: body(like=[[]] * n)),
    "nesting": ("/segment", JSON, lambda n: b'{"a":' * n + b"1" + b"}" * n),
    "long whole numbers": ("/look", JSON, lambda n: body(numbers=[10**4000] * (n // 400))),
    "digits": ("/segment", JSON, lambda n: b'{"threshold":0.' + b"1" * 20 * n + b"}"),
    "escapes": ("/segment", JSON, lambda n: b'{"image":"' + b"\\u0041" * 10 * n + b'"}'),
    "backslashes": ("/segment", JSON, lambda n: b'{"image":"' + b"\\\\" * 10 * n),
    "blanks": ("/segment", JSON, lambda n: b" " * 20 * n + body() + b" " * 20 * n),
    "a list as text": ("/measure", JSON, lambda n: body(numbers="[1" + "if 1" * n + "]")),
    "numbers as text": ("/segment", JSON, lambda n: body(region="1 " * 10 * n)),
    "lines": ("/segment", JSON, lambda n: body(phrases="dog\n" * 10 * n)),
    "minus signs": ("/look", JSON, lambda n: body(numbers="[" + "-" * n + "1]")),
    "an image of blanks": ("/segment", JSON, lambda n: body(image=" " * 20 * n)),
    "wrapped base64": ("/images", JSON, lambda n: b'{"image":"' + GOOD.encode() + b"A \\n" * n),
    "parameters of a data URI": (
        "/segment",
        JSON,
        lambda n: body(image="data:image/png;" + "a=b;" * 5 * n + "base64,"),
    ),
    "percent-encoded": ("/segment", JSON, lambda n: body(image="data:;base64," + "%41" * 5 * n)),
    "percent signs": ("/segment", JSON, lambda n: body(image="data:," + "%" * 10 * n)),
    "parts of a form": ("/segment", FORM, lambda n: part(b'name="a"') * n + END),
    "headers of a part": (
        "/segment",
        FORM,
        lambda n: part(b"name=a\r\n" + b"\r\n".join(b"X-%d: 1" % i for i in range(n))) + END,
    ),
    "parameters of a part": ("/segment", FORM, lambda n: part(b"name=a" + b"; a=b" * n) + END),
    "quotes in a name": ("/ask", FORM, lambda n: part(b'name="' + b'\\"' * 5 * n + b'"') + END),
    "nearly a boundary": (
        "/segment",
        FORM,
        lambda n: part(b"name=image; filename=a", b"\r\n--xxxxxxx" * n) + END,
    ),
    "line ends in a form": (
        "/segment",
        FORM,
        lambda n: part(b"name=image; filename=a", b"\r\n" * 10 * n) + END,
    ),
    "before a form": ("/segment", FORM, lambda n: b"\r\n" * 10 * n + part(b"name=image") + END),
    "after a form": ("/segment", FORM, lambda n: part(b"name=image") + END + b"-" * 20 * n),
    "a field of a form": ("/ask", FORM, lambda n: part(b"name=query", b"x" * 20 * n) + END),
}


@pytest.fixture
def toolkit(segmenter: FakeSegmenter) -> Toolkit:
    return Toolkit.of(Agent(ScriptedPlanner([]), segmenter))


@pytest.mark.parametrize("name", CASES)
async def test_four_times_the_input_takes_at_most_five_times_as_long(
    toolkit: Toolkit, name: str
) -> None:
    path, kind, made = CASES[name]
    async with rest_client(toolkit) as client:

        async def seconds(count: int) -> float:
            content, taken = made(count), []
            for _ in range(4):
                began = time.process_time()
                answer = await client.post(path, content=content, headers={"Content-Type": kind})
                taken.append(time.process_time() - began)
                assert 400 <= answer.status_code < 500 or "blanks" in name, answer.text
                assert len(answer.content) < 1_000 or answer.status_code == 200
            return min(taken)

        small = await seconds(10_000)
        assert await seconds(40_000) <= 5 * small + 0.02  # what is over in no time varies


async def test_a_body_of_too_many_values_is_refused_before_they_are_read(toolkit: Toolkit) -> None:
    async with rest_client(toolkit) as client:
        taken = await client.post("/segment", content=body(**keys(5_000)), headers=TYPE)
        assert "no argument 'k0'" in taken.json()["error"]["message"]
        refused = await client.post("/segment", content=body(**keys(MAX_VALUES)), headers=TYPE)
        assert "it has more than 20,000 values" in refused.json()["error"]["message"]


TYPE = {"Content-Type": JSON}


@pytest.mark.parametrize(
    "more",
    [
        {"phrases": ["dog " * 30_000]},
        {"phrases": "dog\n" * 30_000},
        {"region": "1 " * 60_000},
        {"phrases": ["dog"], "x" * 110_000: 1},
    ],
)
async def test_long_arguments_beside_the_image_are_refused(
    toolkit: Toolkit, more: dict[str, Any]
) -> None:
    async with rest_client(toolkit) as client:
        refused = await client.post("/segment", content=body(**more), headers=TYPE)
        reason = "the arguments beside the image have more than 100,000 characters"
        assert refused.json()["error"]["message"] == reason


async def test_a_key_that_no_encoding_carries_is_refused(toolkit: Toolkit) -> None:
    async with rest_client(toolkit) as client:
        content = b'{"\\ud800": 1, ' + body()[1:]
        refused = await client.post("/segment", content=content, headers=TYPE)
        assert (refused.status_code, "no argument" in refused.text) == (422, True)
        content = body()[:-1] + b', "points": [{"\\ud800": 1}]}'
        assert (await client.post("/refine", content=content, headers=TYPE)).status_code == 422


def test_a_list_as_text_that_is_no_list_brings_no_warnings(toolkit: Toolkit) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(Exception, match="cannot be read as one"):
            run_tool(toolkit, "measure", {"image": GOOD, "numbers": "[1" + "if 1" * 1000 + "]"})
    assert not caught
