"""The tools without a server: schemas for every provider, calls, and the examples that we ship."""

import importlib
import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from sam3_agent import Agent, plugin
from sam3_agent.errors import InputError, PlannerError
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.plugin.provider_schemas import Format
from tests.stub_server import AnyStep, Request, Step, StubServer, call

ROOT = Path(__file__).parents[1]
RED_CARS = str(ROOT / "evals" / "demo" / "red_cars.png")
EXAMPLES = sorted(path.stem for path in (ROOT / "sam3_agent/plugin/examples").glob("[a-z]*.py"))
NAMES = {"ask_image", "segment", "refine", "look", "measure", "get_masks"}


def toolkit_of(segmenter: FakeSegmenter, *replies: Any) -> plugin.Toolkit:
    return plugin.Toolkit.of(Agent(ScriptedPlanner(replies), segmenter))


def names_in(value: Any) -> set[str]:
    """Every "name" in nested JSON values."""
    if isinstance(value, dict):
        own = {value["name"]} if isinstance(value.get("name"), str) else set()
        return own.union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("form", get_args(Format))
def test_every_format_describes_every_tool(form: Format) -> None:
    tools = plugin.tools(format=form)
    assert names_in(tools) == NAMES
    assert json.loads(json.dumps(tools)) == tools


def test_a_format_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InputError, match="openai, openai-responses, gemini, anthropic"):
        plugin.tools(format="cohere")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="there is no format 'cohere'"):
        plugin.content(plugin.ToolResult("", 0, 0, ""), "cohere")  # type: ignore[arg-type]


def test_the_schemas_are_what_the_sdks_types_accept() -> None:
    from anthropic.types import ToolParam
    from google.genai.types import GenerateContentConfig
    from openai.types.chat import ChatCompletionFunctionToolParam
    from openai.types.responses import FunctionToolParam
    from pydantic import TypeAdapter

    for adapter, form in (
        (TypeAdapter(ChatCompletionFunctionToolParam), "openai"),
        (TypeAdapter(FunctionToolParam), "openai-responses"),
        (TypeAdapter(ToolParam), "anthropic"),
    ):
        for tool in plugin.tools(format=form):  # type: ignore[arg-type]
            adapter.validate_python(tool)
    (tool,) = list(GenerateContentConfig(tools=plugin.tools(format="gemini")).tools or [])
    assert {one.name for one in tool.function_declarations} == NAMES  # type: ignore[union-attr]


def test_a_call_finds_masks_and_its_handle_serves_the_next(
    segmenter: FakeSegmenter, image: Pixels
) -> None:
    toolkit = toolkit_of(
        segmenter,
        calling(("segment", {"phrases": ["leash"]})),
        calling(("answer", {"text": "On the dog.", "numbers": [3]})),
    )
    first = plugin.call(
        "segment", {"image": "photo", "phrases": ["dog"]}, {"photo": image}, toolkit
    )
    assert [mark.number for mark in first.masks] == [1, 2]
    assert first.masks[0].box == (10, 20, 60, 70)
    assert first.picture is not None
    asked = json.dumps({"image": first.image, "query": "where is the leash?"})
    second = plugin.call("ask_image", asked, toolkit=toolkit)
    assert (second.status, second.text) == ("answered", "On the dog.")
    assert [(mark.number, mark.phrase) for mark in second.masks] == [(3, "leash")]
    again = plugin.call(
        "segment", {"image": "photo", "phrases": ["dog"]}, {"photo": image}, toolkit
    )
    assert again.image == first.image


def test_a_report_describes_each_mask_once(segmenter: FakeSegmenter, image: Pixels) -> None:
    toolkit = toolkit_of(segmenter)
    found = plugin.call(
        "segment", {"image": "photo", "phrases": ["dog"]}, {"photo": image}, toolkit
    )
    assert found.masks
    lines = found.report().splitlines()
    for mark in found.masks:
        assert len([line for line in lines if line.startswith(f"{mark.number}")]) == 1


