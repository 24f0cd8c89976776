"""The OpenAI planner against a mock transport: what is sent, what is read, and what goes wrong."""

import base64
import io
import json
import logging
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from sam3_agent import Agent, Answer, Message, PlannerError, TokenUsage
from sam3_agent.budget import deadline
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.openai_chat import OpenAIPlanner, Profile
from sam3_agent.model.providers.pricing import PRICES, Price
from sam3_agent.model.providers.retries import ATTEMPTS, Retrier
from sam3_agent.model.scripted_planner import calling
from sam3_agent.registry import system_prompt, tools

KEY = "sk-proj-abcdef1234567890"
QUESTION = [Message("system", "You ground."), Message("user", "which dog?")]

Answering = Callable[[httpx2.Request], httpx2.Response]


class Server:
    """A mock transport: each request gets the next answer; an exception is raised."""

    def __init__(self, *answers: httpx2.Response | Exception | Answering) -> None:
        self._answers = iter(answers)
        self.requests: list[httpx2.Request] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else answer(request)


def planner(
    server: Server, *, model: str = "gpt-test", waits: list[float] | None = None, **options: Any
) -> OpenAIPlanner:
    """The planner whose requests go to `server`; it never sleeps, and notes the waits instead."""
    retrier = Retrier("openai", model, sleep=(waits if waits is not None else []).append)
    options = {"api_key": KEY, "base_url": "http://stub/v1", "retrier": retrier, **options}
    client = httpx2.Client(transport=httpx2.MockTransport(server))
    return OpenAIPlanner(model, http_client=client, **options)


def model_reply(
    text: str | None = None, *calls: tuple[str, str, Any], **usage: Any
) -> httpx2.Response:
    """A reply of the model; a call is (id, name, arguments)."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(args)},
            }
            for call_id, name, args in calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return httpx2.Response(200, json={"id": "x", "choices": [choice], "usage": usage})


def fails(
    status: int, words: str = "no", headers: dict[str, str] | None = None, **more: Any
) -> httpx2.Response:
    body = {"error": {"message": words, "type": "stub", "code": None, "param": None, **more}}
    return httpx2.Response(status, json=body, headers=headers)


SEGMENT = model_reply(None, ("c1", "segment", {"phrases": ["dog", "leash"]}))
ANSWER = model_reply(None, ("c2", "answer", {"text": "The first dog.", "numbers": [1]}))


def ask(server: Server, image: Pixels, segmenter: FakeSegmenter, **options: Any) -> Answer:
    return Agent(planner(server, **options), segmenter, verifier="none").ask(image, "which dog?")


def picture_of(part: dict[str, Any]) -> Pixels:
    """The (H, W, 3) picture in an image part of a message."""
    assert part["type"] == "image_url"
    head, data = part["image_url"]["url"].split(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


IMAGE, MARKED = "picture 200x100", "picture 768x384"
"""The image and the one with masks, which is enlarged so that its numbers can be read."""


def shapes_for_pictures(value: Any) -> Any:
    """A body with every picture replaced by its size."""
    if isinstance(value, dict):
        if value.get("type") == "image_url":
            height, width, _ = picture_of(value).shape
            return f"picture {width}x{height}"
        return {name: shapes_for_pictures(one) for name, one in value.items()}
    return [shapes_for_pictures(one) for one in value] if isinstance(value, list) else value


def declared() -> list[dict[str, Any]]:
    """The tools as chat.completions wants them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in tools()
    ]


