"""Calls of model servers end in time and read a bounded reply, whatever the server sends."""

import contextlib
import gzip
import json
import multiprocessing
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sam3_agent import Agent, Budget, Message, PlannerError
from sam3_agent.budget import deadline, stop_requested
from sam3_agent.errors import DeadlineError, StoppedError
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.gemini import GeminiPlanner
from sam3_agent.model.providers.http_client import MAX_REPLY
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.planner import Planner
from sam3_agent.registry import tools
from tests.raw_server import OK, Connection, Handler, raw_server, reply

QUESTION = [Message("user", "which dog?")]
PROVIDERS: dict[str, Callable[..., Planner]] = {
    "openai": lambda url, **more: OpenAIPlanner("m", base_url=f"{url}/v1", api_key="k1", **more),
    "gemini": lambda url, **more: GeminiPlanner("m", base_url=url, api_key="k1", **more),
}
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SECONDS = 0.5
SOON = 10.0
"""Seconds after which a call of SECONDS has ended on the slowest machine; the servers go on."""


def answering(drip: Handler) -> Handler:
    """Reads the request, then drips."""

    def handler(connection: Connection) -> None:
        connection.read_request()
        drip(connection)

    return handler


def silence(connection: Connection) -> None:
    connection.over.wait(60)


def upload_that_nobody_reads(connection: Connection) -> None:
    connection.read_head()
    connection.over.wait(60)


def upload_read_slowly(connection: Connection) -> None:
    while connection.socket.recv(4096) and not connection.over.wait(0.1):
        pass


DRIPS: dict[str, Handler] = {
    "a status line byte by byte": answering(lambda one: one.drip(b"HTTP/1.1 200 " + b"O" * 999)),
    "headers byte by byte": answering(lambda one: one.drip(OK + b"X: " + b"y" * 999)),
    "whole headers for ever": answering(
        lambda one: one.drip(OK + b"X-Header: 1\r\n" * 999, piece=13)
    ),
    "a body byte by byte": answering(
        lambda one: one.drip(OK + b"Content-Length: 9999\r\n\r\n" + b" " * 999, piece=89)
    ),
    "a body without a length": answering(
        lambda one: one.drip(OK + b"\r\n" + b"\n" * 999, piece=70)
    ),
    "blank chunks": answering(lambda one: one.drip(CHUNKED + b"1\r\n \r\n" * 999, piece=6)),
    "the extension of a chunk": answering(lambda one: one.drip(CHUNKED + b"1;x=" + b"y" * 999)),
    "trailers": answering(lambda one: one.drip(CHUNKED + b"0\r\n" + b"X: y\r\n" * 999, piece=6)),
    "comments of an event stream": answering(
        lambda one: one.drip(CHUNKED + b"e\r\n: PROCESSING\n\n\r\n" * 999, piece=19)
    ),
    "early hints": answering(
        lambda one: one.drip(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 999, piece=29)
    ),
    "continue for ever": answering(
        lambda one: one.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 999, piece=25)
    ),
    "an error byte by byte": answering(
        lambda one: one.drip(b"HTTP/1.1 503 No\r\nContent-Length: 9999\r\n\r\n" + b" " * 99)
    ),
    "nothing": answering(silence),
}

UPLOADS = {"nobody reads": upload_that_nobody_reads, "is read slowly": upload_read_slowly}


@contextlib.contextmanager
def time_left(seconds: float) -> Iterator[None]:
    token = deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        deadline.reset(token)


@contextlib.contextmanager
def stopped_by(event: threading.Event) -> Iterator[None]:
    token = stop_requested.set(event)
    try:
        yield
    finally:
        stop_requested.reset(token)


def ends_at_the_deadline(drip: Handler, provider: str, question: list[Message]) -> None:
    with raw_server(drip) as server:
        model = PROVIDERS[provider](server.url)
        began = time.monotonic()
        with time_left(SECONDS), pytest.raises(DeadlineError) as caught:
            model.reply(question, tools())
        assert SECONDS * 0.9 < time.monotonic() - began < SOON
        assert caught.value.spent.retries == 1
        assert caught.value.spent.bytes > 0


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS.keys())
def test_a_reply_that_drips_ends_at_the_time_of_the_question(drip: Handler, provider: str) -> None:
    ends_at_the_deadline(drip, provider, QUESTION)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("drip", UPLOADS.values(), ids=UPLOADS.keys())
