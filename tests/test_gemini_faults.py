"""The Gemini planner against a mock transport: answers that are none, faults, keys."""

import logging
import re
import socket
import sys
import time
import traceback
from typing import Any

import httpx2
import pytest

from sam3_agent import Agent, Budget, Message, PlannerError, registry
from sam3_agent.budget import deadline
from sam3_agent.errors import InputError
from sam3_agent.images import Pixels
from sam3_agent.loop import CUT, NO_CALL
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.gemini import GeminiPlanner
from tests.gemini_fixtures import (
    ANSWER,
    KEY,
    MODEL,
    NOTHING,
    SIGNATURE,
    TWO_CALLS,
    MockGemini,
    Step,
    call,
    candidate_body,
    conversation,
    refusal,
)


def test_an_empty_answer_is_asked_again_and_counted() -> None:
    empties = [candidate_body(reason=reason) for reason in ("STOP", None, "OTHER")]
    thought = candidate_body({"text": "Hm.", "thought": True}, {"text": " "})
    gemini = MockGemini(*empties, thought, ANSWER)
    reply = gemini.reply()
    assert [one.name for one in reply.tool_calls] == ["answer"]
    assert len({request.content for request in gemini.requests}) == 1
    assert (reply.spent.calls, reply.spent.retries) == (1, 4)
    assert reply.spent.input_tokens == 5000
    assert len(gemini.waits) == 4


def test_empty_answers_end_in_an_error_at_last() -> None:
    gemini = MockGemini(*[candidate_body()] * 6)
    with pytest.raises(PlannerError, match=r"after 6 tries: .*without words or calls") as caught:
        gemini.reply()
    assert caught.value.tries == 6


def test_a_malformed_call_goes_back_to_the_model_in_words(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    malformed = candidate_body(
        {"thoughtSignature": SIGNATURE},
        reason="MALFORMED_FUNCTION_CALL",
        finishMessage="Malformed function call: segment(phrases=[dog",
    )
    gemini = MockGemini(
        malformed, {"candidates": [{"finishReason": "MALFORMED_RESPONSE"}]}, NOTHING
    )
    answer = Agent(gemini.planner, segmenter, verifier="none").ask(image, "dogs")
    assert gemini.bodies[2]["contents"][1:] == [
        {"role": "model", "parts": [{"text": "MALFORMED_FUNCTION_CALL\nsegment(phrases=[dog"}]},
        {"role": "user", "parts": [{"text": NO_CALL}]},
        {"role": "model", "parts": [{"text": "MALFORMED_RESPONSE"}]},
        {"role": "user", "parts": [{"text": NO_CALL}]},
    ]
    assert answer.usage.spent.retries == 0


def test_a_malformed_call_that_can_be_read_is_run(image: Pixels, segmenter: FakeSegmenter) -> None:
    words = "Malformed function call: print(default_api.segment(phrases=['dog']))"
    gemini = MockGemini(
        candidate_body(reason="MALFORMED_FUNCTION_CALL", finishMessage=words), ANSWER
    )
    answer = Agent(gemini.planner, segmenter, verifier="none").ask(image, "dogs")
    assert (answer.status, len(answer.masks), segmenter.asked) == ("answered", 2, ["dog"])
    made, responded = gemini.bodies[1]["contents"][1:]
    assert made["parts"][1]["functionCall"]["args"] == {"phrases": ["dog"]}
    assert responded["parts"][0]["functionResponse"]["name"] == "segment"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (candidate_body(reason="SAFETY"), "SAFETY"),
        (candidate_body({"text": "I"}, reason="PROHIBITED_CONTENT", finishMessage="No."), "No"),
        (candidate_body(reason="RECITATION"), "RECITATION"),
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "PROHIBITED_CONTENT"),
        ({"candidates": [], "promptFeedback": {"blockReason": "IMAGE_SAFETY"}}, "IMAGE_SAFETY"),
    ],
)
def test_a_refusal_to_answer_is_an_error_with_advice(body: dict[str, Any], why: str) -> None:
    gemini = MockGemini(body)
    words = f"gemini model {MODEL}: it refused to answer: {why}. Ask in other words"
    with pytest.raises(PlannerError, match=re.escape(words)):
        gemini.reply()
    assert len(gemini.requests) == 1


