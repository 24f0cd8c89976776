"""Limits of providers' servers on pictures are learned from the text of their refusals."""

import logging
from pathlib import Path

import httpx2
import numpy as np
import pytest

from sam3_agent import Agent, ChecksFinished, Finished, Message, PlannerError
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.recording import start_recording
from sam3_agent.model.replay import load_recording
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.registry import system_prompt, tools
from tests.limited_server import STEPS, asked, pictures_in
from tests.openai_fixtures import (
    ANSWER,
    IMAGE,
    KEY,
    MARKED,
    SEGMENT,
    Server,
    fails,
    model_reply,
    picture_of,
    planner,
    shapes_for_pictures,
    wire_call,
)
from tests.stub_server import (
    StubServer,
    at_most_pictures,
    call,
    limited,
)

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
    server = Server(fails(status, words), SEGMENT, ANSWER)
    model = planner(server)
    agent = Agent(model, segmenter)
    with caplog.at_level(logging.WARNING, "sam3_agent"):
        *events, last = agent.stream(image, "which dog?")
    assert isinstance(last, Finished)
    assert (last.answer.status, last.answer.numbers) == ("answered", (1,))
    assert (len(server.requests), server.waits) == (3, [])
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
    judging = model_reply(None, ("j", "judge", {"verdicts": verdicts}))
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
