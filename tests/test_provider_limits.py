"""Limits of providers' servers on roles, tools and histories are learned from refusals."""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from sam3_agent import Agent, Message
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.model.scripted_planner import calling
from sam3_agent.registry import system_prompt, tools
from tests.gemini_fixtures import MockGemini, candidate_body, refusal
from tests.gemini_fixtures import call as gemini_call
from tests.limited_server import IN_TEXT, Wire, asked, no_wait
from tests.openai_fixtures import (
    ANSWER,
    IMAGE,
    KEY,
    QUESTION,
    SEGMENT,
    Server,
    ask,
    declared,
    fails,
    model_reply,
    shapes_for_pictures,
)
from tests.stub_server import (
    StubServer,
    alternating,
    at_most_pictures,
    fault,
    limited,
    no_field,
    no_role,
)

NO_SYSTEM = [
    (400, "System role not supported"),
    (400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
    (400, "prompting with images is incompatible with system messages"),
    (500, "Unexpected role 'system'"),
    (400, "Developer instruction is not enabled for models/gemma-3-27b-it"),
    (400, "This model does not support system prompts"),
    (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
    (400, "Only user and assistant roles are supported!"),
]


@pytest.mark.parametrize(("status", "words"), NO_SYSTEM)
def test_without_a_system_role_the_prompt_begins_the_first_user_message(
    image: Pixels,
    segmenter: FakeSegmenter,
    caplog: pytest.LogCaptureFixture,
    status: int,
    words: str,
) -> None:
    server = Server(fails(status, words), SEGMENT, ANSWER)
    with caplog.at_level(logging.WARNING, "sam3_agent"):
        answer = ask(server, image, segmenter)
    assert (answer.status, answer.numbers) == ("answered", (1,))
    prompt = {"type": "text", "text": f"{system_prompt()}\n\nwhich dog?"}
    question = {"role": "user", "content": [prompt, IMAGE]}
    assert shapes_for_pictures(server.bodies[1]) == {
        "model": "gpt-test",
        "messages": [question],
        "tools": declared(),
    }
    assert shapes_for_pictures(server.bodies[2]["messages"])[0] == question
    assert [record.message for record in caplog.records] == [
        "openai:gpt-test takes no system prompt: it is sent in the first user message now"
    ]


NO_TOOL_ROLE = [
    (400, "Unknown role: tool"),
    (500, "Invalid role: tool"),
    (400, "Unexpected role RoleEnum.tool"),
    (400, "Only user and assistant roles are supported, with an initial optional system message!"),
    (400, "messages[3].role must be one of system, user, assistant, but got tool"),
]


@pytest.mark.parametrize(("status", "words"), NO_TOOL_ROLE)
def test_without_a_tool_role_calls_and_results_are_text(
    image: Pixels, segmenter: FakeSegmenter, status: int, words: str
) -> None:
    done = model_reply('{"tool": "answer", "arguments": {"text": "It.", "numbers": [2]}}')
    server = Server(SEGMENT, fails(status, words), done)
    answer = ask(server, image, segmenter)
    assert (answer.status, answer.numbers) == ("answered", (2,))
    assert "tools" not in server.bodies[2]
    roles = [message["role"] for message in server.bodies[2]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


def test_all_limits_at_once_are_learned_one_after_the_other(
    image: Pixels, segmenter: FakeSegmenter, caplog: pytest.LogCaptureFixture
) -> None:
    rules = [
        no_role("system", "System role not supported"),
        no_field("tools"),
        no_role("tool"),
        alternating(),
        at_most_pictures(1),
    ]
    with caplog.at_level(logging.WARNING, "sam3_agent"):
        answer, bodies, model = asked(image, segmenter, IN_TEXT, *rules)
    assert (answer.status, answer.numbers) == ("answered", (1,))
    assert len(bodies) == 3 + 3  # three steps, and three refusals
    assert len(caplog.records) == 3
    assert [m["role"] for m in bodies[-1]["messages"]] == ["user", "assistant"] * 2 + ["user"]
    assert bodies[-1]["messages"][0]["content"].startswith(system_prompt())
    with StubServer(limited(IN_TEXT, *rules)) as server:
        again = OpenAIPlanner("m", base_url=server.openai_url, api_key=KEY, profile=model.profile)
        assert Agent(again, segmenter, verifier="none").ask(image, "which dog?").numbers == (1,)
        assert len(server.requests) == 3


def test_a_limit_that_several_threads_meet_at_once_is_learned_once() -> None:
    together = threading.Barrier(4, timeout=20)
    lock = threading.Lock()
    bodies: list[Wire] = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        with lock:
            bodies.append(body)
            first = len(bodies) <= 4
        if first:
            together.wait()  # all four are refused before any of them has learned
        roles = [message["role"] for message in body["messages"]]
        if "tool" in roles:
            return fails(400, "Conversation roles must alternate user/assistant/...")
        return ANSWER

    retrier = Retrier("openai", "m", sleep=no_wait)
    client = httpx2.Client(transport=httpx2.MockTransport(serve))
    model = OpenAIPlanner(
        "m", base_url="http://stub/v1", api_key=KEY, retrier=retrier, http_client=client
    )
    made = calling(("segment", {"phrases": ["dog"]}))
    history = [*QUESTION, made, Message("tool", "masks", tool_call_id="call_1")]
    with ThreadPoolExecutor(4) as pool:
        for reply in pool.map(lambda _: model.reply(history, tools()), range(4)):
            assert reply.tool_calls
    assert (model.profile.layout, model.profile.system) == ("rebuilt", True)
    assert len(bodies) == 8


def test_gemini_models_without_system_tools_or_pictures_are_learned_too(
    image: Pixels, segmenter: FakeSegmenter, caplog: pytest.LogCaptureFixture
) -> None:
    model = "gemma-3-1b-it"
    words = '{"tool": "segment", "arguments": {"phrases": ["dog"]}}'
    done = '{"tool": "answer", "arguments": {"text": "The first.", "numbers": [1]}}'
    gemini = MockGemini(
        refusal(400, f"Developer instruction is not enabled for models/{model}"),
        refusal(400, f"Function calling is not enabled for models/{model}"),
        refusal(400, f"Image input modality is not enabled for models/{model}"),
        candidate_body({"text": words}),
        candidate_body({"text": done}),
        model=model,
    )
    agent = Agent(gemini.planner, segmenter)
    answer = agent.ask(image, "which dog?")
    assert (answer.status, answer.numbers) == ("answered", (1,))
    assert gemini.waits == []
    last = gemini.bodies[-1]
    assert set(last) == {"contents", "generationConfig"}
    assert [content["role"] for content in last["contents"]] == ["user", "model", "user"]
    assert last["contents"][0]["parts"][0]["text"].startswith(system_prompt())
    assert "inlineData" not in json.dumps(last)
    assert len(caplog.records) == 3
    assert (gemini.planner.sees, agent.reviewer()) == (False, None)


def test_a_gemini_server_that_takes_one_picture_gets_the_latest(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    gemini = MockGemini(
        candidate_body(gemini_call("segment", phrases=["dog"])),
        refusal(400, "Please use fewer than 2 images in your request to models/gemini-pro-vision"),
        candidate_body(gemini_call("answer", text="One.", numbers=[1])),
    )
    answer = Agent(gemini.planner, segmenter, verifier="none").ask(image, "which dog?")
    assert answer.numbers == (1,)
    assert [json.dumps(body).count("inlineData") for body in gemini.bodies] == [1, 2, 1]
    assert "inlineData" in json.dumps(gemini.bodies[2]["contents"][-1])


def test_a_stub_server_refuses_what_breaks_its_rules() -> None:
    rule = at_most_pictures(0)
    body = {"messages": [{"role": "user", "content": [{"image_url": {"url": "x"}}]}]}
    assert rule(body) == fault(400, words="At most 0 image(s) may be provided in one request.")
    assert no_field("tools")(body) is None
