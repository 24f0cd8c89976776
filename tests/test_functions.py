"""The tools as plain functions: what agent frameworks read of them, and what they return."""

import asyncio
import base64
import inspect
import io
import json
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_type_hints

import numpy as np
import pytest
from PIL import Image

from sam3_agent import Agent, Message, Tool, plugin
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.plugin.tool_calls import TOOLS
from tests.stub_server import Step, StubServer, call

ARGUMENTS: dict[str, dict[str, Any]] = {
    "ask_image": {"query": "where is the dog?"},
    "segment": {"phrases": ["dog"]},
    "refine": {"like": [1]},
    "look": {"numbers": [1, 2]},
    "measure": {"numbers": [1, 2]},
    "get_masks": {"numbers": [1]},
}
FIND = calling(("segment", {"phrases": ["dog"]}))
ANSWER = calling(("answer", {"text": "A dog.", "numbers": [1]}))


def functions_of(
    toolkit: plugin.Toolkit, image: Pixels | None = None, **more: Any
) -> dict[str, Callable[..., Any]]:
    images = None if image is None else {"photo": image}
    return {one.__name__: one for one in plugin.functions(images, toolkit, **more)}


@pytest.fixture
def toolkit(segmenter: FakeSegmenter) -> plugin.Toolkit:
    return plugin.Toolkit.of(Agent(ScriptedPlanner([FIND, ANSWER] * 20), segmenter))


@pytest.fixture
def functions(toolkit: plugin.Toolkit, image: Pixels) -> dict[str, Callable[..., Any]]:
    return functions_of(toolkit, image)


def test_every_tool_returns_json_values_and_what_call_returns(
    functions: dict[str, Callable[..., Any]], toolkit: plugin.Toolkit
) -> None:
    assert list(functions) == list(TOOLS)
    for name, function in functions.items():
        values = function(image="photo", **ARGUMENTS[name])
        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert values["status"] in ("done", "answered"), values["text"]
        assert (values["width"], values["height"]) == (200, 100)
        assert "pictures" not in values
        if name != "ask_image":
            called = plugin.call(name, {"image": values["image"], **ARGUMENTS[name]}, None, toolkit)
            assert called.to_dict() == values
    found = functions["segment"](image="photo", phrases=["dog"])
    assert found["masks"][0]["box"] == [10, 20, 60, 70]


def test_signatures_are_plain_types_that_survive_inspection(
    functions: dict[str, Callable[..., Any]],
) -> None:
    for name, function in functions.items():
        signature = inspect.signature(function)
        hints = get_type_hints(function, include_extras=True)
        assert hints.pop("return") == signature.return_annotation == dict[str, Any]
        assert {n: one.annotation for n, one in signature.parameters.items()} == hints
        assert set(hints) == set(TOOLS[name].parameters["properties"])
        required = {
            n for n, one in signature.parameters.items() if one.default is inspect.Parameter.empty
        }
        assert required == set(TOOLS[name].parameters["required"])
        assert not any("Annotated" in str(hint) for hint in hints.values())


def test_docstrings_describe_every_parameter_in_googles_style(
    functions: dict[str, Callable[..., Any]],
) -> None:
    google = pytest.importorskip("docstring_parser.google")
    for function in functions.values():
        assert function.__doc__ is not None
        read = google.parse(function.__doc__)
        assert read.short_description
        assert read.returns is not None
        assert read.returns.description
        described = {one.arg_name: one.description for one in read.params}
        assert list(described) == list(inspect.signature(function).parameters)
        assert all(described.values())


def test_the_sdks_of_anthropic_and_google_make_tools_of_the_functions(
    functions: dict[str, Callable[..., Any]],
) -> None:
    anthropic = pytest.importorskip("anthropic")
    types = pytest.importorskip("google.genai.types")
    for name, function in functions.items():
        made = anthropic.beta_tool(function).to_dict()
        assert made["name"] == name
        assert set(made["input_schema"]["properties"]) == set(TOOLS[name].parameters["properties"])
        for schema in made["input_schema"]["properties"].values():
            assert schema["description"]
        declared = types.FunctionDeclaration.from_callable_with_api_option(
            callable=function, api_option="GEMINI_API"
        )
        assert declared.name == name