def wire_call(call_id: str, name: str, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": call_id, "type": "function", "function": function}


def test_the_first_two_requests_are_exactly_these(image: Pixels, segmenter: FakeSegmenter) -> None:
    server = Server(SEGMENT, ANSWER)
    answer = ask(server, image, segmenter)
    assert answer.numbers == (1,)
    assert '"dog": masks 1, 2' in answer.messages[3].text
    for request in server.requests:
        assert (request.method, str(request.url)) == ("POST", "http://stub/v1/chat/completions")
        assert request.headers["authorization"] == f"Bearer {KEY}"
    system = {"role": "system", "content": system_prompt()}
    user = {
        "role": "user",
        "content": [{"type": "text", "text": "which dog?"}, IMAGE],
    }
    first = {
        "model": "gpt-test",
        "messages": [system, user],
        "tools": declared(),
    }
    called = [wire_call("c1", "segment", {"phrases": ["dog", "leash"]})]
    seen = [{"type": "text", "text": "Picture for c1:"}, MARKED]
    second = {
        **first,
        "messages": [
            system,
            user,
            {"role": "assistant", "content": "", "tool_calls": called},
            {"role": "tool", "tool_call_id": "c1", "content": answer.messages[3].text},
            {"role": "user", "content": seen},
        ],
    }
    assert [shapes_for_pictures(body) for body in server.bodies] == [first, second]


def test_the_pictures_are_the_image_and_the_masks_drawn_on_it(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    server = Server(SEGMENT, ANSWER)
    ask(server, image, segmenter)
    original, marked = server.bodies[1]["messages"][1], server.bodies[1]["messages"][4]
    assert np.abs(picture_of(original["content"][1]).astype(int) - image).max() <= 2
    drawn = np.abs(picture_of(marked["content"][1]).astype(int) - 128).max(axis=2) > 25
    assert drawn.shape == (384, 768)
    assert drawn[77:269, 39:230].any(axis=0).all()  # hatched over its whole width
    assert drawn[77:269, 39:230].any(axis=1).all()
    assert not drawn[300:].any()


def test_a_large_image_is_sent_small_and_the_masks_have_its_own_size() -> None:
    photo = np.random.default_rng(0).integers(0, 255, (1500, 3136, 3), np.uint8)
    server = Server(SEGMENT, ANSWER)
    answer = ask(server, photo, FakeSegmenter({"dog": [(0, 0, 3000, 1400)]}))
    assert picture_of(server.bodies[0]["messages"][1]["content"][1]).shape == (750, 1568, 3)
    assert answer.masks.dense().shape == (1, 1500, 3136)
    server = Server(ANSWER)
    planner(server, max_side=500).reply([Message("user", "?", (photo,))], tools())
    assert picture_of(server.bodies[0]["messages"][0]["content"][1]).shape == (239, 500, 3)


def test_several_calls_in_one_turn_are_answered_by_their_ids_and_pictures_follow_the_last(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    both = model_reply(
        "Looking.", ("a", "segment", {"phrases": ["dog"]}), ("b", "segment", {"phrases": ["leash"]})
    )
    server = Server(both, ANSWER)
    ask(server, image, segmenter)
    reply, first, second, seen = shapes_for_pictures(server.bodies[1]["messages"][2:])
    assert reply["content"] == "Looking."
    assert [call["id"] for call in reply["tool_calls"]] == ["a", "b"]
    assert [(one["role"], one["tool_call_id"]) for one in (first, second)] == [
        ("tool", "a"),
        ("tool", "b"),
    ]
    assert seen["content"] == [
        {"type": "text", "text": "Picture for a:"},
        MARKED,
        {"type": "text", "text": "Picture for b:"},
        MARKED,
    ]


def test_ids_that_are_missing_or_come_again_are_made_unique() -> None:
    calls = [wire_call("c1", "segment", {}), wire_call("c1", "segment", {}), {"function": {}}]
    choice = {"message": {"tool_calls": calls}}
    reply = planner(Server(httpx2.Response(200, json={"choices": [choice]}))).reply(
        [*QUESTION, calling(("segment", {})), Message("tool", "x", tool_call_id="call_1")], tools()
    )
    ids = [call.id for call in reply.tool_calls]
    assert ids[0] == "c1"
    assert len({*ids, "call_1"}) == 4


def test_only_the_latest_pictures_are_sent_and_older_ones_become_words(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    looks = [model_reply(None, (f"c{n}", "segment", {"phrases": ["dog"]})) for n in range(4)]
    server = Server(*looks, ANSWER)
    answer = ask(server, image, segmenter)
    sent = json.dumps(shapes_for_pictures(server.bodies[4]["messages"]))
    assert (sent.count(IMAGE), sent.count(MARKED)) == (1, 2)
    assert sent.count("no longer shown") == 2
    assert answer.usage.spent.images == 1 + 2 + 3 + 3 + 3


def test_options_are_sent_only_when_given() -> None:
    server = Server(ANSWER, ANSWER)
    planner(server).reply(QUESTION, tools())
    assert set(server.bodies[0]) == {"model", "messages", "tools"}
    options: dict[str, Any] = {"max_output_tokens": 50, "temperature": 0, "reasoning_effort": "low"}
    planner(server, **options).reply(QUESTION, tools())
    more = {"max_completion_tokens": 50, "temperature": 0, "reasoning_effort": "low"}
    assert server.bodies[1] == {**server.bodies[0], **more}


USAGE: dict[str, Any] = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 150},
}


@pytest.mark.parametrize(
    ("model", "price", "cost"),
    [
        ("gpt-5.4", None, (600 * 2.5 + 400 * 0.25 + 200 * 15) / 1e6),
        ("mine", Price(1, 0.5, 2), (600 * 1 + 400 * 0.5 + 200 * 2) / 1e6),
        ("mine", (1, 0.5, 2), (600 * 1 + 400 * 0.5 + 200 * 2) / 1e6),
        ("mine", None, None),
    ],
)
def test_tokens_bytes_and_the_cost_are_told(model: str, price: Any, cost: float | None) -> None:
    server = Server(model_reply("hm", **USAGE))
    spent = planner(server, model=model, price=price).reply(QUESTION, tools()).spent
    assert spent.cost == (None if cost is None else pytest.approx(cost))
    assert replace(spent, cost=None) == TokenUsage(
        calls=1,
        input_tokens=1000,
        cached_tokens=400,
        output_tokens=200,
        reasoning_tokens=150,
        bytes=len(server.requests[0].content),
        cost=None,
    )


@pytest.mark.parametrize(
    "usage",
    [
        *(None, [], "many", {"prompt_tokens": "7"}, {"prompt_tokens": 10**400}),
        *({"prompt_tokens": -1, "completion_tokens": True}, {"prompt_tokens": 1.5}),
        {"prompt_tokens": 0, "prompt_tokens_details": 3},
    ],
)
def test_a_usage_that_makes_no_sense_counts_nothing_and_the_cost_is_unknown(usage: Any) -> None:
    body = {"choices": [{"message": {"content": "hm"}}], "usage": usage}
    spent = (
        planner(Server(httpx2.Response(200, json=body)), model="gpt-5.4").reply(QUESTION, ()).spent
    )
    assert (spent.calls, spent.input_tokens, spent.output_tokens, spent.cost) == (1, 0, 0, None)


def test_every_price_is_in_order() -> None:
    for model, price in PRICES.items():
        assert 0 < price.cached < price.input < price.output, model


# Servers that want to be spoken to in another way

NO_TOOLS = [
    (400, "registry.ollama.ai/library/llava:7b does not support tools"),
    (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    (404, "No endpoints found that support tool use."),
    (500, "tools param requires --jinja flag"),
    (400, "Function calling is not enabled for this model"),
]


@pytest.mark.parametrize(("status", "words"), NO_TOOLS)
def test_a_server_without_tools_is_asked_for_text_from_then_on_and_it_is_said_once(
    image: Pixels,
    segmenter: FakeSegmenter,
    caplog: pytest.LogCaptureFixture,
    status: int,
    words: str,
) -> None:
    written = '```json\n{"tool": "segment", "arguments": {"phrases": ["dog"]}}\n```'
    done = 'So:\n{"tool": "answer", "arguments": {"text": "It is here.", "numbers": [2]}}'
    server = Server(fails(status, words), model_reply(written), model_reply(done))
    with caplog.at_level(logging.WARNING, "sam3_agent"):
        answer = ask(server, image, segmenter)
    assert answer.numbers == (2,)
    assert (answer.usage.spent.calls, answer.usage.spent.retries) == (2, 1)
    assert ["tools" in body for body in server.bodies] == [True, False, False]
    assert [record.message for record in caplog.records] == [
        "openai:gpt-test has no native tool calls: they are now asked for as text"
    ]
    system, _, reply, result = server.bodies[2]["messages"]
    assert "Call a tool by writing one JSON object" in system["content"]
    assert reply == {"role": "assistant", "content": written}
    assert result["role"] == "user"
    assert result["content"][0]["text"].startswith('Result of segment:\n"dog": masks 1, 2')
    assert picture_of(result["content"][-1]).shape == (384, 768, 3)


def test_text_calls_may_be_asked_for_from_the_start() -> None:
    server = Server(model_reply("hm"))
    planner(server, tool_calls="text").reply(QUESTION, tools())
    assert set(server.bodies[0]) == {"model", "messages"}


@pytest.mark.parametrize(
    "words",
    [
        "Unexpected role 'user' after role 'tool'",
        "Conversation roles must alternate user/assistant/user/assistant/...",
    ],
)
def test_a_server_that_refuses_the_roles_gets_one_message_with_everything(
    image: Pixels, segmenter: FakeSegmenter, words: str
) -> None:
    server = Server(SEGMENT, fails(400, words), ANSWER)
    answer = ask(server, image, segmenter)
    assert answer.numbers == (1,)
    system, user = shapes_for_pictures(server.bodies[2]["messages"])
    assert (system["role"], user["role"]) == ("system", "user")
    text, *pictures = user["content"]
    called = 'You called segment({"phrases": ["dog", "leash"]})'
    assert text["text"] == f"which dog?\n{called}\nResult: {answer.messages[3].text}"
    assert pictures == [IMAGE, MARKED]
    assert server.bodies[2]["tools"] == server.bodies[0]["tools"]


@pytest.mark.parametrize(
    ("refused", "words", "sent"),
    [
        (
            "max_completion_tokens",
            "Unrecognized request argument supplied: max_completion_tokens",
            {"max_tokens": 9, "temperature": 0.5},
        ),
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            {"max_completion_tokens": 9, "temperature": 0.5},
        ),
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0.5 with this model.",
            {"max_completion_tokens": 9},
        ),
    ],
)
def test_a_parameter_that_is_refused_is_left_out_or_renamed_from_then_on(
    refused: str, words: str, sent: dict[str, Any]
) -> None:
    server = Server(fails(400, words), ANSWER, ANSWER)
    profile = Profile(limit_name="max_tokens") if refused == "max_tokens" else None
    model = planner(server, max_output_tokens=9, temperature=0.5, profile=profile)
    for _ in range(2):
        model.reply(QUESTION, ())
    first, *later = server.bodies
    assert refused in first
    for body in later:
        assert {k: v for k, v in body.items() if k not in ("model", "messages")} == sent


def test_the_same_refusal_again_is_an_error_and_no_loop() -> None:
    server = Server(*[fails(400, "Unsupported: max_completion_tokens, max_tokens")] * 9)
    with pytest.raises(PlannerError, match="answered 400"):
        planner(server, max_output_tokens=9).reply(QUESTION, ())
    assert len(server.requests) <= 3


TOO_LONG = [
    (400, "This model's maximum context length is 8192 tokens. However, your messages ..."),
    (400, "the request exceeds the available context size, try increasing it"),
    (413, "Payload Too Large"),
    (500, "input is too long for requested model"),
]


@pytest.mark.parametrize(("status", "words"), TOO_LONG)
def test_a_context_that_is_too_long_is_sent_again_once_without_older_pictures(
    image: Pixels, segmenter: FakeSegmenter, status: int, words: str
) -> None:
    server = Server(SEGMENT, fails(status, words), ANSWER)
    assert ask(server, image, segmenter).numbers == (1,)
    before, after = (json.dumps(shapes_for_pictures(body)) for body in server.bodies[1:])
    assert [body.count(IMAGE) + body.count(MARKED) for body in (before, after)] == [2, 1]
    assert "(1 picture of this step no longer shown)" in after

    server = Server(SEGMENT, fails(status, words), fails(status, words))
    with pytest.raises(PlannerError, match=f"gpt-test answered {status}"):
        ask(server, image, segmenter)
    assert len(server.requests) == 3


# Failures


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_passing_fault_is_tried_again_with_growing_waits(status: int) -> None:
    waits: list[float] = []
    server = Server(*[fails(status)] * (ATTEMPTS - 1), model_reply("hm", **USAGE))
    reply = planner(server, waits=waits).reply(QUESTION, tools())
    assert reply.text == "hm"
    assert (reply.spent.calls, reply.spent.retries) == (1, ATTEMPTS - 1)
    assert reply.spent.bytes == sum(len(request.content) for request in server.requests)
    for number, wait in enumerate(waits):
        assert 0.75 * 0.5 * 2**number <= wait <= 1.25 * 0.5 * 2**number


def test_a_fault_that_stays_ends_after_six_tries_and_names_the_model_and_what_to_do() -> None:
    waits: list[float] = []
    server = Server(*[fails(503, "overloaded")] * 9)
    with pytest.raises(PlannerError) as caught:
        planner(server, waits=waits).reply(QUESTION, tools())
    assert (len(server.requests), len(waits), caught.value.tries) == (6, 5, 6)
    assert (
        str(caught.value) == "openai model gpt-test answered 503 after 6 tries: overloaded. "
        "Try again later"
    )
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "300"}, 300),
        ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_the_wait_that_a_server_asks_for_is_kept(headers: dict[str, str], wait: float) -> None:
    waits: list[float] = []
    server = Server(fails(429, headers=headers), ANSWER)
    planner(server, waits=waits).reply(QUESTION, tools())
    assert waits == [wait]