def test_an_answer_that_was_cut_off_is_asked_for_again_in_fewer_words(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    cut = candidate_body({"text": "Well, I think"}, reason="MAX_TOKENS")
    gemini = MockGemini(candidate_body(reason="MAX_TOKENS"), cut, NOTHING)
    answer = Agent(gemini.planner, segmenter, verifier="none").ask(image, "dogs")
    assert [message.text for message in answer.messages[2:6:2]] == ["", "Well, I think"]
    assert gemini.bodies[2]["contents"][0]["parts"][-1] == {"text": CUT}
    assert gemini.bodies[2]["contents"][1]["parts"] == [{"text": "Well, I think"}]


HOSTILE_PARTS: list[Any] = [
    [call("segment")],
    [{"functionCall": {"name": "segment", "args": "phrases: dog"}}],
    [{"functionCall": {"name": "segment", "args": ["dog"]}}],
    [{"functionCall": {"name": "segment", "args": {"phrases": "dog"}}}],
    [{"functionCall": {"name": None, "args": None, "id": 7}}],
    [{"functionCall": {}}],
    [{"functionCall": {"name": "default_api.draw", "args": {"\ud800": "\ud800"}}}],
    [{"text": "no call"}, {"executableCode": {"code": "print(1)"}}],
    [{"text": '{"tool": "segment", "arguments": {"phrases": ["dog"'}],
    [None, 1, "text", [], {"text": None}, {"text": 3}, {"text": "x", "thought": 0}],
]


@pytest.mark.parametrize("parts", HOSTILE_PARTS)
def test_no_content_of_a_reply_ends_a_run(
    image: Pixels, segmenter: FakeSegmenter, parts: list[Any]
) -> None:
    gemini = MockGemini(*[candidate_body(*parts)] * 2, ANSWER)
    answer = Agent(gemini.planner, segmenter, verifier="none", budget=Budget(turns=3)).ask(
        image, "dogs"
    )
    # two replies in plain text are an answer, which here names no masks
    assert answer.status in ("answered", "out_of_budget", "no_target")
    assert answer.usage.turns == (2 if answer.status == "no_target" else 3)
    assert gemini.bodies[-1]["contents"][1]["parts"] == parts


UNREADABLE: list[bytes] = [
    b"",
    b"<html>Bad gateway</html>",
    b'{"candidates": [{"content": {"parts": [{"te',
    b"[]",
    b"null",
    b"{}",
    b'{"candidates": null}',
    b'{"candidates": "none", "promptFeedback": []}',
    b'{"candidates": [{"content": "text", "finishReason": 3}]}',
    b'{"candidates": [{"content": {"parts": {"text": "x"}}}], "usageMetadata": 4}',
    b"[" * 100_000,
    b"\xff\xfe\xfd",
]


@pytest.mark.parametrize("body", UNREADABLE)
def test_a_body_that_cannot_be_used_is_asked_for_again(body: bytes) -> None:
    gemini = MockGemini(httpx2.Response(200, content=body), ANSWER)
    reply = gemini.reply()
    assert (reply.spent.retries, len(reply.tool_calls)) == (1, 1)


def test_a_server_that_never_makes_sense_is_named_in_an_error() -> None:
    gemini = MockGemini(*[httpx2.Response(200, text="<html>hello</html>")] * 6)
    with pytest.raises(PlannerError, match="GOOGLE_GEMINI_BASE_URL points at a Gemini API"):
        gemini.reply()


DAILY = {
    "details": [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
        },
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "27s"},
    ]
}
QUOTA = "You exceeded your current quota, please check your plan and billing details. "
FATAL: list[tuple[httpx2.Response, str]] = [
    (refusal(400, "Invalid value at 'contents'"), "answered 400: Invalid.*see its words"),
    (refusal(400, f"API key not valid: {KEY}."), "API key not valid.*Check GEMINI_API_KEY"),
    (refusal(401, "Request had invalid credentials"), "answered 401.*Check GEMINI_API_KEY"),
    (refusal(403, "Permission denied on resource"), "answered 403.*check its rights"),
    (refusal(403, "Your API key was reported as leaked."), "answered 403.*gives a new key"),
    (refusal(404, "models/x is not found for API version v1"), "answered 404.*the model's name"),
    (refusal(413, "Too large"), "answered 413: Too large. Make the picture smaller"),
    (refusal(429, QUOTA, **DAILY), "answered 429.*quota is used up"),
    (refusal(429, QUOTA + "limit: 0, model: gemini-3.1-pro"), "answered 429.*enable billing"),
    (refusal(429, "Your prepayment credits are depleted."), "answered 429.*enable billing"),
    (httpx2.Response(302, headers={"location": "https://else.example"}), "answered 302"),
    (httpx2.Response(404, text="<html>nginx</html>"), "answered 404: <html>nginx"),
    (httpx2.Response(400, json={"error": "no words"}), "answered 400.*no words"),
    (httpx2.Response(400, json=["a", "b"]), "answered 400"),
    (httpx2.Response(400, json={"error": {"message": 3}}), "answered 400"),
]