def test_an_upload_ends_at_the_time_of_the_question(drip: Handler, provider: str) -> None:
    # more than the buffers of loopback hold, so that what is not read stops the sending
    ends_at_the_deadline(drip, provider, [Message("user", "x" * 12_000_000)])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_without_a_deadline_the_timeout_counts_for_the_whole_reply_and_is_not_tried_again(
    provider: str,
) -> None:
    with raw_server(DRIPS["blank chunks"]) as server:
        model = PROVIDERS[provider](server.url, timeout=SECONDS)
        began = time.monotonic()
        with pytest.raises(PlannerError, match=f"no answer in {SECONDS:g} s"):
            model.reply(QUESTION, tools())
        assert time.monotonic() - began < SOON
        assert len(server.connections) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stop_ends_a_reply_that_is_being_read_and_counts_it(provider: str) -> None:
    stop = threading.Event()

    def handler(connection: Connection) -> None:
        connection.read_request()
        stop.set()
        connection.drip(OK + b" " * 9999)

    with raw_server(handler) as server:
        began = time.monotonic()
        with stopped_by(stop), pytest.raises(StoppedError) as caught:
            PROVIDERS[provider](server.url).reply(QUESTION, tools())
        assert time.monotonic() - began < SOON
        assert (caught.value.spent.retries, caught.value.spent.bytes > 0) == (1, True)
        assert len(server.connections) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stop_ends_the_wait_between_two_tries(provider: str) -> None:
    stop = threading.Event()

    def handler(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(b"{}", "Retry-After: 300", status="503 No"))
        stop.set()

    with raw_server(handler) as server:
        began = time.monotonic()
        with stopped_by(stop), pytest.raises(StoppedError):
            PROVIDERS[provider](server.url).reply(QUESTION, tools())
        assert time.monotonic() - began < SOON
        assert len(server.connections) == 1