def test_after_unable_a_model_is_advised_what_it_and_what_the_user_can_do(image: Pixels) -> None:
    toolkit = plugin.Toolkit.of(Agent(planner="offline", segmenter=FakeSegmenter({})))
    question = {"image": "photo", "query": "which is the saddest?"}
    report = plugin.call("ask_image", question, {"photo": image}, toolkit).report()
    assert "status: unable" in report
    last = report.splitlines()[-1]
    assert "in other words" in last
    assert "give the user the advice" in last


def test_the_error_of_an_unknown_argument_names_the_known_ones_and_a_right_image(
    segmenter: FakeSegmenter, image: Pixels
) -> None:
    wrong = {"image": "photo", "threshold": 0.2}
    result = plugin.call("refine", wrong, {"photo": image}, toolkit_of(segmenter))
    assert "only image, like, unlike, phrase, points, box;" in result.text
    assert '"img_' in result.text


def test_a_question_to_a_handle_follows_up_and_one_to_a_picture_starts_a_new_chat(
    segmenter: FakeSegmenter, image: Pixels
) -> None:
    found, done = (
        calling(("segment", {"phrases": ["dog"]})),
        ("answer", {"text": "!", "numbers": []}),
    )
    planner = ScriptedPlanner([found, calling(done), calling(done), calling(done)])
    toolkit = plugin.Toolkit.of(Agent(planner, segmenter))
    pictures = {"photo": image}
    first = plugin.call("ask_image", {"image": "photo", "query": "dogs?"}, pictures, toolkit)
    plugin.call("ask_image", {"image": first.image, "query": "and on the left?"}, toolkit=toolkit)
    assert "dogs?" in [message.text for message in planner.seen[2]]
    plugin.call("ask_image", {"image": "photo", "query": "leashes?"}, pictures, toolkit)
    assert [m.text for m in planner.seen[3] if m.role == "user"] == ["leashes?"]
    assert segmenter.encoded == 1


def test_examples_places_closeups_and_measures_work_on_the_same_masks(
    segmenter: FakeSegmenter, image: Pixels
) -> None:
    toolkit = toolkit_of(segmenter)
    pictures = {"photo": image}
    dogs = plugin.call("segment", {"image": "photo", "phrases": ["dog"]}, pictures, toolkit)
    assert dogs.masks[0].box_percent == (5, 20, 30, 70)

    def run(name: str, **arguments: Any) -> plugin.ToolResult:
        result = plugin.call(name, {"image": dogs.image, **arguments}, toolkit=toolkit)
        assert result.status == "done", result.text
        return result

    assert [mark.number for mark in run("refine", like=[1]).masks] == [1, 2]
    box = list(dogs.masks[1].box_percent)
    assert [mark.number for mark in run("refine", like=[box], unlike=[1]).masks] == [1, 2]
    (leash,) = run("refine", points=[[40, 45]]).masks
    assert (leash.number, leash.phrase) == (3, "leash")
    close = run("look", numbers=[1, 3])
    assert close.picture is not None
    assert [mark.number for mark in close.masks] == [1, 3]
    assert run("look", region=[0, 0, 50, 50]).picture is not None
    measured = run("measure", numbers=[1, 2])
    assert measured.details["orders"]["left to right"] == [1, 2]
    assert run("segment", phrases=["dog"], threshold=0.85).masks == dogs.masks[:1]
    assert run("segment", phrases=["leash"], region=[0, 0, 100, 100]).masks


