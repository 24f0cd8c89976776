"""Keys, tokens and addresses of model servers: checked at once, and shown to nobody."""

import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sam3_agent import PlannerError, SegmenterError, registry
from sam3_agent.model.providers.gemini import GeminiPlanner
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import Retrier
from tests.command_line import run
from tests.gemini_fixtures import ANSWER as GEMINI_ANSWER
from tests.gemini_fixtures import MockGemini
from tests.openai_fixtures import ANSWER, QUESTION, Server, fails, model_reply, planner
from tests.plugin_fixtures import free_port
from tests.stub_server import StubServer, call


def no_wait(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s")


@pytest.mark.parametrize("around", ["{}\n", "  {}\t", "\r\n{}\r\n", "\ufeff{} "])
def test_blanks_and_line_breaks_around_a_key_are_dropped(
    around: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(ANSWER, ANSWER)
    planner(server, api_key=around.format("sk-one")).reply(QUESTION, registry.tools())
    monkeypatch.setenv("OPENAI_API_KEY", around.format("sk-two"))
    planner(server, api_key=None).reply(QUESTION, registry.tools())
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer sk-one", "Bearer sk-two"]
    gemini = MockGemini(GEMINI_ANSWER, api_key=around.format("AIza-one"))
    gemini.reply()
    assert gemini.requests[0].headers["x-goog-api-key"] == "AIza-one"


BROKEN = {
    "sk-first\nsecondhalf": "a line break inside (character 9 of 19)",
    "sk-first secondhalf": "a blank inside (character 9 of 19)",
    "sk-first\u00a0secondhalf": "a blank inside",
    "sk-first\tsecondhalf": "a blank inside",
    '"sk-firstsecondhalf"': "a quotation mark or backslash inside (character 1 of 20)",
    "sk-first…secondhalf": "a character that is no printable ASCII inside",
    "sk-first\x00secondhalf": "a character that is no printable ASCII inside",
    "Bearer sk-firstsecondhalf": "a blank inside (character 7 of 25)",
}


@pytest.mark.parametrize(("key", "what"), BROKEN.items(), ids=BROKEN.values())
@pytest.mark.parametrize(
    ("make", "variable"),
    [
        (lambda key: OpenAIPlanner("m", api_key=key), "OPENAI_API_KEY"),
        (lambda key: GeminiPlanner("gemini-x", api_key=key), "GEMINI_API_KEY"),
    ],
    ids=["openai", "gemini"],
)
def test_a_broken_key_is_refused_before_the_first_call_and_not_shown(
    make: Callable[[str], Any], variable: str, key: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(PlannerError) as caught:
        make(key)
    assert what in str(caught.value)
    assert variable in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "sk-first" not in shown
    assert "secondhalf" not in shown


def test_doctor_tells_of_a_broken_key_and_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENAI_API_KEY", "GOOGLE_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, "hf_first\nsecondhalf")
    result = run("doctor", "--planner", "openai:m", "--json")
    assert result.exit_code == 3
    checks = {check["what"]: check for check in json.loads(result.stdout)["checks"]}
    for name in ("OPENAI_API_KEY", "GOOGLE_API_KEY", "HF_TOKEN"):
        assert "a line break inside (character 9 of 19)" in checks[name]["said"]
    assert checks["planner"]["ok"] is False
    assert "secondhalf" not in result.output
    assert "hf_first" not in result.output


def test_a_broken_token_is_refused_before_anything_is_downloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_first secondhalf")
    with pytest.raises(SegmenterError, match=r"the token in HF_TOKEN has .* a blank") as caught:
        registry.segmenter("somebody/sam3")
    assert "secondhalf" not in "".join(traceback.format_exception(caught.value))


# What is learned from a server's words does not suffer from what is hidden in them


@pytest.mark.parametrize("key", ["tool", "t", "system", "none", "user", "1", "not", "EMPTY"])
def test_a_key_that_is_a_word_is_not_cut_out_of_what_is_learned_or_shown(key: str) -> None:
    words = "llava does not support tools"
    server = Server(fails(400, words), model_reply("hm"))
    planner(server, api_key=key).reply(QUESTION, registry.tools())
    assert ["tools" in body for body in server.bodies] == [True, False]
    shown = "the system does not know 1 user or tool"
    with pytest.raises(PlannerError, match=shown):
        planner(Server(fails(400, shown)), api_key=key).reply(QUESTION, registry.tools())


@pytest.mark.parametrize("key", ["role-tool-42", "not supported".replace(" ", "-1"), "support1"])
def test_a_longer_key_is_hidden_only_after_the_words_were_read(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(fails(400, f"{key}: Function calling is not enabled"), fails(500, key))
    with caplog.at_level(logging.DEBUG), pytest.raises(PlannerError) as caught:
        planner(server, api_key=key, retrier=Retrier("openai", "m", attempts=1)).reply(
            QUESTION, registry.tools()
        )
    assert len(server.requests) == 2
    assert "tools" not in server.bodies[1]
    assert key not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "***" in str(caught.value)


@pytest.mark.parametrize("key", ["abc123", "s3cr3t", "pa-ss", "longsecret"])
def test_a_short_key_is_hidden_where_it_stands_alone(key: str) -> None:
    words = f"Incorrect API key provided: {key}. Bearer {key}, x{key}y"
    with pytest.raises(PlannerError) as caught:
        planner(Server(fails(401, words)), api_key=key).reply(QUESTION, registry.tools())
    assert f"provided: ***. Bearer ***, x{key}y" in str(caught.value)
    assert str(caught.value).count(key) == 1


# Addresses


WRONG_URLS = {
    "localhost:8000/v1": "does not begin with http",
    "127.0.0.1:8000/v1": "does not begin with http",
    "http//localhost/v1": "does not begin with http",
    "htp://localhost/v1": "does not begin with http",
    "ftp://localhost/v1": "does not begin with http",
    "http://": "names no host",
    "http:///v1": "names no host",
    "http://:8000/v1": "names no host",
    "http://local host/v1": "has a blank",
    "http://localhost/\nv1": "has a blank",
    "http://localhost:99999/v1": "its port is no number from 1 to 65535",
    "http://localhost:0/v1": "its port is no number from 1 to 65535",
    "http://localhost:80a/v1": "its port is no number from 1 to 65535",
    "http://[::1/v1": "its host cannot be read",
    "http://localhost/v1?key=1": "after ? or #",
}


@pytest.mark.parametrize(("url", "what"), WRONG_URLS.items(), ids=WRONG_URLS.keys())
@pytest.mark.parametrize(
    ("name", "variable"),
    [("openai:m", "OPENAI_BASE_URL"), ("gemini:gemini-x", "GOOGLE_GEMINI_BASE_URL")],
)
def test_a_wrong_base_url_is_named_at_once(
    name: str, variable: str, url: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, url)
    for options in ({}, {"base_url": url}):
        with pytest.raises(PlannerError) as caught:
            registry.planner(name, **options)
        assert what in str(caught.value)
        assert f"Check {variable}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "url", "surplus"),
    [
        ("openai:m", "http://stub/v1/chat/completions", "/chat/completions"),
        ("openai:m", "http://stub/v1/chat/completions/", "/chat/completions/"),
        ("openai:m", "http://stub/v1/responses", "/responses"),
        ("openai:m", "http://stub/v1/models", "/models"),
        ("gemini:g", "http://stub/v1beta", "/v1beta"),
        ("gemini:g", "http://stub/v1beta/models/g:generateContent", "/v1beta/models/g:generate"),
    ],
)
def test_a_base_url_with_the_end_of_a_request_says_what_to_leave_out(
    name: str, url: str, surplus: str
) -> None:
    with pytest.raises(PlannerError, match="leave it out") as caught:
        registry.planner(name, base_url=url)
    assert f"it ends in {surplus}" in str(caught.value)


def test_a_password_in_a_wrong_address_is_not_shown() -> None:
    for url in ("me:secret@stub:8000/v1", "http://me:secret@stub:99999/v1"):
        with pytest.raises(PlannerError, match=r"\*\*\*@stub") as caught:
            OpenAIPlanner("m", base_url=url)
        assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_blanks_around_a_base_url_are_dropped_and_a_blank_one_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(ANSWER, ANSWER)
    planner(server, base_url=" http://stub/v1\n").reply(QUESTION, registry.tools())
    monkeypatch.setenv("OPENAI_BASE_URL", "  ")
    planner(server, base_url=None).reply(QUESTION, registry.tools())
    assert [str(request.url) for request in server.requests] == [
        "http://stub/v1/chat/completions",
        "https://api.openai.com/v1/chat/completions",
    ]


def test_a_port_where_nothing_listens_is_named_at_once() -> None:
    where = f"http://127.0.0.1:{free_port()}"
    retrier = Retrier("x", "m", sleep=no_wait)
    with pytest.raises(PlannerError, match=r"cannot reach .*refused.*OPENAI_BASE_URL"):
        OpenAIPlanner("m", base_url=f"{where}/v1", retrier=retrier).reply(
            QUESTION, registry.tools()
        )
    with pytest.raises(PlannerError, match=r"cannot reach .*refused.*GOOGLE_GEMINI_BASE_URL"):
        GeminiPlanner("g", base_url=where, retrier=retrier).reply(QUESTION, registry.tools())


def test_a_server_that_answered_before_is_waited_for() -> None:
    refused = httpx2.ConnectError("no")
    refused.__cause__ = ConnectionRefusedError(111, "Connection refused")
    server = Server(ANSWER, refused, ANSWER)
    model = planner(server)
    for _ in range(2):
        model.reply(QUESTION, registry.tools())
    assert len(server.waits) == 1
    with pytest.raises(PlannerError, match="cannot reach"):
        planner(Server(refused)).reply(QUESTION, registry.tools())


def test_https_on_a_server_that_speaks_http_is_named_at_once() -> None:
    with StubServer([call(("answer", {}))]) as server:
        url = server.openai_url.replace("http:", "https:")
        retrier = Retrier("openai", "m", sleep=no_wait)
        with pytest.raises(PlannerError, match=r"cannot reach https://127.*OPENAI_BASE_URL"):
            OpenAIPlanner("m", base_url=url, retrier=retrier).reply(QUESTION, registry.tools())


def test_a_base_url_without_its_version_gets_a_hint() -> None:
    server = Server(fails(404, "Not Found"))
    with pytest.raises(PlannerError, match=r"OPENAI_BASE_URL \(it usually ends in /v1\)"):
        planner(server, base_url="http://stub").reply(QUESTION, registry.tools())


@pytest.mark.parametrize("proxy", ["foo://me:secret@localhost:1", "http://me:secret@[::1"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    for make in (
        lambda: OpenAIPlanner("m", base_url="http://stub/v1"),
        lambda: GeminiPlanner("g", base_url="http://stub"),
    ):
        with pytest.raises(PlannerError, match="Check HTTP_PROXY, HTTPS_PROXY and ALL") as caught:
            make()
        assert "secret" not in str(caught.value)


def test_the_command_line_says_what_is_wrong_and_exits_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    picture = tmp_path / "a.png"
    Image.new("RGB", (40, 30)).save(picture)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-first\nsecondhalf")
    result = run("ask", str(picture), "dogs", "--planner", "openai:m")
    assert result.exit_code == 3
    assert "a line break inside" in result.output
    assert "secondhalf" not in result.output