def test_a_date_to_wait_for_is_kept() -> None:
    waits: list[float] = []
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    server = Server(fails(503, headers={"Retry-After": date}), ANSWER)
    planner(server, waits=waits).reply(QUESTION, tools())
    assert 80 < waits[0] <= 90


@pytest.mark.parametrize("value", ["soon", "", "-5", "NaN", "1e3", "Wed, 99 Foo 2015"])
def test_a_wait_that_cannot_be_read_is_our_own(value: str) -> None:
    waits: list[float] = []
    server = Server(fails(429, headers={"Retry-After": value}), ANSWER)
    planner(server, waits=waits).reply(QUESTION, tools())
    assert 0.3 < waits[0] < 0.7


@pytest.mark.parametrize("seconds", ["601", "9" * 400])
def test_too_long_a_wait_is_an_error_and_nothing_is_sent(seconds: str) -> None:
    waits: list[float] = []
    server = Server(fails(429, "slow down", {"Retry-After": seconds}), ANSWER)
    with pytest.raises(PlannerError, match=r"asks to wait .* longer than 600 s"):
        planner(server, waits=waits).reply(QUESTION, tools())
    assert (len(server.requests), waits) == (1, [])


def before_deadline(seconds: float, work: Callable[[], Any]) -> Any:
    limit = deadline.set(time.monotonic() + seconds)
    try:
        return work()
    finally:
        deadline.reset(limit)


