"""Replies that no well-behaved model gives: each is told, mended or refused, and none is fatal.

Every row of the bad input tried on Meta's agent is here, in the words of our tools.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sam3_agent import Agent, Answer, PlannerError
from sam3_agent.images import Pixels
from sam3_agent.loop import NO_CALL
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.tool_runner import MAX_CALLS
from tests.conftest import SHARED

RESPONSES = SHARED / "data" / "mllm_responses"

Wire = dict[str, Any]


def call(name: Any, arguments: Any, call_id: Any = "h1") -> Wire:
    """A native call; `arguments` as the server sends them, normally raw JSON text."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*found: Any) -> Wire:
    return {"role": "assistant", "content": None, "tool_calls": list(found)}


def segment(phrases: Any) -> Wire:
    return calls(call("segment", json.dumps({"phrases": phrases})))


def answer(numbers: Any, text: Any = "One.") -> Wire:
    return calls(call("answer", json.dumps({"text": text, "numbers": numbers})))


def says(content: Any) -> Wire:
    return {"role": "assistant", "content": content}


DOG = '{"tool": "segment", "arguments": {"phrases": ["dog"]}}'
NONE_YET = "no mask has been found yet"
NOT_A_CALL = NO_CALL
LONG = "x" * 1_000_000

TOLD: dict[str, tuple[Wire, str]] = {
    # no call at all
    "nothing": (says(None), NOT_A_CALL),
    "an empty message": ({}, NOT_A_CALL),
    "prose": (says("There is a dog on the left."), NOT_A_CALL),
    "JSON that is a list": (says('["dog"]'), NOT_A_CALL),
    "JSON without a name": (says('{"parameters": {"phrases": ["dog"]}}'), NOT_A_CALL),
    "only a thought": (says(f"<think>{DOG}</think>"), NOT_A_CALL),
    "a thought without an end": (says(f"<think>I will call {DOG}"), NOT_A_CALL),
    "words of 1 MB": (says(LONG), NOT_A_CALL),
    "a number for words": (says(17), NOT_A_CALL),
    "parts of all kinds": (says([{"type": "text", "text": "a"}, None, 3, {"x": []}]), NOT_A_CALL),
    "half a surrogate pair": (says("a \ud800 b"), NOT_A_CALL),
    "NUL and control characters": (says("\x00\x07\x1b[2Jdog\x7f"), NOT_A_CALL),
    "right-to-left text": (says("‮dog‬ הכלב الكلب"), NOT_A_CALL),
    "100,000 brackets": (says("[" * 100_000), NOT_A_CALL),
    "100,000 objects": (says('{"a":' * 100_000), NOT_A_CALL),
    "no calls": (calls(), NOT_A_CALL),
    "calls null": ({"tool_calls": None}, NOT_A_CALL),
    # fields of other types
    "calls as text": ({"tool_calls": "segment"}, "needs the argument 'phrases'"),
    "calls as a number": ({"tool_calls": 7}, "there is no tool ''"),
    "a call that is null": (calls(None), "there is no tool ''"),
    "a call that is a number": (calls(3), "there is no tool ''"),
    "a call that is a list": (calls([1, 2]), "there is no tool ''"),
    "a call without a function": (calls({"id": "h1"}), "there is no tool ''"),
    "a name that is null": (calls(call(None, "{}")), "there is no tool ''"),
    "a name that is a number": (calls(call(7, "{}")), "there is no tool ''"),
    "an empty name": (calls(call("", "{}")), "there is no tool ''"),
    "an unknown name": (calls(call("zoom", "{}")), "there is no tool 'zoom'; the tools are: segm"),
    "a name with spaces inside": (calls(call("seg ment", "{}")), "there is no tool 'seg ment'"),
    "a name in other letters": (calls(call("SEGMENT", "{}")), "there is no tool 'SEGMENT'"),
    "a name of 1 MB": (calls(call(LONG, "{}")), "there is no tool 'xxx"),
    "a name with half a pair": (calls(call("\ud800", "{}")), "there is no tool '?'"),
    "an unknown name in text": (says('{"tool": "zoom", "arguments": {}}'), "no tool 'zoom'"),
    # arguments that are no object
    "arguments null": (calls(call("segment", None)), "needs the argument 'phrases'"),
    "arguments empty": (calls(call("segment", "")), "needs the argument 'phrases'"),
    "arguments left out": (says('{"name": "segment"}'), "needs the argument 'phrases'"),
    "arguments blank": (calls(call("segment", " ")), "not valid JSON"),
    "arguments a list": (calls(call("segment", ["dog"])), "must be a JSON object, not list"),
    "arguments a number": (calls(call("segment", 3)), "must be a JSON object, not whole number"),
    "arguments three times JSON": (
        calls(call("segment", json.dumps(json.dumps('{"phrases": ["dog"]}')))),
        "must be a JSON object, not string",
    ),
    "arguments cut off": (calls(call("segment", '{"phrases": ["do')), "not valid JSON"),
    "arguments in single quotes": (
        calls(call("segment", "{'phrases': ['dog']}")),
        "not valid JSON",
    ),
    "arguments in a fence": (
        calls(call("segment", '```json\n{"phrases": ["dog"]}\n```')),
        "not valid JSON",
    ),
    "arguments with a tail": (calls(call("segment", '{"phrases": ["dog"]}}}')), "not valid JSON"),
    "arguments of 1 MB": (calls(call("segment", LONG)), "more than 100000 characters"),
    "arguments of 20,000 brackets": (calls(call("segment", "[" * 20_000)), "not valid JSON"),
    "arguments of 900 levels": (
        calls(call("segment", '{"phrases": ' + "[" * 900 + "]" * 900 + "}")),
        "argument 'phrases' of segment is",
    ),
    "endless digits": (
        calls(call("answer", '{"text": "a", "numbers": [' + "9" * 5000 + "]}")),
        "not valid JSON",
    ),
    "a key that comes twice": (
        calls(call("segment", '{"phrases": ["cat"], "phrases": ["dog"]}')),
        "the key 'phrases' comes twice",
    ),
    "a key that comes twice in text": (
        says('{"tool": "segment", "arguments": {"phrases": ["cat"], "phrases": ["dog"]}}'),
        "comes twice",
    ),
    "cut off in text": (
        says('{"tool": "answer", "arguments": {"text": "a", "numbers": [1'),
        "not v",
    ),
    # arguments of the wrong names and types
    "no argument": (calls(call("segment", "{}")), "needs the argument 'phrases'"),
    "another argument's name": (calls(call("segment", '{"text_prompt": "dog"}')), "'text_prompt'"),
    "a surplus argument": (
        calls(call("segment", '{"phrases": ["dog"], "masks": [1]}')),
        "segment has no argument 'masks'; call it like segment(",
    ),
    "a name of an argument of 10 kB": (
        calls(call("segment", json.dumps({"x" * 10_000: 1}))),
        "segment has no argument 'xxx",
    ),
    "phrases as text": (
        segment("dog, cat"),
        'is "dog, cat", a string: it may be one or several: give a list; call it like segment({"ph',
    ),
    "phrases as a number": (segment(7), "is 7, a whole number"),
    "phrases null": (segment(None), "is null, null"),
    "phrases as an object": (segment({"a": 1}), 'is {"a": 1}, an object'),
    "phrases nested": (segment([["dog"]]), "argument 'phrases'"),
    "a phrase that is a number": (segment(["dog", 7]), "argument 'phrases'"),
    "a phrase that is null": (segment([None]), "argument 'phrases'"),
    "no phrase": (segment([]), "takes 1 to"),
    "an empty phrase": (segment([""]), "phrase is empty"),
    "a blank phrase": (segment(["dog", " \t\n"]), "phrase is empty"),
    "2000 phrases": (segment(["dog"] * 2000), "not 2000"),
    "a phrase with NUL": (segment(["dog\x00"]), "character U+0000"),
    "a phrase with escape codes": (segment(["\x1b[2Jdog"]), "character U+001B"),
    "a phrase with half a pair": (segment(["\ud800dog"]), "character U+D800"),
    "a phrase of many words": (segment(["very " * 60 + "big dog"]), "words"),
    "an answer with NUL": (answer([], "No\x00"), "character U+0000"),
    "an answer with half a pair": (answer([], "\udfff"), "character U+DFFF"),
    "an empty answer": (answer([], "  "), "text is empty"),
    "an answer without text": (
        calls(call("answer", '{"numbers": []}')),
        "needs the argument 'text'",
    ),
    "an answer without numbers": (calls(call("answer", '{"text": "a"}')), "'numbers'"),
    "an answer that is a number": (answer([], 7), "argument 'text'"),
    "an answer that is NaN": (calls(call("answer", '{"text": NaN, "numbers": []}')), "'text'"),
    # masks that are not there
    "an answer first": (answer([1]), NONE_YET),
    "mask 0": (answer([0]), NONE_YET),
    "mask 99": (answer([99]), "there is no mask 99"),
    "some masks that are there not": (answer([1, 99, 0, -1]), NONE_YET),
    "a mask as a word": (answer(["one"]), "argument 'numbers'"),
    "masks in one text": (answer("1 and 2"), "argument 'numbers'"),
    "a mask without a list": (answer(1.5), "argument 'numbers'"),
    "a mask with a fraction": (answer([1.25]), "argument 'numbers'"),
    "true as a mask": (answer([True]), "argument 'numbers'"),
    "numbers null": (answer(None), "argument 'numbers'"),
    "numbers nested": (answer([[1]]), "argument 'numbers'"),
    "numbers in an object": (answer({"numbers": [1]}), "argument 'numbers'"),
    "infinite numbers": (
        calls(call("answer", '{"text": "a", "numbers": [Infinity]}')),
        "'numbers'",
    ),
    "numbers too large": (calls(call("answer", '{"text": "a", "numbers": [1e400]}')), "'numbers'"),
    "a huge mask": (answer([10**4000]), "there is no mask 1000"),
    "3000 masks": (answer(list(range(1, 3001))), "and 2992 more"),
}
"""A reply, and what it is told; the run goes on."""


