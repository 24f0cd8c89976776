"""Lines and bodies that are no MCP message get an error, and the server goes on."""

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
from mcp import Client

from sam3_agent.plugin.stdio import MAX_UNANSWERED
from tests.mcp_fixtures import HANDSHAKE, INITIALIZED, called, message, stdio_process, values_of
from tests.plugin_fixtures import running


@contextlib.contextmanager
def stdio_server(*options: str) -> Iterator[Callable[..., dict[str, Any]]]:
    """A server on stdio after the handshake: send lines, get the next reply."""
    process = stdio_process(*options)
    with process, contextlib.ExitStack() as cleanup:
        cleanup.callback(process.kill)
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def send(*lines: bytes) -> dict[str, Any]:
            stdin.writelines(line + b"\n" for line in lines)
            stdin.flush()
            reply: dict[str, Any] = json.loads(stdout.readline())
            return reply

        assert "result" in send(HANDSHAKE)
        stdin.write(INITIALIZED + b"\n")
        yield send
        stdin.close()
        assert process.wait(60) == 0


def asked(id_: Any, query: str) -> bytes:
    arguments = {"image": "red_cars.png", "query": query}
    return message(id_, "tools/call", {"name": "ask_image", "arguments": arguments})


def test_ctrl_c_ends_the_server_while_it_waits_for_a_line() -> None:
    with stdio_process() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(HANDSHAKE + b"\n")
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT


def test_every_line_that_is_no_message_is_answered_and_the_server_goes_on() -> None:
    lines: list[tuple[bytes, Any, str]] = [
        (asked(1, "\ud800"), 1, "half of a surrogate pair"),
        (asked("a-2", "the car \udfff"), "a-2", "half of a surrogate pair"),
        (asked("\udc00", "the car"), None, "half of a surrogate pair"),
        (b"GET / HTTP/1.1", None, "Invalid JSON"),
        (b"\xff\xfe\x00\x01", None, "Invalid JSON"),
        (asked(3, "caf").replace(b"caf", b"caf\xe9"), 3, "Invalid JSON"),
        (asked(4, "cut")[:60], 4, "Invalid JSON"),
        (b'{"method":"ping","params":{"a":\xff},"jsonrpc":"2.0","id":"5"}', "5", "Invalid JSON"),
        (b'{"jsonrpc":"2.0","method":"ping","params":{"id":6,"a":}}', None, "Invalid JSON"),
        (b"[" + asked(7, "the car") + b"]", None, "lists of messages (batches) are not taken"),
        (b"[]", None, "batches"),
        (b'"ping"', None, "one JSON object a line"),
        (b"[" * 100_000, None, "Invalid JSON"),
        (b'{"jsonrpc":"2.0","id":8}', 8, "method: Field required"),
        (b'{"jsonrpc":"1.0","id":9,"method":"ping"}', 9, "jsonrpc: "),
        (b'{"jsonrpc":"2.0","id":10,"method":"ping","params":[1]}', 10, "params: "),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', None, "an id is a string or a whole"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None, "an id is a string or a whole"),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None, "an id is a string or a whole"),
        (asked(11, "x" * 4_000_000), 11, "a message has at most 1.4 MB"),
    ]
    with stdio_server("--root", "evals/demo", "--max-megabytes", "0.1") as send:
        for line, id_, reason in lines:
            reply = send(line)
            assert (reply["id"], reason in reply["error"]["message"]) == (id_, True), reply
        # neither blank lines nor broken notifications and responses have an answer
        silent = (
            b"",
            b"  ",
            b'{"jsonrpc":"2.0","method":"\\ud800"}',
            b'{"id":12,"result":"\\ud800"}',
        )
        assert send(*silent, message(13, "ping", {})) == {"jsonrpc": "2.0", "id": 13, "result": {}}
        odd = send(asked(14, "how many cars \ufffd are red?").replace(b'"red_cars.png"', b"NaN"))
        assert (odd["id"], odd["result"]["isError"]) == (14, True)
        reply = send(asked(15, "all red cars"))
        assert "status: answered" in reply["result"]["content"][0]["text"]


def test_of_many_requests_at_once_the_last_are_answered_whatever_was_cancelled() -> None:
    calls, pings = MAX_UNANSWERED + 20, 300
    cancelled = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}\n'
    with stdio_process("--root", "evals/demo") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin = process.stdin

        def flood() -> None:
            stdin.write(HANDSHAKE + b"\n" + INITIALIZED + b"\n")
            for number in range(calls):
                stdin.write(asked(f"call {number}", "the car") + b"\n")
                for id_ in (b'"call %d"' % number, b"[1]"):
                    stdin.write(cancelled % id_)
            # one id for all: the client's fault, and no reason to stop
            stdin.writelines([message(7, "ping", {}) + b"\n"] * pings)
            stdin.flush()

        sender = threading.Thread(target=flood)
        sender.start()
        answered = 0
        while answered < pings:
            answered += json.loads(process.stdout.readline())["id"] == 7
        sender.join(60)
        stdin.close()
        assert process.wait(60) == 0


async def test_a_bad_body_over_http_gets_an_error_and_the_server_goes_on() -> None:
    with running("mcp", "--root", "evals/demo") as server:
        head = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        bad = (asked(1, "\ud800"), b"not JSON", b"\xff", b"[]", b'{"id":NaN}', b"[" * 100_000)
        with httpx2.Client(base_url=server.url, headers=head) as http:
            for body in bad:
                reply = http.post("/mcp", content=body)
                assert reply.status_code == 400, (body[:40], reply.text)
                assert reply.json()["error"]["message"]
        async with Client(f"{server.url}/mcp") as client:
            result = await called(client, "segment", image="red_cars.png", phrases=["car"])
            assert values_of(result)["masks"]