def test_an_ask_whose_planner_drips_is_out_of_budget(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    with raw_server(DRIPS["blank chunks"]) as server:
        agent = Agent(PROVIDERS["openai"](server.url), segmenter, budget=Budget(seconds=SECONDS))
        began = time.monotonic()
        answer = agent.ask(image, "the dog that is left of the other one, and why?")
        assert time.monotonic() - began < SOON
    assert answer.status == "out_of_budget"
    assert answer.usage.spent.retries == 1


def test_a_lookup_of_a_name_that_does_not_end_is_left_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()

    def lookup(*args: Any, **options: Any) -> Any:
        answered.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    began = time.monotonic()
    with time_left(SECONDS), pytest.raises(DeadlineError):
        PROVIDERS["openai"]("http://model.example").reply(QUESTION, tools())
    answered.set()
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_server_that_goes_away_is_asked_once_more_only(provider: str) -> None:
    body = {
        "choices": [{"message": {"content": "a"}}],
        "candidates": [{"content": {"parts": [{"text": "a"}]}}],
    }
    waits: list[float] = []

    def handler(connection: Connection) -> None:
        connection.read_request()
        connection.send(reply(json.dumps(body).encode()))

    with raw_server(handler) as server:
        retrier = Retrier(provider, "m", sleep=waits.append)
        model = PROVIDERS[provider](server.url, retrier=retrier)
        assert model.reply(QUESTION, tools()).text == "a"
    with pytest.raises(PlannerError, match=rf"after 2 tries: cannot reach {server.url}.*refused"):
        model.reply(QUESTION, tools())
    assert sum(waits) < 1


BOMB_SIZE = 3 * MAX_REPLY


def packed(level: int) -> bytes:
    return gzip.compress(b" " * BOMB_SIZE, level)


def zip_bomb(connection: Connection) -> None:
    connection.read_request()
    connection.send(reply(packed(9), "Content-Encoding: gzip"))


def deflate_bomb(connection: Connection) -> None:
    connection.read_request()
    connection.send(reply(zlib.compress(b" " * BOMB_SIZE), "Content-Encoding: deflate"))


def nested_bomb(connection: Connection) -> None:
    connection.read_request()
    connection.send(reply(gzip.compress(packed(1)), "Content-Encoding: gzip, gzip"))


def endless_body(connection: Connection) -> None:
    connection.read_request()
    connection.send(OK + b"\r\n")
    connection.drip(b" " * 10**9, 0, 10**6)


def endless_early_hints(connection: Connection) -> None:
    connection.read_request()
    hint = b"HTTP/1.1 103 X\r\n" + b"A: b\r\n" * 10_000 + b"\r\n"
    while not connection.over.is_set():
        connection.send(hint)


def endless_headers(connection: Connection) -> None:
    connection.read_request()
    connection.drip(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10**6, 0, 10**5)


BOMBS = {
    "gzip": (zip_bomb, "more than 8 MB"),
    "deflate": (deflate_bomb, "more than 8 MB"),
    "gzip in gzip": (nested_bomb, "more than 8 MB"),
    "a body without an end": (endless_body, "more than"),
    "headers without an end": (endless_headers, "headers without end"),
    "early hints without an end": (endless_early_hints, "more than a reply may have"),
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("bomb", "words"), BOMBS.values(), ids=BOMBS.keys())
def test_a_reply_that_grows_too_large_is_refused_and_not_asked_for_again(
    bomb: Handler, words: str, provider: str
) -> None:
    with raw_server(bomb) as server:
        with pytest.raises(PlannerError, match=f"too large: .*{words}") as caught:
            PROVIDERS[provider](server.url).reply(QUESTION, tools())
        assert len(server.connections) == 1
        assert caught.value.spent.retries == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_of_a_huge_error_the_beginning_is_read(provider: str) -> None:
    words = json.dumps({"error": {"message": "bad picture"}}).encode() + b" " * BOMB_SIZE

    def handler(connection: Connection) -> None:
        connection.read_request()
        body = gzip.compress(words)
        connection.send(reply(body, "Content-Encoding: gzip", status="400 Bad"))

    with raw_server(handler) as server:
        with pytest.raises(PlannerError, match=r"answered 400: .*bad picture") as caught:
            PROVIDERS[provider](server.url).reply(QUESTION, tools())
        assert len(str(caught.value)) < 700


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_named_and_not_followed(status: str, provider: str) -> None:
    with raw_server(endless_body) as other:
        place = f"{other.url}/steal"

        def handler(connection: Connection) -> None:
            connection.read_request()
            connection.send(reply(b"", f"Location: {place}", status=status))

        with raw_server(handler) as server:
            with pytest.raises(PlannerError, match=f"redirects to {place}. .*BASE_URL"):
                PROVIDERS[provider](server.url).reply(QUESTION, tools())
            assert len(server.connections) == 1
        assert not other.connections


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process forks here")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_forked_worker_asks_on_a_connection_of_its_own(provider: str) -> None:
    def serve(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.send(reply(b"{}", connection="keep-alive"))

    def ask(planner: Planner) -> None:
        with pytest.raises(PlannerError):  # an empty object is no reply
            planner.reply(QUESTION, ())

    with raw_server(serve) as server:
        planner = PROVIDERS[provider](server.url, retrier=Retrier("stub", "m", attempts=1))
        ask(planner)
        ask(planner)
        assert len(server.connections) == 1
        worker = multiprocessing.get_context("fork").Process(target=ask, args=(planner,))
        worker.start()
        worker.join(60)
        assert worker.exitcode == 0
        assert len(server.connections) == 2
        ask(planner)
        assert len(server.connections) == 2


def test_a_tls_handshake_that_is_not_answered_ends_in_time() -> None:
    with raw_server(silence) as server:
        began = time.monotonic()
        with time_left(SECONDS), pytest.raises(DeadlineError):
            PROVIDERS["openai"](server.url.replace("http:", "https:")).reply(QUESTION, tools())
        assert time.monotonic() - began < SOON


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_proxy_of_the_environment_is_used_and_limited_too(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw_server(DRIPS["blank chunks"]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        began = time.monotonic()
        with time_left(SECONDS), pytest.raises(DeadlineError):
            PROVIDERS[provider]("http://model.example").reply(QUESTION, tools())
        assert time.monotonic() - began < SOON
        assert len(proxy.connections) == 1