def test_gemini_calls_the_functions_by_itself(
    functions: dict[str, Callable[..., Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    genai = pytest.importorskip("google.genai")
    steps = [call(("segment", {"image": "photo", "phrases": ["dog"]})), Step(text="Two dogs.")]
    with StubServer(steps) as server:
        options = {"base_url": server.gemini_url}
        client = genai.Client(api_key="stub-key", http_options=options)
        reply = client.models.generate_content(
            model="gemini-3.8-flash", contents="dogs?", config={"tools": [*functions.values()]}
        )
        client.close()
    assert reply.text == "Two dogs."
    sent = json.dumps(server.requests[-1].body)
    assert '"box": [10.0, 20.0, 60.0, 70.0]' in sent


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("segment", {"image": "photo"}, "needs the argument 'phrases'"),
        ("segment", {"image": "photo", "phrases": ["dog"], "threshold": 7}, "threshold"),
        ("segment", {"image": "photo", "phrases": ["dog"], "colour": 1}, "no argument 'colour'"),
        ("segment", {"image": "photo", "phrases": np.zeros(3)}, "argument 'phrases' of segment"),
        ("segment", {"image": np.zeros((2, 2, 3)), "phrases": ["dog"]}, "argument 'image'"),
        ("segment", {"image": {"photo"}, "phrases": ["dog"]}, "argument 'image' of segment"),
        ("segment", {"image": "poto", "phrases": ["dog"]}, "no image 'poto'; there is: photo"),
        ("look", {"image": "photo", "numbers": [math.nan]}, "argument 'numbers' of look"),
        ("measure", {"image": "photo", "numbers": [9]}, "there is no mask 9"),
        ("measure", {"image": "img_" + "0" * 24, "numbers": [1]}, "no image with this handle"),
        ("ask_image", {"image": "photo", "query": object()}, "argument 'query' of ask_image"),
    ],
)
def test_a_wrong_call_returns_what_was_wrong(
    functions: dict[str, Callable[..., Any]], name: str, arguments: Any, reason: str
) -> None:
    values = functions[name](**arguments)
    assert (values["status"], values["masks"]) == ("failed", [])
    assert reason in values["text"]
    assert json.loads(json.dumps(values)) == values


def test_a_model_that_fails_is_a_result_too(segmenter: FakeSegmenter, image: Pixels) -> None:
    toolkit = plugin.Toolkit.of(Agent(ScriptedPlanner([]), segmenter))
    values = functions_of(toolkit, image)["ask_image"](image="photo", query="where is it?")
    assert values["status"] == "failed"
    assert values["text"].startswith("Error: ")


def test_arguments_by_position_are_those_of_the_signature(
    functions: dict[str, Callable[..., Any]],
) -> None:
    assert functions["segment"]("photo", ["dog"], 0.85)["masks"][0]["number"] == 1
    with pytest.raises(TypeError, match="too many positional arguments"):
        functions["measure"]("photo", [1], 2)


def test_pictures_come_as_data_urls_on_request(toolkit: plugin.Toolkit, image: Pixels) -> None:
    shown = functions_of(toolkit, image, pictures=True)["segment"]("photo", ["dog"])
    (url,) = shown["pictures"]
    head, _, data = url.partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).format == "JPEG"
    assert json.loads(json.dumps(shown)) == shown


def test_many_masks_stay_within_the_size_of_a_result(photo: Pixels) -> None:
    boxes = [(x, y, x + 3, y + 3) for x in range(0, 250, 4) for y in range(0, 140, 4)]
    toolkit = plugin.Toolkit.of(Agent(ScriptedPlanner([]), FakeSegmenter({"dot": boxes})))
    values = functions_of(toolkit, photo, pictures=True)["segment"]("photo", ["dot"])
    assert len(json.dumps(values)) < 1_000_000
    assert len(values["masks"]) < len(boxes)
    assert "have no row here" in values["details"]["omitted"]


def test_threads_share_the_functions(toolkit: plugin.Toolkit, image: Pixels) -> None:
    functions = functions_of(toolkit, image)
    alone = functions["segment"]("photo", ["dog"])

    def run(number: int) -> dict[str, Any]:
        name = ("segment", "measure", "ask_image", "look")[number % 4]
        values: dict[str, Any] = functions[name](image="photo", **ARGUMENTS[name])
        return values

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(run, range(32)))
    assert {one["image"] for one in results} == {alone["image"]}
    assert {one["status"] for one in results} == {"done", "answered"}
    assert all(one == alone for one in results[::4])


async def test_coroutine_functions_return_the_same(toolkit: plugin.Toolkit, image: Pixels) -> None:
    plain = functions_of(toolkit, image)
    for name, function in functions_of(toolkit, image, asynchronous=True).items():
        assert inspect.iscoroutinefunction(function)
        assert inspect.signature(function) == inspect.signature(plain[name])
        assert function.__doc__ == plain[name].__doc__
        values = await function(image="photo", **ARGUMENTS[name])
        assert values.keys() == plain[name](image="photo", **ARGUMENTS[name]).keys()
        assert values["status"] != "failed"


async def test_a_cancelled_coroutine_calls_no_model_after_that(
    segmenter: FakeSegmenter, image: Pixels
) -> None:
    class WaitingPlanner:
        """Finds dogs in its first reply, and notes that another was asked for."""

        name = "waiting"

        def __init__(self) -> None:
            self.asked, self.go_on, self.ended = (threading.Event() for _ in range(3))
            self.replies = 0

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            self.replies += 1
            self.asked.set()
            assert self.go_on.wait(60)
            return FIND

    planner = WaitingPlanner()
    toolkit = plugin.Toolkit.of(Agent(planner, segmenter))
    ask = functions_of(toolkit, image, asynchronous=True)["ask_image"]
    asking = asyncio.ensure_future(ask(image="photo", query="where is it?"))
    assert await asyncio.to_thread(planner.asked.wait, 60)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    planner.go_on.set()
    (session,) = toolkit.sessions._sessions.values()
    assert await asyncio.to_thread(session.lock.acquire, True, 60)
    assert planner.replies == 1
