"""Replies that no well-behaved model gives: each is run as meant or refused, and none is fatal."""

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
from tests.hostile_replies import (
    DONE,
    ENDINGS,
    MEANT,
    REFUSED,
    SEGMENT,
    Wire,
    answer,
    call,
    calls,
    segment,
    words,
)

RESPONSES = SHARED / "data" / "mllm_responses"


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


def first_results(answer: Answer) -> str:
    """What went back after the first reply."""
    first, *_ = (i for i, message in enumerate(answer.messages) if message.role == "assistant")
    after = answer.messages[first + 1 :]
    last = next(i for i, message in enumerate(after) if message.role == "assistant")
    return "\n".join(message.text for message in after[:last])


@pytest.mark.parametrize(("reply", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_a_hostile_reply_is_refused_in_one_line_and_the_run_ends_well(
    reply: Wire, error: str, image: Pixels, segmenter: FakeSegmenter, deep: Path
) -> None:
    answer = ask(Server(reply, SEGMENT, DONE), image, segmenter, deep)
    back = first_results(answer)
    assert error in back
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


@pytest.mark.parametrize("reply", [reply for reply, _ in REFUSED.values()], ids=REFUSED.keys())
def test_the_same_as_text_ends_well_too(
    reply: Wire, image: Pixels, segmenter: FakeSegmenter, deep: Path
) -> None:
    messages = [words(as_text(message)) for message in (reply, SEGMENT, DONE)]
    answer = ask(Server(*messages), image, segmenter, deep, "text")
    assert (answer.status, answer.numbers) == ("answered", (1,))
    assert answer.masks.boxes.tolist() == [[10, 20, 60, 70]]
    assert len(first_results(answer)) < 2000


@pytest.mark.parametrize(("reply", "asked"), MEANT.values(), ids=MEANT.keys())
def test_an_odd_reply_whose_meaning_is_plain_is_run_as_meant(
    reply: Wire, asked: list[str], image: Pixels, segmenter: FakeSegmenter, deep: Path
) -> None:
    answer = ask(Server(reply, SEGMENT, DONE), image, segmenter, deep)
    assert [phrase for phrase in segmenter.asked if phrase not in ("dog", "leash")] == [
        phrase for phrase in asked if phrase != "dog"
    ]
    assert not first_results(answer).startswith("Error")
    assert answer.usage.tool_errors == 0
    assert (answer.status, answer.numbers) == ("answered", (1,))
    assert answer.masks.boxes.tolist() == [[10, 20, 60, 70]]


@pytest.mark.parametrize(("replies", "status", "numbers"), ENDINGS.values(), ids=ENDINGS.keys())
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
    results = first_results(answer).splitlines()
    assert results[MAX_CALLS] == f"Error: not run: one reply may have at most {MAX_CALLS} calls"
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
def test_replies_of_models_to_other_prompts_are_no_calls(
    raw: str, mode: str, image: Pixels, segmenter: FakeSegmenter, deep: Path
) -> None:
    sane = [words(as_text(SEGMENT)), words(as_text(DONE))]
    answer = ask(Server(words(raw), *sane), image, segmenter, deep, mode)
    assert first_results(answer) == NO_CALL
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