def test_a_wait_past_the_time_of_the_question_is_an_error_and_nothing_is_sent() -> None:
    waits: list[float] = []
    server = Server(fails(429, "slow down", {"Retry-After": "60"}), ANSWER)
    model = planner(server, waits=waits)
    with pytest.raises(
        PlannerError, match="no time is left to wait 60 s: openai model gpt-test answered 429"
    ):
        before_deadline(30, lambda: model.reply(QUESTION, tools()))
    assert (len(server.requests), waits) == (1, [])


def test_nothing_is_sent_when_the_time_of_the_question_is_over() -> None:
    server = Server(ANSWER)
    with pytest.raises(PlannerError, match="time of this question is over"):
        before_deadline(-1, lambda: planner(server).reply(QUESTION, tools()))
    assert server.requests == []


def test_a_request_may_take_no_longer_than_the_question() -> None:
    server = Server(ANSWER, ANSWER)
    model = planner(server, timeout=200)
    before_deadline(30, lambda: model.reply(QUESTION, tools()))
    model.reply(QUESTION, tools())
    limits = [request.extensions["timeout"]["read"] for request in server.requests]
    assert 25 < limits[0] <= 30
    assert limits[1] == 200


CONNECTION_FAULTS: dict[str, tuple[Exception, str]] = {
    "a timeout": (httpx2.ReadTimeout("slow"), "no answer in time"),
    "a timeout on connecting": (httpx2.ConnectTimeout("slow"), "no answer in time"),
    "a connection refused": (
        httpx2.ConnectError("refused"),
        "cannot reach http://stub/v1/: refused",
    ),
    "a connection reset": (httpx2.ReadError("reset by peer"), "cannot reach .*reset by peer"),
    "a body cut off": (httpx2.RemoteProtocolError("peer closed"), "cannot reach .*peer closed"),
}


