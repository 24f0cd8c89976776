"""Limits of providers' servers are learned from the text of their refusals; the run goes on."""

import json
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from sam3_agent import Agent, Answer, ChecksFinished, Finished, Message, PlannerError
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.model.recording import load_recording, start_recording
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.registry import system_prompt, tools
from tests.gemini_fixtures import MockGemini, candidate_body, refusal
from tests.gemini_fixtures import call as gemini_call
from tests.stub_server import (
    Rule,
    Step,
    StubServer,
    alternating,
    at_most_pictures,
    call,
    fault,
    limited,
    no_field,
    no_role,
)
from tests.test_openai import (
    ANSWER,
    IMAGE,
    KEY,
    MARKED,
    QUESTION,
    SEGMENT,
    Server,
    ask,
    declared,
    fails,
    picture_of,
    planner,
    says,
    shapes_for_pictures,
    wire_call,
)

Wire = dict[str, Any]

STEPS = [
    call(("segment", {"phrases": ["dog", "leash"]})),
    call(("look", {"numbers": [1, 2]})),
    call(("answer", {"text": "The first dog.", "numbers": [1]})),
]


def in_text(name: str, **arguments: Any) -> Step:
    return Step(json.dumps({"tool": name, "arguments": arguments}))


IN_TEXT = [
    in_text("segment", phrases=["dog", "leash"]),
    in_text("look", numbers=[1, 2]),
    in_text("answer", text="The first dog.", numbers=[1]),
]


def asked(
    image: Pixels, segmenter: FakeSegmenter, script: Sequence[Step], *rules: Rule
) -> tuple[Answer, list[Wire], OpenAIPlanner]:
    """The answer over real HTTP, the bodies of the requests, and the planner."""
    with StubServer(limited(script, *rules)) as server:
        retrier = Retrier("openai", "m", sleep=no_wait)
        model = OpenAIPlanner("m", base_url=server.openai_url, api_key=KEY, retrier=retrier)
        answer = Agent(model, segmenter, verifier="none").ask(image, "which dog?")
        return answer, [request.body for request in server.requests], model