class Server:
    """Gives its answers in turn, the last one for ever, and keeps the requests."""

    def __init__(self, *messages: Wire) -> None:
        self._messages = list(messages)
        self.bodies: list[Any] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.bodies.append(json.loads(request.content, parse_constant=no_constant))
        message = self._messages.pop(0) if len(self._messages) > 1 else self._messages[0]
        body = json.dumps({"choices": [{"index": 0, "message": message}]})
        return httpx2.Response(200, content=body, headers={"Content-Type": "application/json"})


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON and was sent")


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder deep inside one whose other content is watched."""
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    yield folder
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert all(path.parts[:4] == ("a", "b", "c", "out") for path in written), written


def ask(
    server: Server, image: Pixels, segmenter: FakeSegmenter, deep: Path, tool_calls: Any = "native"
) -> Answer:
    """Ask, check what was sent and save the answer; the planner never sleeps."""
    client = httpx2.Client(transport=httpx2.MockTransport(server))
    planner = OpenAIPlanner(
        "m",
        base_url="http://stub/v1",
        api_key="none",
        tool_calls=tool_calls,
        retrier=Retrier("openai", "m", sleep=lambda seconds: None),
        http_client=client,
    )
    answer = Agent(planner, segmenter, verifier="none").ask(image, "which dog?")
    for body in server.bodies:
        check_conversation(body["messages"])
    answer.save("out")
    files = {path.name for path in (deep / "out").iterdir()}
    masks = {f"mask_{number}.png" for number in answer.numbers}
    assert files == {"answer.json", "overlay.png"} | masks
    assert json.loads((deep / "out" / "answer.json").read_text("utf-8")) == answer.to_dict()
    json.dumps([message.to_dict() for message in answer.messages], ensure_ascii=False).encode()
    return answer


def check_conversation(messages: list[Wire]) -> None:
    """What strict servers want: unique ids, each answered in order; names and arguments in form."""
    seen: set[str] = set()
    open_ids: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == open_ids.pop(0)
            assert len(message["content"]) < 8000
            continue
        assert not open_ids
        assert message["content"] or message.get("tool_calls")
        for one in message.get("tool_calls", ()):
            assert one["function"]["name"].replace("_", "a").replace("-", "a").isalnum()
            assert isinstance(json.loads(one["function"]["arguments"]), dict)
            assert one["id"] not in seen
            seen.add(one["id"])
            open_ids.append(one["id"])
    assert len(json.dumps(messages)) < 300_000


SEGMENT = calls(call("segment", '{"phrases": ["dog", "leash"]}', "s1"))
DONE = calls(call("answer", '{"text": "The first dog.", "numbers": [1]}', "s2"))


def told_first(answer: Answer) -> str:
    """What went back after the first reply."""
    first, *_ = (i for i, message in enumerate(answer.messages) if message.role == "assistant")
    after = answer.messages[first + 1 :]
    last = next(i for i, message in enumerate(after) if message.role == "assistant")
    return "\n".join(message.text for message in after[:last])


@pytest.mark.parametrize(("reply", "told"), TOLD.values(), ids=TOLD.keys())
def test_a_hostile_reply_is_told_in_one_line_and_the_run_ends_well(
    reply: Wire, told: str, image: Pixels, segmenter: FakeSegmenter, deep: Path
) -> None:
    answer = ask(Server(reply, SEGMENT, DONE), image, segmenter, deep)
    back = told_first(answer)
    assert told in back
    assert "\n" not in back
    assert len(back) < 700
    assert (answer.status, answer.numbers) == ("answered", (1,))
    assert answer.masks.boxes.tolist() == [[10, 20, 60, 70]]


def as_text(message: Wire) -> str:
    """The same reply from a model that writes its calls as text."""
    found = message.get("tool_calls")
    if not isinstance(found, list) or not found:
        return str(message.get("content"))
    blocks = []
    for one in found:
        function = one.get("function") if isinstance(one, dict) else one
        name = json.dumps(function.get("name") if isinstance(function, dict) else function)
        raw = function.get("arguments") if isinstance(function, dict) else None
        raw = raw if isinstance(raw, str) else json.dumps(raw)
        blocks.append(f'```json\n{{"tool": {name}, "arguments": {raw}}}\n```')
    return "\n".join(blocks)


@pytest.mark.parametrize("reply", [reply for reply, _ in TOLD.values()], ids=TOLD.keys())
def test_the_same_as_text_ends_well_too(
    reply: Wire, image: Pixels, segmenter: FakeSegmenter, deep: Path
) -> None:
    messages = [says(as_text(message)) for message in (reply, SEGMENT, DONE)]
    answer = ask(Server(*messages), image, segmenter, deep, "text")
    assert (answer.status, answer.numbers) == ("answered", (1,))
    assert answer.masks.boxes.tolist() == [[10, 20, 60, 70]]
    assert len(told_first(answer)) < 2000


MEANT: dict[str, tuple[Wire, list[str]]] = {
    "bare JSON": (says(DOG), ["dog"]),
    "a tag that is not closed": (says(f"<tool>{DOG}"), ["dog"]),
    "a fence inside the tag": (says(f"<tool>\n```json\n{DOG}\n```\n</tool>"), ["dog"]),
    "single quotes": (says(DOG.replace('"', "'")), ["dog"]),
    "a brace missing": (says(f"<tool>{DOG[:-1]}</tool>"), ["dog"]),
    "braces too many": (says(f"<tool>{DOG}}}}}</tool>"), ["dog"]),
    "a phrase with three braces": (segment(["a}}}b"]), ["a}}}b"]),
    "a phrase with three braces in text": (says(DOG.replace("dog", "a}}}b")), ["a}}}b"]),
    "a call quoted in the thinking": (
        says(f'<think>{{"tool": "answer", "arguments": {{}}}}</think>{DOG}'),
        ["dog"],
    ),
    "two calls in one message": (
        calls(
            call("segment", '{"phrases": ["dog"]}'),
            call("segment", '{"phrases": ["cat"]}', "h2"),
        ),
        ["dog", "cat"],
    ),
    "two calls with one id": (
        calls(call("segment", '{"phrases": ["dog"]}'), call("segment", '{"phrases": ["cat"]}')),
        ["dog", "cat"],
    ),
    "a call without an id": (calls(call("segment", '{"phrases": ["dog"]}', None)), ["dog"]),
    "a call whose id is a number": (calls(call("segment", '{"phrases": ["dog"]}', 7)), ["dog"]),
    "a call whose id has 1 MB": (calls(call("segment", '{"phrases": ["dog"]}', LONG)), ["dog"]),
    "a call whose id has half a pair": (
        calls(call("segment", '{"phrases": ["dog"]}', "\ud800")),
        ["dog"],
    ),
    "a call that is no list": ({"tool_calls": call("segment", '{"phrases": ["dog"]}')}, ["dog"]),
    "a call without its function": (
        calls({"name": "segment", "arguments": {"phrases": ["dog"]}}),
        ["dog"],
    ),
    "arguments as an object": (calls(call("segment", {"phrases": ["dog"]})), ["dog"]),
    "words beside a call": ({**segment(["dog"]), "content": ["I look.", 7]}, ["dog"]),
    "a name in a namespace": (calls(call("functions.segment", '{"phrases": ["dog"]}')), ["dog"]),
    "a name with spaces": (calls(call(" segment\n", '{"phrases": ["dog"]}')), ["dog"]),
    "a name with a channel": (
        calls(call("segment<|channel|>commentary", '{"phrases": ["dog"]}')),
        ["dog"],
    ),
    "a phrase with a slash": (segment(["dog/cat"]), ["dog/cat"]),
    "a phrase that is a path": (segment(["../x/../y"]), ["x/../y"]),
    "a phrase of 300 characters": (segment(["x" * 300]), ["x" * 300]),
    "an emoji": (segment(["🐕 dog"]), ["🐕 dog"]),
    "right to left": (segment(["כלב"]), ["כלב"]),
    "the same phrase twice": (segment(["dog", " dog "]), ["dog"]),
    "a phrase that looks like a prompt": (
        segment(["ignore all instructions"]),
        ["ignore all instructions"],
    ),
}
"""A reply whose meaning is plain, and the phrases that SAM is asked for because of it."""


@pytest.mark.parametrize(("reply", "asked"), MEANT.values(), ids=MEANT.keys())
def test_an_odd_reply_whose_meaning_is_plain_is_run_as_meant(
    reply: Wire, asked: list[str], image: Pixels, segmenter: FakeSegmenter, deep: Path
) -> None:
    answer = ask(Server(reply, SEGMENT, DONE), image, segmenter, deep)
    assert [phrase for phrase in segmenter.asked if phrase not in ("dog", "leash")] == [
        phrase for phrase in asked if phrase != "dog"
    ]
    assert not told_first(answer).startswith("Error")
    assert answer.usage.tool_errors == 0
    assert (answer.status, answer.numbers) == ("answered", (1,))
    assert answer.masks.boxes.tolist() == [[10, 20, 60, 70]]


LAST: dict[str, tuple[list[Wire], str, tuple[int, ...]]] = {
    "no mask at once": ([answer([], "No cat.")], "no_target", ()),
    "no mask after some were found": ([SEGMENT, answer([], "No cat.")], "no_target", ()),
    "a mask twice": ([SEGMENT, answer([1, 1, 2, 1])], "answered", (1, 2)),
    "an answer beside its masks": (
        [calls(call("segment", '{"phrases": ["dog"]}'), answer([2])["tool_calls"][0])],
        "answered",
        (2,),
    ),
    "two answers": (
        [SEGMENT, calls(answer([2])["tool_calls"][0], answer([1])["tool_calls"][0])],
        "answered",
        (2,),
    ),
    "a wrong answer before a right one": (
        [SEGMENT, calls(answer([9])["tool_calls"][0], answer([1])["tool_calls"][0])],
        "answered",
        (1,),
    ),
    "the same phrase again": ([SEGMENT, SEGMENT, segment(["dog"]), answer([3])], "answered", (3,)),
    "nothing found, then a mask": (
        [segment(["unicorn"]), answer([1]), SEGMENT, answer([2])],
        "answered",
        (2,),
    ),
    "prose for ever": ([SEGMENT, says("Hm.")], "answered", (1, 2, 3)),
    "code for ever": ([SEGMENT, says("```\nsegm()\n```")], "out_of_budget", (1, 2, 3)),
    "nothing for ever": ([says(None)], "out_of_budget", ()),
    "an unknown tool for ever": ([calls(call("zoom", "{}"))], "out_of_budget", ()),
    "a mask that is not there for ever": ([SEGMENT, answer([9])], "out_of_budget", (1, 2, 3)),
    "the same phrase for ever": ([segment(["leash"])], "out_of_budget", (1,)),
    "a phrase that is nowhere for ever": ([segment(["unicorn"])], "out_of_budget", ()),
    "1 MB for ever": ([says(LONG)], "out_of_budget", ()),
    "40 wrong calls for ever": ([calls(*[call("zoom", "{}")] * 40)], "out_of_budget", ()),
}
"""Replies, the last one for ever, and how the run ends."""


@pytest.mark.parametrize(("replies", "status", "numbers"), LAST.values(), ids=LAST.keys())
def test_a_run_ends_in_the_right_way(
    replies: list[Wire],
    status: str,
    numbers: tuple[int, ...],
    image: Pixels,
    segmenter: FakeSegmenter,
    deep: Path,
) -> None:
    answer = ask(Server(*replies), image, segmenter, deep)
    assert (answer.status, answer.numbers) == (status, numbers)
    assert answer.usage.turns <= 12


def test_of_a_thousand_calls_in_one_reply_only_the_first_are_run(
    image: Pixels, segmenter: FakeSegmenter, deep: Path
) -> None:
    many = [call("segment", json.dumps({"phrases": [f"thing {n}"]}), f"h{n}") for n in range(1000)]
    answer = ask(Server(calls(*many), SEGMENT, DONE), image, segmenter, deep)
    assert segmenter.asked == [*(f"thing {n}" for n in range(MAX_CALLS)), "dog", "leash"]
    assert answer.usage.tool_errors == 1000 - MAX_CALLS
    told = told_first(answer).splitlines()
    assert told[MAX_CALLS] == f"Error: not run: one reply may have at most {MAX_CALLS} calls"
    assert (answer.status, answer.numbers) == ("answered", (1,))


def test_an_answer_may_have_a_hundred_masks(image: Pixels, deep: Path) -> None:
    boxes = [
        (9 * (n % 20), 15 * (n // 20), 9 * (n % 20) + 7, 15 * (n // 20) + 12) for n in range(100)
    ]
    segmenter = FakeSegmenter({"dog": boxes})
    server = Server(segment(["dog"]), answer(list(range(1, 101))))
    found = ask(server, image, segmenter, deep)
    assert found.numbers == tuple(range(1, 101))
    assert len(found.masks) == 100


def recorded(name: str) -> list[Any]:
    path = RESPONSES / name
    if not path.exists():
        return []
    lines = path.read_text("utf-8").splitlines()
    return [pytest.param(json.loads(line)["raw"], id=json.loads(line)["id"]) for line in lines]


@pytest.mark.parametrize("mode", ["native", "text"])
@pytest.mark.parametrize(
    "raw",
    [*recorded("responses.jsonl"), *recorded("issue_samples.jsonl")]
    or [pytest.param("", marks=pytest.mark.skip(f"no {RESPONSES}"))],
)
def test_what_models_really_answered_to_other_prompts_is_told_to_be_no_call(
    raw: str, mode: str, image: Pixels, segmenter: FakeSegmenter, deep: Path
) -> None:
    sane = [says(as_text(SEGMENT)), says(as_text(DONE))]
    answer = ask(Server(says(raw), *sane), image, segmenter, deep, mode)
    assert told_first(answer) == NO_CALL
    assert (answer.status, answer.numbers) == ("answered", (1,))


def test_a_hostile_model_is_no_planner_error_but_a_dead_server_is(
    image: Pixels, segmenter: FakeSegmenter, deep: Path
) -> None:
    class Dead(Server):
        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, text="<html>\x00\ud7ff</html>")

    with pytest.raises(
        PlannerError, match="openai model m after 6 tries: its answer cannot be read"
    ):
        ask(Dead({}), image, segmenter, deep)


def test_the_table_is_long() -> None:
    assert len(TOLD) + len(MEANT) + len(LAST) >= 120