@pytest.mark.parametrize(
    ("error", "expected"), CONNECTION_FAULTS.values(), ids=CONNECTION_FAULTS.keys()
)
def test_a_lost_connection_is_tried_again(error: Exception, expected: str) -> None:
    server = Server(error, error, ANSWER)
    assert planner(server).reply(QUESTION, tools()).spent.retries == 2
    with pytest.raises(PlannerError, match=f"openai model gpt-test after 6 tries: {expected}"):
        planner(Server(*[error] * 6)).reply(QUESTION, tools())


def test_a_name_that_is_not_found_is_an_error_at_once() -> None:
    def unknown(request: httpx2.Request) -> httpx2.Response:
        try:
            raise socket.gaierror(-2, "Name or service not known")
        except socket.gaierror as error:
            raise httpx2.ConnectError("no") from error

    server = Server(unknown)
    with pytest.raises(
        PlannerError, match=r"cannot reach .*not known.*Check the network and OPENAI"
    ):
        planner(server).reply(QUESTION, tools())
    assert len(server.requests) == 1


def body(
    content: str | bytes, kind: str = "application/json", status: int = 200
) -> httpx2.Response:
    return httpx2.Response(status, content=content, headers={"Content-Type": kind})


UNREADABLE = {
    "truncated JSON": body('{"choices": [{"message": {"content": "a'),
    "HTML": body("<html><body>It works!</body></html>", "text/html"),
    "HTML called JSON": body("<html></html>"),
    "an empty body": body(b""),
    "null": body("null"),
    "a list": body("[]"),
    "a string": body('"choices"'),
    "no choices": body("{}"),
    "choices null": body('{"choices": null}'),
    "no choice": body('{"choices": []}'),
    "choices as an object": body('{"choices": {"message": {}}}'),
    "a choice that is null": body('{"choices": [null]}'),
    "a choice without a message": body('{"choices": [{"finish_reason": "stop"}]}'),
    "a message that is null": body('{"choices": [{"message": null}]}'),
    "a message that is text": body('{"choices": [{"message": "hello"}]}'),
    "an error with status 200": body('{"error": {"message": "upstream died", "code": 502}}'),
    "no UTF-8": body(b'{"choices": [{"message": {"content": "\xff\xfe"'),
    "endless nesting": body('{"choices": ' + "[" * 100_000),
    "endless digits": body('{"choices": ' + "9" * 5000 + "}"),
    "a broken gzip": httpx2.Response(200, content=b"", headers={"Content-Type": "text/plain"}),
}