def no_wait(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s")


def pictures_in(body: Wire) -> list[Wire]:
    contents = [m["content"] for m in body["messages"] if isinstance(m["content"], list)]
    return [part for content in contents for part in content if part["type"] == "image_url"]


# One picture in a request


ONE_PICTURE = [
    (400, "At most 1 image(s) may be provided in one request."),
    (400, "At most 1 image(s) may be provided in one prompt."),
    (
        400,
        "You set or defaulted to '{\"image\": 1}' in `--limit-mm-per-prompt`, but passed 2 image "
        "items in the same prompt.",
    ),
    (500, "vision model only supports a single image per message"),
    (400, "Too many images in request. Max is 1."),
    (422, "Image count 2 exceeds limit 1 per request."),
    (400, "Multiple images are not supported by this model"),
    (400, "This model supports up to 1 image"),
    (400, "messages: too many images and documents: 2 + 0 > 1"),
]


@pytest.mark.parametrize(("status", "words"), ONE_PICTURE)
def test_a_server_that_takes_one_picture_gets_the_latest_and_one_warning_is_logged(
    image: Pixels,
    segmenter: FakeSegmenter,
    caplog: pytest.LogCaptureFixture,
    status: int,
    words: str,
) -> None:
    server = Server(SEGMENT, fails(status, words), ANSWER, ANSWER)
    model = planner(server)
    with caplog.at_level(logging.WARNING, "sam3_agent"):
        answer = Agent(model, segmenter, verifier="none").ask(image, "which dog?")
        model.reply(answer.messages[:4], tools())
    assert (answer.status, answer.numbers) == ("answered", (1,))
    first, refused, second, again = (
        shapes_for_pictures(body["messages"]) for body in server.bodies
    )
    system = {"role": "system", "content": system_prompt()}
    question = {"role": "user", "content": [{"type": "text", "text": "which dog?"}, IMAGE]}
    called = [wire_call("c1", "segment", {"phrases": ["dog", "leash"]})]
    made = {"role": "assistant", "content": "", "tool_calls": called}
    result = {"role": "tool", "tool_call_id": "c1", "content": answer.messages[3].text}
    seen = {"role": "user", "content": [{"type": "text", "text": "Picture for c1:"}, MARKED]}
    note = "(1 picture not shown: the server takes too few in one request; see the latest)"
    assert first == [system, question]
    assert refused == [system, question, made, result, seen]
    without = {"role": "user", "content": f"which dog?\n{note}"}
    assert second == again == [system, without, made, result, seen]
    assert [record.message for record in caplog.records] == [
        "openai:gpt-test takes at most 1 picture in a request: only the latest are sent now"
    ]
    assert (answer.usage.spent.calls, answer.usage.spent.retries) == (2, 1)
    assert answer.usage.spent.images == 1 + 2 + 1


def test_the_image_keeps_its_place_beside_the_latest_picture_where_two_are_taken(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    answer, bodies, _ = asked(image, segmenter, STEPS, at_most_pictures(2))
    assert answer.numbers == (1,)
    last = shapes_for_pictures(bodies[-1]["messages"])
    assert [len(pictures_in(body)) for body in bodies] == [1, 2, 3, 2]
    assert last[1]["content"][1] == IMAGE
    assert "(1 picture not shown: " in last[3]["content"]


def test_the_pictures_of_one_message_are_pasted_into_one_where_one_is_taken(
    image: Pixels,
) -> None:
    other = np.full((50, 120, 3), 250, np.uint8)
    message = Message("user", "Which is better?", (image, other))
    server = Server(fails(400, "At most 1 image(s) may be provided in one request."), ANSWER)
    planner(server).reply([message], tools())
    text, part = server.bodies[1]["messages"][0]["content"]
    assert text["text"] == "Which is better?\n(2 pictures, here in one, in their order)"
    picture = picture_of(part).astype(int)
    assert picture.shape == (100 + 12 + 50, 200, 3)
    assert np.abs(picture[:100] - 128).max() <= 4
    assert np.abs(picture[116:, :116] - 250).max() <= 8


def test_a_verifier_that_takes_one_picture_gets_both_of_a_check_in_one(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    verdicts = [{"number": 1, "right": True, "confidence": 1, "reason": "seen"}]
    steps = [STEPS[0], STEPS[2], call(("judge", {"verdicts": verdicts}))]
    with StubServer(limited(steps, at_most_pictures(1))) as server:
        model = OpenAIPlanner("m", base_url=server.openai_url, api_key=KEY)
        events = list(Agent(model, segmenter).stream(image, "which dog?"))
        check = server.requests[-1].body
    assert [e.text for e in events if isinstance(e, ChecksFinished)] == [
        "mask 1: right (1.00): seen"
    ]
    assert len(pictures_in(check)) == 1
    assert "(2 pictures, here in one, in their order)" in check["messages"][1]["content"][0]["text"]


# Roles and tools that a server does not know


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
    done = says('{"tool": "answer", "arguments": {"text": "It.", "numbers": [2]}}')
    server = Server(SEGMENT, fails(status, words), done)
    answer = ask(server, image, segmenter)
    assert (answer.status, answer.numbers) == ("answered", (2,))
    assert "tools" not in server.bodies[2]
    roles = [message["role"] for message in server.bodies[2]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    "words",
    [
        "This model only supports single tool-calls at once!",
        "Tool call id was c1 but must be a-z, A-Z, 0-9, with a length of 9.",
        "After the optional system message, conversation roles must alternate user and assistant "
        "roles except for tool calls and results.",
    ],
)
def test_a_history_that_a_template_cannot_render_is_sent_as_one_message(
    image: Pixels, segmenter: FakeSegmenter, words: str
) -> None:
    server = Server(SEGMENT, fails(400, words), ANSWER)
    assert ask(server, image, segmenter).numbers == (1,)
    assert [m["role"] for m in server.bodies[2]["messages"]] == ["system", "user"]
    assert server.bodies[2]["tools"] == declared()


MORE_NO_TOOLS = [
    (400, "Unrecognized request argument supplied: tools"),
    (400, "Unsupported parameter: 'tool_choice'"),
    (400, "`tools` is not supported in this model. For supported models, see our docs"),
    (400, "Tool calling is not supported with image input"),
    (422, "[{'loc': ['body', 'tools'], 'msg': 'Extra inputs are not permitted'}]"),
    (400, "parallel_tool_calls is not supported"),
]


@pytest.mark.parametrize(("status", "words"), MORE_NO_TOOLS)
def test_tools_that_are_refused_are_described_in_text(
    image: Pixels, segmenter: FakeSegmenter, status: int, words: str
) -> None:
    done = says('{"tool": "answer", "arguments": {"text": "None.", "numbers": []}}')
    server = Server(fails(status, words), done)
    model = planner(server)
    assert Agent(model, segmenter, verifier="none").ask(image, "a cat?").status == "no_target"
    assert ["tools" in body for body in server.bodies] == [True, False]
    assert model.sees


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


# Models that take no pictures


NO_PICTURES = [
    (500, "image input is not supported by this server"),
    (
        500,
        "image input is not supported - hint: if this is unexpected, you may need to provide the "
        "mmproj",
    ),
    (404, "No endpoints found that support image input"),
    (
        400,
        "Failed to deserialize the JSON body into the target type: messages[1]: unknown variant "
        "`image_url`, expected `text` at line 1 column 173667",
    ),
    (400, "this model does not support image input (ref: b8bd630e)"),
    (400, "Invalid content type. image_url is only supported by certain models."),
    (400, "Qwen/Qwen3-8B is not a multimodal model"),
    (400, "Unsupported content part type for text-only server: image_url"),
    (400, "messages[1].content must be a string"),
    (400, "Unexpected item type in content"),
    (500, "this model is missing data required for image input"),
    (503, "image (vision) input is currently disabled on this gateway"),
    (400, "At most 0 image(s) may be provided in one request."),
    (400, "该模型不支持图片输入"),
    (
        422,
        "{'type': 'string_type', 'loc': ['body', 'messages', 1, 'content', 'str'], 'msg': 'Input "
        "should be a valid string', 'input': [{'image_url': {'url': 'data:image/png;base64,AAA'}}]",
    ),
]


@pytest.mark.parametrize(("status", "words"), NO_PICTURES)
def test_a_model_that_takes_no_pictures_goes_on_with_text_and_one_warning_is_logged(
    image: Pixels,
    segmenter: FakeSegmenter,
    caplog: pytest.LogCaptureFixture,
    status: int,
    words: str,
) -> None:
    waits: list[float] = []
    server = Server(fails(status, words), SEGMENT, ANSWER)
    model = planner(server, waits=waits)
    agent = Agent(model, segmenter)
    with caplog.at_level(logging.WARNING, "sam3_agent"):
        *events, last = agent.stream(image, "which dog?")
    assert isinstance(last, Finished)
    assert (last.answer.status, last.answer.numbers) == ("answered", (1,))
    assert (len(server.requests), waits) == (3, [])
    assert [len(pictures_in(body)) for body in server.bodies] == [1, 0, 0]
    user = server.bodies[1]["messages"][1]["content"]
    assert user.startswith("which dog?\n(You cannot be shown the image")
    assert [record.message.split(":")[1] for record in caplog.records] == [
        "gpt-test takes no pictures"
    ]
    assert "multimodal model" in caplog.text
    assert [event.text for event in events if isinstance(event, ChecksFinished)] == [
        "openai:gpt-test takes no pictures, so nothing is verified"
    ]
    assert (model.sees, agent.reviewer()) == (False, None)
    names = [tool["function"]["name"] for tool in server.bodies[2]["tools"]]
    assert names == [tool.name for tool in tools()]  # without verify and check_complete
    assert Agent(model, segmenter).verifier is None


OTHER_REFUSALS = [
    "You uploaded an unsupported image. Please make sure your image has of one the following "
    "formats: ['png', 'jpeg', 'gif', 'webp'].",
    "The provided image format is not supported",
    "Invalid image_url: could not decode image",
    "Your input image may contain content that is not allowed by our safety system.",
    "Unable to process input image. Please retry",
    "The model `gpt-4-vision` is not available",
    "stub",
]


@pytest.mark.parametrize("words", OTHER_REFUSALS)
def test_a_refusal_of_one_picture_or_another_thing_leaves_pictures_on(
    image: Pixels, segmenter: FakeSegmenter, words: str
) -> None:
    model = planner(server := Server(fails(400, words)), model="gpt-4-vision")
    with pytest.raises(PlannerError, match="answered 400"):
        Agent(model, segmenter).ask(image, "which dog?")
    assert (len(server.requests), model.sees) == (1, True)


def test_a_temporary_fault_that_mentions_pictures_is_retried(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    busy = fails(503, "image input is not available now: the vision service is overloaded")
    server = Server(busy, SEGMENT, ANSWER)
    model = planner(server)
    assert Agent(model, segmenter, verifier="none").ask(image, "which dog?").numbers == (1,)
    assert model.sees


def test_a_refusal_that_is_sent_with_status_200_is_learned_too(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    body = {"error": {"message": "No endpoints found that support image input", "code": 404}}
    server = Server(httpx2.Response(200, json=body), SEGMENT, ANSWER)
    model = planner(server)
    assert Agent(model, segmenter, verifier="none").ask(image, "which dog?").numbers == (1,)
    assert (len(server.requests), model.sees) == (3, False)


def test_a_verifier_that_turns_out_to_take_no_pictures_judges_nothing(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    verdicts = [{"number": 1, "right": False, "confidence": 1, "reason": "blind"}]
    judging = says(None, ("j", "judge", {"verdicts": verdicts}))
    server = Server(fails(500, "image input is not supported by this server"), judging)
    first = calling(("answer", {"text": "The first dog.", "numbers": [1]}))
    script = ScriptedPlanner([calling(("segment", {"phrases": ["dog"]})), first])
    *events, last = Agent(script, segmenter, verifier=planner(server)).stream(image, "which dog?")
    assert [event.text for event in events if isinstance(event, ChecksFinished)] == [
        "mask 1: not judged: openai:gpt-test takes no pictures"
    ]
    assert isinstance(last, Finished)
    assert (last.answer.status, last.answer.numbers) == ("answered", (1,))


def test_a_recorded_ask_of_such_a_model_is_replayed(
    image: Pixels, segmenter: FakeSegmenter, tmp_path: Path
) -> None:
    refused = fails(500, "image input is not supported by this server")
    agent = Agent(planner(Server(refused, SEGMENT, ANSWER)), segmenter)
    agent, recording = start_recording(agent, tmp_path, image, "which dog?")
    answer = agent.ask(image, "which dog?")
    recording.finish(answer)
    again, pixels, query = load_recording(tmp_path, segmenter)
    replayed = again.ask(pixels, query)
    assert (replayed.status, replayed.numbers) == (answer.status, answer.numbers)
    assert [m.text for m in replayed.messages] == [m.text for m in answer.messages]


# Sizes


@pytest.mark.parametrize(
    "words",
    [
        "image exceeds 5 MB maximum: 5316852 bytes > 5242880 bytes",
        "At least one of the image dimensions exceed max allowed size: 1200 pixels",
        "Image exceeds the maximum allowed total pixels.",
        "The image size is too large",
    ],
)
def test_a_size_of_pictures_that_is_refused_is_made_smaller_step_by_step(words: str) -> None:
    photo = np.zeros((1000, 2000, 3), np.uint8)
    server = Server(fails(400, words), fails(400, words), ANSWER)
    planner(server).reply([Message("user", "?", (photo,))], tools())
    sides = [picture_of(pictures_in(body)[0]).shape[1] for body in server.bodies]
    assert sides == [1568, 1024, 768]
    with pytest.raises(PlannerError, match="answered 400"):
        planner(Server(*[fails(400, words)] * 4)).reply([Message("user", "?", (photo,))], tools())


# What one thread learns


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


# Gemini


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
