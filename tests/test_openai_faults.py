"""The OpenAI planner against a mock transport: faults, waits, keys, answers that are none."""

import logging
import socket
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest

from sam3_agent import PlannerError
from sam3_agent.budget import deadline
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import ATTEMPTS
from sam3_agent.registry import tools
from tests.openai_fixtures import (
    ANSWER,
    KEY,
    QUESTION,
    USAGE,
    Server,
    fails,
    model_reply,
    planner,
)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_passing_fault_is_tried_again_with_growing_waits(status: int) -> None:
    server = Server(*[fails(status)] * (ATTEMPTS - 1), model_reply("hm", **USAGE))
    reply = planner(server).reply(QUESTION, tools())
    assert reply.text == "hm"
    assert (reply.spent.calls, reply.spent.retries) == (1, ATTEMPTS - 1)
    assert reply.spent.bytes == sum(len(request.content) for request in server.requests)
    for number, wait in enumerate(server.waits):
        assert 0.75 * 0.5 * 2**number <= wait <= 1.25 * 0.5 * 2**number


def test_a_fault_that_stays_ends_after_six_tries_and_names_the_model_and_what_to_do() -> None:
    server = Server(*[fails(503, "overloaded")] * 9)
    with pytest.raises(PlannerError) as caught:
        planner(server).reply(QUESTION, tools())
    assert (len(server.requests), len(server.waits), caught.value.tries) == (6, 5, 6)
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
    server = Server(fails(429, headers=headers), ANSWER)
    planner(server).reply(QUESTION, tools())
    assert server.waits == [wait]


def test_a_date_to_wait_for_is_kept() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    server = Server(fails(503, headers={"Retry-After": date}), ANSWER)
    planner(server).reply(QUESTION, tools())
    assert 80 < server.waits[0] <= 90


@pytest.mark.parametrize("value", ["soon", "", "-5", "NaN", "1e3", "Wed, 99 Foo 2015"])
def test_a_wait_that_cannot_be_read_is_our_own(value: str) -> None:
    server = Server(fails(429, headers={"Retry-After": value}), ANSWER)
    planner(server).reply(QUESTION, tools())
    assert 0.3 < server.waits[0] < 0.7


@pytest.mark.parametrize("seconds", ["601", "9" * 400])
def test_too_long_a_wait_is_an_error_and_nothing_is_sent(seconds: str) -> None:
    server = Server(fails(429, "slow down", {"Retry-After": seconds}), ANSWER)
    with pytest.raises(PlannerError, match=r"asks to wait .* longer than 600 s"):
        planner(server).reply(QUESTION, tools())
    assert (len(server.requests), server.waits) == (1, [])


def before_deadline(seconds: float, work: Callable[[], Any]) -> Any:
    limit = deadline.set(time.monotonic() + seconds)
    try:
        return work()
    finally:
        deadline.reset(limit)


def test_a_wait_past_the_time_of_the_question_is_an_error_and_nothing_is_sent() -> None:
    server = Server(fails(429, "slow down", {"Retry-After": "60"}), ANSWER)
    model = planner(server)
    with pytest.raises(
        PlannerError, match="no time is left to wait 60 s: openai model gpt-test answered 429"
    ):
        before_deadline(30, lambda: model.reply(QUESTION, tools()))
    assert (len(server.requests), server.waits) == (1, [])


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
    server = Server(answer)
    with pytest.raises(PlannerError, match=f"openai model gpt-test .*{expected}") as caught:
        planner(server).reply(QUESTION, tools())
    assert (len(server.requests), server.waits) == (1, [])
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
    with pytest.raises(PlannerError, match="set OPENAI_API_KEY, or OPENAI_BASE_URL"):
        OpenAIPlanner("gpt-test")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://stub/v1")
    server = Server(ANSWER)
    client = httpx2.Client(transport=httpx2.MockTransport(server))
    OpenAIPlanner("gpt-test", http_client=client).reply(QUESTION, tools())
    assert str(server.requests[0].url) == "http://stub/v1/chat/completions"