@pytest.mark.parametrize(("response", "words"), FATAL)
def test_what_no_retry_helps_against_is_an_error_that_says_what_to_do(
    response: httpx2.Response, words: str
) -> None:
    gemini = MockGemini(response)
    with pytest.raises(PlannerError, match=f"(?s)^gemini model {MODEL} .*{words}") as caught:
        gemini.reply()
    assert KEY not in str(caught.value)
    assert gemini.waits == []


TRANSIENT: list[Step] = [
    *[refusal(status, "again") for status in (408, 409, 429, 500, 502, 503, 504)],
    httpx2.Response(503, text="<html>overloaded</html>"),
    httpx2.Response(500, content=b"\xff\xfe\xfd"),
    httpx2.DecodingError("incorrect header check"),
    httpx2.ReadTimeout("slow"),
    httpx2.ConnectTimeout("slow"),
    httpx2.ReadError("reset by peer"),
    httpx2.ConnectError("refused"),
    httpx2.RemoteProtocolError("peer closed connection without sending complete message body"),
]


@pytest.mark.parametrize("step", TRANSIENT)
def test_a_passing_fault_is_waited_for_and_counted(step: Step) -> None:
    gemini = MockGemini(step, ANSWER)
    reply = gemini.reply()
    assert (reply.spent.calls, reply.spent.retries, len(gemini.waits)) == (1, 1, 1)
    assert 0.3 < gemini.waits[0] < 0.7


@pytest.mark.parametrize(
    ("step", "wait"),
    [
        (refusal(429, QUOTA, details=DAILY["details"][1:]), 27),
        (refusal(429, QUOTA, details=[{"retryDelay": "1.5s"}], headers={"Retry-After": "9"}), 1.5),
        (refusal(429, QUOTA, headers={"Retry-After": "130"}), 130),
        (refusal(503, "overloaded", headers={"Retry-After": "4"}), 4),
    ],
)
def test_a_server_is_given_the_pause_it_asks_for(step: Step, wait: float) -> None:
    gemini = MockGemini(step, ANSWER)
    gemini.reply()
    assert gemini.waits == [wait]


def test_a_name_that_is_not_found_is_not_looked_up_again() -> None:
    lost = httpx2.ConnectError("lookup")
    lost.__cause__ = socket.gaierror(-2, "Name or service not known")
    gemini = MockGemini(lost)
    with pytest.raises(PlannerError, match=r"cannot reach the Gemini API.*Check the network"):
        gemini.reply()
    assert gemini.waits == []


@pytest.mark.parametrize("url", ["localhost:8080", "http://[::1", "ftp://x"])
def test_a_base_url_that_is_none_is_an_error(url: str) -> None:
    with pytest.raises(PlannerError, match=r"cannot be used: .*Check GOOGLE_GEMINI_BASE_URL"):
        GeminiPlanner(MODEL, base_url=url)