def test_what_the_segmenter_does_not_accept_is_reported() -> None:
    toolkit = plugin.Toolkit.of(Agent("offline", "tiny"))
    click = {"image": "photo", "points": [[50, 50]]}
    result = plugin.call("refine", click, {"photo": RED_CARS}, toolkit)
    assert (result.status, "tiny cannot be given points" in result.text) == ("failed", True)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("refine", {"image": "photo"}, "either examples (like) or a place"),
        ("refine", {"image": "photo", "like": [1], "points": [[1, 1]]}, "either examples"),
        ("refine", {"image": "photo", "like": [7]}, "there is no mask 7"),
        ("look", {"image": "photo"}, "look needs"),
        ("measure", {"image": "photo", "numbers": [0]}, "there is no mask 0"),
        ("segment", {"image": "photo", "phrases": ["dog"], "threshold": 7}, "threshold"),
        ("read_file", {"path": "/etc/passwd"}, "there is no tool 'read_file'"),
        ("segment", '{"image": "photo"', "not valid JSON"),
        ("segment", {"image": "photo"}, "needs the argument 'phrases'"),
        ("segment", {"image": "photo", "phrases": 7}, "argument 'phrases' of segment"),
        ("segment", {"image": "photo", "phrases": [""]}, "a phrase is empty"),
        ("segment", {"image": "poto", "phrases": ["dog"]}, "no image 'poto'; there is: photo"),
        ("segment", {"image": "/etc/passwd", "phrases": ["dog"]}, "no image"),
        ("segment", {"image": "img_" + "0" * 24, "phrases": ["dog"]}, "no image with this"),
        ("ask_image", {"image": "photo", "query": " "}, "the question is empty"),
    ],
)
def test_what_a_model_does_wrong_comes_back_as_text(
    name: str, arguments: Any, reason: str, segmenter: FakeSegmenter, image: Pixels
) -> None:
    result = plugin.call(name, arguments, {"photo": image}, toolkit_of(segmenter))
    assert (result.status, result.masks) == ("failed", ())
    assert reason in result.text


def test_a_planner_that_fails_raises(segmenter: FakeSegmenter, image: Pixels) -> None:
    with pytest.raises(PlannerError):
        plugin.call("ask_image", {"image": "i", "query": "?"}, {"i": image}, toolkit_of(segmenter))


@pytest.mark.parametrize("form", get_args(Format))
def test_a_result_has_its_words_and_where_possible_its_picture(
    form: Format, segmenter: FakeSegmenter, image: Pixels
) -> None:
    found = plugin.call(
        "segment", {"image": "i", "phrases": ["dog"]}, {"i": image}, toolkit_of(segmenter)
    )
    shown = json.dumps(plugin.content(found, form))
    assert found.image in shown
    assert ("/9j/" in shown) == (form != "openai")  # how a JPEG begins in base64


@pytest.fixture
def stub_keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Keys for every SDK."""
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "stub-key")
    return monkeypatch


def answer_with_the_box(request: Request) -> Step:
    """Read the first box in percent in the tool's result, as a model would."""
    body = json.dumps(request.body)
    found = re.search(r'red car\\*" [\d.]+ \| [\d.,]+ \| ([\d.,]+)', body)
    assert found, body[:2000]
    return Step(text=f"The car is at {found[1]}.")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_finds_the_car_and_is_short(name: str, stub_keys: pytest.MonkeyPatch) -> None:
    source = ROOT / "sam3_agent/plugin/examples" / f"{name}.py"
    assert len(source.read_text("utf-8").splitlines()) <= 30
    example = importlib.import_module(f"sam3_agent.plugin.examples.{name}")
    steps: list[AnyStep] = [
        call(("segment", {"image": "photo", "phrases": ["red car"]})),
        answer_with_the_box,
    ]
    with StubServer(steps) as server:
        stub_keys.setenv("OPENAI_BASE_URL", server.openai_url)
        stub_keys.setenv("GOOGLE_GEMINI_BASE_URL", server.gemini_url)
        stub_keys.setenv("ANTHROPIC_BASE_URL", server.gemini_url)
        answer = example.ask(RED_CARS, "Where is a red car?")
    assert re.fullmatch(r"The car is at 43\.\d+,78\.\d+,65\.\d+,9[56](\.\d+)?\.", answer)


def test_there_is_an_example_for_every_format() -> None:
    assert len(EXAMPLES) == len(get_args(Format))
    assert np.all(
        [any(form.split("-")[0] in name for name in EXAMPLES) for form in get_args(Format)]
    )