@pytest.mark.parametrize("broken", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_answer_that_cannot_be_read_is_tried_again_and_then_an_error(
    broken: httpx2.Response,
) -> None:
    assert planner(Server(broken, ANSWER)).reply(QUESTION, tools()).tool_calls
    server = Server(*[broken] * 9)
    with pytest.raises(PlannerError) as caught:
        planner(server).reply(QUESTION, tools())
    assert len(server.requests) == 6
    assert "its answer cannot be read" in str(caught.value)
    assert "OPENAI_BASE_URL" in str(caught.value)
    assert len(str(caught.value)) < 700


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a refusal": (
        {"message": {"content": None, "refusal": "I can't help with that."}},
        "it refused to answer: I can't help with that",
    ),
    "a content filter": (
        {"message": {"content": "The"}, "finish_reason": "content_filter"},
        "its content filter stopped the answer",
    ),
}


@pytest.mark.parametrize(("choice", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_a_model_that_refuses_to_answer_is_not_asked_again(
    choice: dict[str, Any], expected: str
) -> None:
    server = Server(httpx2.Response(200, json={"choices": [choice]}))
    with pytest.raises(PlannerError, match=expected):
        planner(server).reply(QUESTION, tools())


FINAL: dict[str, tuple[httpx2.Response, str]] = {
    "a wrong key": (fails(401, "Incorrect API key provided"), "401: .* Check OPENAI_API_KEY"),
    "no credit": (fails(402, "pay"), "402: pay. Check the account's credit"),
    "not allowed": (fails(403, "country"), "answered 403: country"),
    "an unknown model": (
        fails(404, "The model `gpt-test` does not exist"),
        "404: The model `gpt-test` does not exist. Check the model's name",
    ),
    "a request it does not like": (fails(400, "bad image"), "answered 400: bad image"),
    "no quota": (
        fails(429, "You exceeded your current quota", code="insufficient_quota"),
        "429: You exceeded your current quota. The account has no credit left",
    ),
    "an error without JSON": (body("<h1>Not Found</h1>", "text/html", 404), "404: .*Not Found"),
    "an error without a body": (body(b"", status=404), "answered 404"),
    "an error of another form": (body('{"detail": ["x"]}', status=422), "answered 422"),
    "an error that is a list": (body('[{"error": 1}]', status=422), "answered 422"),
    "an error whose message is none": (body('{"error": {"message": null}}', status=422), "422"),
}


@pytest.mark.parametrize(("answer", "expected"), FINAL.values(), ids=FINAL.keys())
def test_what_trying_again_cannot_mend_is_an_error_at_once(
    answer: httpx2.Response, expected: str
) -> None:
    waits: list[float] = []
    server = Server(answer)
    with pytest.raises(PlannerError, match=f"openai model gpt-test .*{expected}") as caught:
        planner(server, waits=waits).reply(QUESTION, tools())
    assert (len(server.requests), waits) == (1, [])
    assert "\n" not in str(caught.value)


ODD_KEY = "my.odd/key+17"


@pytest.mark.parametrize("key", [KEY, ODD_KEY])
@pytest.mark.parametrize("status", [401, 500])
def test_the_key_is_shown_nowhere(key: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    words = f"Incorrect API key provided: {key}. Authorization: Bearer {key}"
    server = Server(*[fails(status, words, param=key)] * 6)
    model = planner(server, api_key=key)
    with caplog.at_level(logging.DEBUG), pytest.raises(PlannerError) as caught:
        model.reply(QUESTION, tools())
    assert server.requests[0].headers["authorization"] == f"Bearer {key}"
    shown = [repr(model), str(caught.value), repr(caught.value), caplog.text]
    shown += traceback.format_exception(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        shown += [repr(error), repr(error.args), repr(getattr(error, "body", None))]
        shown.append(repr(getattr(error, "message", None)))
        error = error.__cause__ or error.__context__
    assert key not in "\n".join(shown)
    assert "***" in str(caught.value)


def test_a_password_in_the_address_is_not_shown() -> None:
    server = Server(*[httpx2.ConnectError("refused")] * 6)
    model = planner(server, base_url="http://me:secret@stub/v1")
    with pytest.raises(PlannerError, match=r"http://\*\*\*@stub/v1") as caught:
        model.reply(QUESTION, tools())
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_without_a_key_and_an_address_there_is_no_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PlannerError, match="set OPENAI_API_KEY, or OPENAI_BASE_URL"):
        OpenAIPlanner("gpt-test")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://stub/v1")
    server = Server(ANSWER)
    client = httpx2.Client(transport=httpx2.MockTransport(server))
    OpenAIPlanner("gpt-test", http_client=client).reply(QUESTION, tools())
    assert str(server.requests[0].url) == "http://stub/v1/chat/completions"


def test_two_limits_a_fault_and_a_broken_call_end_well_and_are_counted(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    waits: list[float] = []
    limited = fails(429, headers={"Retry-After": "2"})
    broken = httpx2.Response(
        200,
        json={
            "choices": [
                {
                    "message": {
                        "tool_calls": [
                            {"id": "c0", "function": {"name": "segment", "arguments": '{"phr'}}
                        ]
                    }
                }
            ],
            "usage": USAGE,
        },
    )
    server = Server(limited, limited, fails(500), broken, SEGMENT, ANSWER)
    answer = ask(server, image, segmenter, waits=waits, model="gpt-5.4")
    assert (answer.status, answer.numbers) == ("answered", (1,))
    usage = answer.to_dict()["usage"]
    assert waits[:2] == [2, 2]
    assert {name: usage[name] for name in ("turns", "calls", "retries", "tool_calls")} == {
        "turns": 3,
        "calls": 3,
        "retries": 3,
        "tool_calls": 3,
    }
    assert (usage["tool_errors"], usage["input_tokens"], usage["output_tokens"]) == (1, 1000, 200)
    assert usage["images"] == 3 + 1 + 1 + 2
    assert usage["bytes"] == sum(len(request.content) for request in server.requests)
    expected = server.bodies[4]["messages"][-1]["content"]
    assert expected.startswith("Error: the arguments of segment are not valid JSON")


def test_a_call_that_was_broken_is_sent_back_as_json_that_strict_servers_read() -> None:
    hostile: Sequence[tuple[str, str]] = [
        ("a b.c", '{"x'),
        ("", ""),
        ("x" * 90, "[1]"),
        ("segment", '{"phrases": [NaN]}'),
    ]
    server = Server(ANSWER)
    planner(server).reply([*QUESTION, calling(*hostile)], tools())
    functions = [call["function"] for call in server.bodies[0]["messages"][-1]["tool_calls"]]
    assert [function["name"] for function in functions] == ["a_b_c", "unknown", "x" * 64, "segment"]
    assert [json.loads(function["arguments"]) for function in functions] == [
        {"malformed": '{"x'},
        {},
        {"malformed": "[1]"},
        {"malformed": '{"phrases": [NaN]}'},
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "thinking"}, "b", None, 7], "a\nb"),
        ({"text": "a"}, "a"),
        (7, ""),
        (None, ""),
    ],
)
def test_the_words_of_a_reply_may_come_in_parts(content: Any, text: str) -> None:
    choice = {"message": {"content": content}}
    server = Server(httpx2.Response(200, json={"choices": [choice]}))
    assert planner(server).reply(QUESTION, tools()).text == text
