"""Connections of the HTTP servers: slow, silent, endless and malformed ones, over real sockets.

`pytest -s` prints the table of malformed requests.
"""

import json
import re
import select
import socket
from typing import Any

import pytest

from sam3_agent import Agent
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.clients import client_name
from sam3_agent.plugin.http_server import open_file_limit
from sam3_agent.plugin.mcp_server import build, http_app
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.rest import app
from sam3_agent.plugin.work_queue import WorkQueue
from tests.hostile_planners import Waiting
from tests.http_fixtures import answer, connect, everything, serving, until
from tests.mcp_fixtures import HANDSHAKE, message
from tests.plugin_fixtures import data_uri, png

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POST = b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def rest_app(segmenter: FakeSegmenter, **rules: Any) -> Any:
    toolkit = Toolkit.of(Agent(ScriptedPlanner([]), segmenter))
    return app(toolkit, WorkQueue(), AccessRules(**rules))


@pytest.fixture
def rest(segmenter: FakeSegmenter) -> Any:
    return rest_app(segmenter)


def test_a_half_sent_head_is_answered_408_and_a_silent_connection_closed(rest: Any) -> None:
    with serving(rest, head_seconds=0.2) as port:
        half = [connect(port, HEALTH[:cut]) for cut in (1, 20, len(HEALTH) - 1)]
        silent = connect(port)
        dripping = connect(port, HEALTH[:9])
        for connection in half:
            assert everything(connection).startswith(b"HTTP/1.1 408 ")
        assert everything(silent) == b""
        while not select.select([dripping], [], [], 0.02)[0]:
            dripping.sendall(b"x")  # bytes that come one by one do not extend the time
        everything(dripping)
        assert answer(port, HEALTH)[0] == 200


def test_the_head_of_a_second_request_has_its_deadline_too(rest: Any) -> None:
    with serving(rest, head_seconds=0.2) as port:
        keeping = HEALTH.replace(b"Connection: close\r\n", b"")
        connection = connect(port, keeping)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(HEALTH[:20])
        assert b"HTTP/1.1 408 " in everything(connection)


def test_more_connections_than_the_limit_lock_nobody_out(rest: Any) -> None:
    """The longest idle connection of the client that has most is closed for a new one."""
    with serving(rest, connections=20) as port:
        another = connect(port, HEALTH[:20], source="127.0.0.2")
        held = [connect(port, HEALTH[:20]) for _ in range(100)]
        assert answer(port, HEALTH)[0] == 200
        another.sendall(HEALTH[20:])
        assert everything(another).startswith(b"HTTP/1.1 200 ")
        for connection in held[:80]:
            assert everything(connection) == b""
        held[-1].sendall(HEALTH[20:])
        assert everything(held[-1]).startswith(b"HTTP/1.1 200 ")
        for connection in held:
            connection.close()


def test_a_client_that_reads_nothing_is_disconnected() -> None:
    async def large(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(30_000_000)})

    with serving(large, write_seconds=0.2) as port:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(HEALTH)
        resets = select.poll()
        resets.register(connection, 0)  # errors are reported always
        assert resets.poll(60_000)
        connection.close()