@pytest.mark.parametrize(
    "words",
    [
        "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
        "Request payload size exceeds the limit: 20971520 bytes.",
    ],
)
def test_a_context_that_is_too_long_is_sent_once_more_with_fewer_pictures(
    image: Pixels, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    gemini = MockGemini(TWO_CALLS, refusal(400, words), ANSWER)
    reply = gemini.reply(*conversation(image, gemini.reply()))
    pictures = [len(re.findall("inlineData", str(body))) for body in gemini.bodies]
    assert pictures == [0, 2, 0]
    assert "older pictures dropped" in caplog.text
    assert (reply.spent.retries, reply.spent.images) == (1, 2)

    gemini = MockGemini(refusal(400, words))
    with pytest.raises(PlannerError, match="answered 400"):
        gemini.reply(Message("user", "dogs", (image,)))


def test_a_request_may_take_no_longer_than_the_question() -> None:
    gemini = MockGemini(ANSWER, ANSWER, timeout=60.0)
    gemini.reply()
    token = deadline.set(time.monotonic() + 5)
    try:
        gemini.reply()
    finally:
        deadline.reset(token)
    first, second = (request.extensions["timeout"]["read"] for request in gemini.requests)
    assert first == 60.0
    assert 4 < second <= 5


def test_the_key_comes_from_the_argument_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sent(**options: Any) -> str:
        gemini = MockGemini(ANSWER, **options)
        gemini.reply()
        return str(gemini.requests[0].headers["x-goog-api-key"])

    monkeypatch.setenv("GOOGLE_API_KEY", "google")
    assert sent(api_key=None) == "google"
    monkeypatch.setenv("GEMINI_API_KEY", "gemini\n")
    assert sent(api_key=None) == "gemini"
    assert sent(api_key="argument") == "argument"


def test_a_planner_without_a_key_says_where_to_get_one() -> None:
    with pytest.raises(PlannerError, match=r"set GEMINI_API_KEY.*aistudio.google.com/apikey"):
        registry.planner(f"gemini:{MODEL}")
    with pytest.raises(PlannerError, match="characters that no key has"):
        GeminiPlanner(MODEL, api_key="AIza…")


def test_a_server_of_ones_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9/root/")
    gemini = MockGemini(ANSWER, ANSWER, api_key=None)
    gemini.reply()
    assert (
        str(gemini.requests[0].url) == f"http://127.0.0.1:9/root/v1/models/{MODEL}:generateContent"
    )
    gemini = MockGemini(ANSWER, base_url="http://127.0.0.1:8")
    gemini.reply()
    assert str(gemini.requests[0].url).startswith("http://127.0.0.1:8/v1/")


def test_a_name_that_no_model_has_is_refused() -> None:
    for name in ("../secrets", "a b", "gemini?x=1", "models/"):
        with pytest.raises(InputError, match="is no name of a Gemini model"):
            GeminiPlanner(name, api_key=KEY)


def test_a_missing_package_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "google.genai", None)
    with pytest.raises(PlannerError, match=re.escape("pip install 'sam3-agent[gemini]'")):
        GeminiPlanner(MODEL, api_key=KEY)


@pytest.mark.parametrize(
    "step",
    [
        refusal(400, f"API key not valid: {KEY}"),
        refusal(404, "none", details=[{"echo": {"x-goog-api-key": KEY}}]),
        httpx2.Response(403, text=f"<html>?key={KEY}</html>"),
        httpx2.ConnectError(f"cannot connect with {KEY}"),
        httpx2.Response(200, text=f"hello {KEY}"),
    ],
)
def test_the_key_is_never_shown(step: Step, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    gemini = MockGemini(*[step] * 6)
    with pytest.raises(PlannerError) as caught:
        gemini.reply()
    shown = "".join(traceback.format_exception(caught.value))
    cause = caught.value.__cause__
    shown += caplog.text + repr(caught.value) + repr(cause) + repr(gemini.planner)
    assert KEY not in shown
    assert repr(gemini.planner) == f"GeminiPlanner({MODEL!r})"


def test_a_reply_of_megabytes_does_not_go_out_again_with_every_request(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    replies = [
        candidate_body({**call("segment", phrases=[f"dog {n}"]), "thoughtSignature": "A" * size})
        for n, size in enumerate((900_000, *[3_000_000] * 4))
    ]
    gemini = MockGemini(*replies, *[NOTHING] * 3)
    Agent(gemini.planner, segmenter, verifier="none").ask(image, "dogs")
    first, last = gemini.requests[0], gemini.requests[5]
    assert 900_000 < len(last.content) - len(first.content) < 1_500_000
    turns = [one["parts"] for one in gemini.bodies[5]["contents"] if one["role"] == "model"]
    assert turns[0][0]["thoughtSignature"] == "A" * 900_000
    assert [one[0]["functionCall"]["args"] for one in turns] == [
        {"phrases": [f"dog {n}"]} for n in range(5)
    ]