def test_the_body_of_a_request_that_is_refused_is_not_read_to_its_end(
    segmenter: FakeSegmenter,
) -> None:
    with serving(rest_app(segmenter, max_bytes=1_000)) as port:
        chunk = b"3e8\r\n" + b"a" * 1000 + b"\r\n"
        connection = connect(port, POST + b"Transfer-Encoding: chunked\r\n\r\n" + 2 * chunk)
        assert everything(connection).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_tiny_chunks_is_cut_off(rest: Any) -> None:
    whole = json.dumps({"image": "a" * 100_000, "phrases": ["dog"]}).encode()

    def chunked(size: int) -> bytes:
        parts = [whole[i : i + size] for i in range(0, len(whole), size)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        head = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + body + b"0\r\n\r\n"

    with serving(rest) as port:
        assert answer(port, chunked(1))[0] == 0
        assert answer(port, chunked(1000))[0] == 422


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_bug(
    rest: Any, caplog: pytest.LogCaptureFixture
) -> None:
    form = POST.replace(b"application/json", b"multipart/form-data; boundary=x")
    metrics = HEALTH.replace(b"/health", b"/metrics")
    with serving(rest) as port:
        for head in (POST, form):
            for begun in (b"", b"--x\r\n"):
                connect(port, head + b"Content-Length: 1000\r\n\r\n" + begun).close()
        wanted = b'sam3_agent_requests_total{route="/segment",status="499"} 4.0'
        while wanted not in (text := answer(port, metrics)[1]):
            assert b'status="500"' not in text
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_request_whose_body_still_comes_at_the_end_is_answered_503(
    rest: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(rest) as port:
        begun = connect(port, POST + b"Content-Length: 1000\r\n\r\n{")
        assert answer(port, HEALTH)[0] == 200
    assert everything(begun).startswith(b"HTTP/1.1 503 ")
    assert "Traceback" not in caplog.text


GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
END = b"Connection: close\r\n\r\n"
BODY = b'{"image":"a","phrases":[]}'

MALFORMED: list[tuple[str, bytes, int]] = [
    ("a length and chunks", POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n" + END
     + b"0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", 400),
    ("two lengths", POST + b"Content-Length: 0\r\nContent-Length: 26\r\n" + END + BODY, 400),
    ("two equal lengths", POST + b"Content-Length: 26, 26\r\n" + END + BODY, 422),
    ("a length with a sign", POST + b"Content-Length: +26\r\n" + END + BODY, 400),
    ("a length in hex", POST + b"Content-Length: 0x1a\r\n" + END + BODY, 400),
    ("chunks twice", POST + b"Transfer-Encoding: chunked, chunked\r\n" + END, 400),
    ("an unknown transfer encoding", POST + b"Transfer-Encoding: xchunked\r\n" + END, 400),
    ("chunks in HTTP/1.0", b"POST /segment HTTP/1.0\r\nHost: localhost\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("a blank before the colon", GET + b"Content-Length : 5\r\n" + END, 400),
    ("a folded header", GET + b"X: a\r\n b\r\n" + END, 200),
    ("a folded first header", b"GET /health HTTP/1.1\r\n Host: localhost\r\n" + END, 400),
    ("line ends without CR", GET.replace(b"\r\n", b"\n") + END.replace(b"\r\n", b"\n"), 200),
    ("CR alone in a header", GET + b"X: a\rContent-Length: 5\r\n" + END, 400),
    ("NUL in a header", GET + b"X: a\0b\r\n" + END, 400),
    ("NUL in the path", GET.replace(b"/health", b"/he\0alth") + END, 400),
    ("NUL encoded in the path", GET.replace(b"/health", b"/health%00") + END, 404),
    ("a blank in the path", GET.replace(b"/health", b"/health x") + END, 400),
    ("a URL of 64 kB", GET.replace(b"/health", b"/" + b"a" * 65_536) + END, 400),
    ("10,000 headers", GET + b"X: 1\r\n" * 10_000 + END, 400),
    ("a header of 1 MB", GET + b"X: " + b"a" * 1_000_000 + b"\r\n" + END, 400),
    ("two hosts", GET + b"Host: evil.example\r\n" + END, 400),
    ("no host", b"GET /health HTTP/1.1\r\n" + END, 400),
    ("a host with a user", GET.replace(b"localhost", b"evil.example@localhost") + END, 421),
    ("a host with a path", GET.replace(b"localhost", b"localhost/evil") + END, 421),
    ("an absolute URL", GET.replace(b"/health", b"http://evil.example/health") + END, 404),
    ("CONNECT", b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n" + END, 404),
    ("TRACE", GET.replace(b"GET", b"TRACE") + END, 405),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n" + END, 404),
    ("HEAD", GET.replace(b"GET", b"HEAD") + END, 405),
    ("a method that is none", GET.replace(b"GET", b"G(T") + END, 400),
    ("encoded dot segments", GET.replace(b"/health", b"/images/%2e%2e/%2e%2e/etc/x") + END, 404),
    ("dot segments", GET.replace(b"/health", b"/images/../../etc/passwd") + END, 404),
    ("HTTP/2 without an upgrade", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 421),
    ("an upgrade to HTTP/2", GET + b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\n"
     b"Connection: Upgrade, HTTP2-Settings, close\r\n\r\n", 200),
    ("an upgrade to WebSocket", GET + b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n"
     b"Sec-WebSocket-Key: AA==\r\nSec-WebSocket-Version: 13\r\n\r\n", 200),
    ("HTTP/0.9", b"GET /health\r\n\r\n", 400),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n", 400),
    ("a huge chunk size", POST + b"Transfer-Encoding: chunked\r\n" + END
     + b"f" * 40 + b"\r\n", 400),
    ("a negative chunk size", POST + b"Transfer-Encoding: chunked\r\n" + END + b"-1\r\n", 400),
    ("a long chunk extension", POST + b"Transfer-Encoding: chunked\r\n" + END
     + b"1;" + b"a" * 100_000 + b"\r\n", 400),
    ("a chunk longer than its size", POST + b"Transfer-Encoding: chunked\r\n" + END
     + b"1\r\nabc\r\n0\r\n\r\n", 400),
    ("trailers that set headers", POST + b"Transfer-Encoding: chunked\r\n" + END
     + b"1\r\n{\r\n0\r\nAuthorization: Bearer x\r\nContent-Length: 9\r\n\r\n", 422),
    ("an expectation that is unknown", POST + b"Expect: 200-maybe\r\nContent-Length: 26\r\n" + END
     + BODY, 422),
]  # fmt: skip


def test_a_malformed_request_has_an_answer_and_harms_no_other(rest: Any) -> None:
    wrong = []
    with serving(rest, head_seconds=2.0) as port:
        for name, data, status in MALFORMED:
            found, received = answer(port, data)
            print(f"{name:32} {data[:50]!r:56} {found}")
            if found != status or b"Traceback" in received or received.count(b"HTTP/1.1 ") != 1:
                wrong.append((name, found, received[-300:]))
            assert answer(port, HEALTH)[0] == 200
    assert not wrong


def test_a_body_that_waits_for_100_continue_is_asked_for_only_when_wanted(
    segmenter: FakeSegmenter,
) -> None:
    expects = POST + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: "
    with serving(rest_app(segmenter, max_bytes=1_000, body_seconds=0.2)) as port:
        status, received = answer(port, expects + b"2000\r\n\r\n")
        assert (status, b" 100 " in received) == (413, False)
        status, received = answer(port, expects + b"26\r\n\r\n")
        assert (status, b"HTTP/1.1 408 " in received) == (100, True)


def test_pipelined_requests_are_answered_in_order_one_at_a_time(rest: Any) -> None:
    keeping = HEALTH.replace(b"Connection: close\r\n", b"")
    with serving(rest) as port:
        received = everything(connect(port, 1000 * keeping + HEALTH))
        assert received.count(b"HTTP/1.1 200 ") == 1001


def test_the_limit_of_connections_fits_into_the_limit_of_open_files() -> None:
    assert open_file_limit(10) == 10
    assert open_file_limit(100_000_000) < 100_000_000


def test_clients_are_distinguished_by_address() -> None:
    assert client_name(None) == ""
    assert client_name(("192.0.2.7", 5)) == client_name(("::ffff:192.0.2.7", 9)) == "192.0.2.7"
    one, other = client_name(("2001:db8:0:1::5", 1)), client_name(("2001:db8:0:2::5", 1))
    assert one == client_name(("2001:db8:0:1:ffff::6", 2, 0, 0)) != other


def mcp_request(method: bytes, body: bytes = b"", session: bytes = b"") -> bytes:
    head = method + b" /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    accept = b"Accept: application/json, text/event-stream\r\nConnection: close\r\n"
    named = b"Mcp-Session-Id: " + session + b"\r\n" if session else b""
    return head + accept + named + b"Content-Length: %d\r\n\r\n" % len(body) + body


def mcp_session(port: int) -> bytes:
    request = mcp_request(b"POST", HANDSHAKE)
    found = re.search(rb"mcp-session-id: (\w+)", everything(connect(port, request)))
    assert found
    return found[1]


def test_one_client_cannot_take_all_requests(segmenter: FakeSegmenter) -> None:
    rules = {"requests": 5, "client_requests": 3}
    begun = POST + b"Content-Length: 1000\r\n\r\n{"
    metrics = HEALTH.replace(b"/health", b"/metrics")
    with serving(rest_app(segmenter, **rules)) as port:
        held = [connect(port, begun) for _ in range(3)]
        assert answer(port, metrics)[0] == 429
        assert answer(port, HEALTH)[0] == 200
        another = connect(port, metrics, source="127.0.0.2")
        assert everything(another).startswith(b"HTTP/1.1 200 ")
        for connection in held:
            connection.close()


async def test_at_the_end_running_mcp_calls_are_answered(
    segmenter: FakeSegmenter,
) -> None:
    queue = WorkQueue()
    toolkit = Toolkit.of(Agent(Waiting(), segmenter))
    made = http_app(build(toolkit, queue), AccessRules())
    call = {"name": "ask_image", "arguments": {"image": data_uri(png()), "query": "the dog"}}
    with serving(made, queue, grace=30.0) as port:
        session = mcp_session(port)
        asking = connect(port, mcp_request(b"POST", message(1, "tools/call", call), session))
        await until(lambda: queue.active)
        queue.close()  # as at the end of the grace period
        assert b"the server is shutting down" in everything(asking)
