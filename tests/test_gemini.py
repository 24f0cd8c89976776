"""The Gemini planner against a mock transport: the conversation, and what it costs."""

import re
from datetime import date

import numpy as np
import pytest
from PIL import Image

from sam3_agent import Agent, Budget, Message, PlannerError, TokenUsage, ToolCall
from sam3_agent.images import Pixels
from sam3_agent.loop import LAST_TURN
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.pricing import PRICES, Price, known_price
from tests.gemini_fixtures import (
    ANSWER,
    DECLARED,
    MODEL,
    SIGNATURE,
    SYSTEM,
    TWO_CALLS,
    USAGE,
    MockGemini,
    call,
    candidate_body,
    conversation,
    refusal,
    without_pictures,
)


def test_a_question_is_answered_and_replies_go_back_as_they_came(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    content = {
        "role": "model",
        "parts": [
            {"text": "I should look for dogs.", "thought": True, "futureField": {"a_b": [1]}},
            call("segment", "xk3f", phrases=["dog"]),
        ],
    }
    gemini = MockGemini({"candidates": [{"content": content}], "usageMetadata": USAGE}, ANSWER)
    answer = Agent(gemini.planner, segmenter, verifier="none").ask(image, "How many dogs?")

    assert (answer.text, answer.status, answer.numbers) == ("Two dogs.", "answered", (1, 2))
    assert answer.planner == f"gemini:{MODEL}"
    pictures: list[Image.Image] = []
    first, second = (without_pictures(body, pictures) for body in gemini.bodies)
    question = {"role": "user", "parts": [{"inlineData": 1}, {"text": "How many dogs?"}]}
    assert first == {
        "contents": [question],
        "generationConfig": {},
        "systemInstruction": SYSTEM,
        "tools": DECLARED,
    }
    result = next(message for message in answer.messages if message.role == "tool")
    assert second == {
        "contents": [
            {**question, "parts": [{"inlineData": 2}, {"text": "How many dogs?"}]},
            content,
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "xk3f",
                            "name": "segment",
                            "response": {"output": result.text},
                            "parts": [{"inlineData": 3}],
                        }
                    }
                ],
            },
        ],
        "generationConfig": {},
        "systemInstruction": SYSTEM,
        "tools": DECLARED,
    }
    assert [picture.size for picture in pictures] == [(200, 100), (200, 100), (768, 384)]
    assert np.array_equal(np.asarray(pictures[0].convert("RGB")), image)
    assert not np.array_equal(np.asarray(pictures[2].convert("RGB")), image)


def test_older_models_get_pictures_in_the_users_next_turn(image: Pixels) -> None:
    gemini = MockGemini(TWO_CALLS, ANSWER, model="gemini-2.5-flash")
    reply = gemini.reply()
    gemini.reply(*conversation(image[:, :100], reply)[:-1], Message("user", "Go on."))
    pictures: list[Image.Image] = []
    contents = without_pictures(gemini.bodies[1], pictures)["contents"]
    assert contents[2:] == [
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "segment", "response": {"output": "Result 1."}}}
            ],
        },
        {
            "role": "user",
            "parts": [
                {"text": "Picture for segment:"},
                {"inlineData": 1},
                {"inlineData": 2},
                {"text": "Go on."},
            ],
        },
    ]
    assert [picture.size for picture in pictures] == [(100, 100)] * 2


def test_several_results_stand_in_one_content_in_the_order_of_the_calls(image: Pixels) -> None:
    gemini = MockGemini(candidate_body(call("segment", "a"), call("segment", "b")), ANSWER)
    reply = gemini.reply()
    gemini.reply(*conversation(image, reply))
    contents = without_pictures(gemini.bodies[1], [])["contents"]
    no_longer = "(2 pictures of this step no longer shown)"
    first = {"id": "a", "name": "segment", "response": {"output": f"Result 1.\n{no_longer}"}}
    second = {"id": "b", "name": "segment", "response": {"output": "Result 2."}}
    shown = {"parts": [{"inlineData": 1}, {"inlineData": 2}]}
    assert len(contents) == 3
    assert contents[2]["parts"] == [
        {"functionResponse": first},
        {"functionResponse": second | shown},
    ]


@pytest.mark.parametrize(
    ("model", "inside"),
    [
        ("gemini-3.8-flash", True),
        ("gemini-3-pro-preview", True),
        ("gemini-10-flash", True),
        ("models/gemini-flash-latest", True),
        ("gemini-pro-latest", True),
        ("any", True),
        ("gemini-2.5-pro", False),
        ("gemini-2.0-flash-001", False),
        ("gemini-robotics-er-1.5-preview", False),
    ],
)
def test_a_models_name_says_where_pictures_go(image: Pixels, model: str, inside: bool) -> None:
    gemini = MockGemini(candidate_body(call("segment", phrases=["dog"])), ANSWER, model=model)
    gemini.reply(*conversation(image, gemini.reply()))
    contents = gemini.bodies[1]["contents"]
    assert ("parts" in contents[2]["parts"][0]["functionResponse"]) is inside
    assert len(contents) == (3 if inside else 4)
    name = model.removeprefix("models/")
    assert str(gemini.requests[1].url.path) == f"/v1/models/{name}:generateContent"
    assert gemini.planner.name == f"gemini:{name}"


@pytest.mark.parametrize(
    "words",
    [
        "Unable to submit request: `function_response.parts` is not supported for this model.",
        'Invalid JSON payload received. Unknown name "parts" at '
        "'contents[2].parts[0].function_response': Cannot find field.",
        "Multimodal function responses are not supported by this model",
    ],
)
def test_a_server_that_refuses_pictures_in_results_is_obeyed_once_and_for_all(
    image: Pixels, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    gemini = MockGemini(TWO_CALLS, refusal(400, words), ANSWER, ANSWER)
    messages = conversation(image, gemini.reply())
    second = gemini.reply(*messages)
    gemini.reply(*messages)
    inside = [
        len(re.findall('"functionResponse": {[^}]*}, "parts"', str(b).replace("'", '"')))
        for b in gemini.bodies
    ]
    assert inside == [0, 1, 0, 0]
    assert gemini.planner.profile.pictures_in_results is False
    assert gemini.waits == []
    assert caplog.text.count("takes no pictures in function responses") == 1
    assert (second.spent.retries, second.spent.calls, second.spent.images) == (1, 1, 4)


def test_another_complaint_about_results_changes_nothing(image: Pixels) -> None:
    words = "Please ensure that the number of function response parts is equal to the number of "
    gemini = MockGemini(TWO_CALLS, refusal(400, words + "function call parts."))
    messages = conversation(image, gemini.reply())
    with pytest.raises(PlannerError, match="answered 400: Please ensure"):
        gemini.reply(*messages)
    assert gemini.planner.profile.pictures_in_results is True


def test_calls_without_ids_get_new_ones_and_are_answered_without(image: Pixels) -> None:
    gemini = MockGemini(TWO_CALLS, TWO_CALLS, candidate_body(call("segment", "call_1")), ANSWER)
    messages: list[Message] = []
    for _ in range(3):
        reply = gemini.reply(*messages)
        messages = [*messages, *conversation(image, reply)[1 if messages else 0 :]]
    ids = [one.id for message in messages for one in message.tool_calls]
    assert ids == ["call_1", "call_2", "call_3", "call_4", "call_5"]
    gemini.reply(*messages)
    responses = [
        part["functionResponse"]
        for content in gemini.bodies[-1]["contents"]
        for part in content["parts"]
        if "functionResponse" in part
    ]
    assert [response.get("id") for response in responses] == [None] * 4 + ["call_1"]


def test_a_call_written_as_text_is_run_and_answered_as_text(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    text = 'Let me look.\n```json\n{"tool": "segment", "arguments": {"phrases": ["dog"]}}\n```'
    gemini = MockGemini(
        candidate_body({"text": text, "thoughtSignature": SIGNATURE}),
        candidate_body({"text": text}),
        ANSWER,
    )
    answer = Agent(gemini.planner, segmenter, verifier="none").ask(image, "dogs")
    assert (answer.status, len(answer.masks), answer.usage.tool_calls) == ("answered", 2, 3)
    contents = without_pictures(gemini.bodies[2], [])["contents"]
    results = [message.text for message in answer.messages if message.role == "tool"]
    assert contents[1] == {
        "role": "model",
        "parts": [{"text": text, "thoughtSignature": SIGNATURE}],
    }
    assert contents[2] == {
        "role": "user",
        "parts": [{"text": f"Result of segment:\n{results[0]}"}, {"inlineData": 2}],
    }
    ids = [one.id for message in answer.messages for one in message.tool_calls]
    assert len(set(ids)) == 3


def test_what_another_planner_said_is_rebuilt_and_says_so(image: Pixels) -> None:
    calls = (ToolCall("a", "segment", '{"phrases": ["dog"]}'), ToolCall("b", "segment", "[1"))
    foreign = Message("assistant", "Hm.", tool_calls=calls, provider_state={"other": 1})
    gemini = MockGemini(ANSWER)
    gemini.reply(*conversation(image, foreign))
    assert gemini.bodies[0]["contents"][1] == {
        "role": "model",
        "parts": [
            {"text": "Hm."},
            {
                "functionCall": {"id": "a", "name": "segment", "args": {"phrases": ["dog"]}},
                "thoughtSignature": "skip_thought_signature_validator",
            },
            {"functionCall": {"id": "b", "name": "segment", "args": {"arguments": "[1"}}},
        ],
    }
    assert [p["functionResponse"]["id"] for p in gemini.bodies[0]["contents"][2]["parts"]] == [
        "a",
        "b",
    ]


def test_user_messages_in_a_row_are_one_turn_and_silence_is_left_out(image: Pixels) -> None:
    gemini = MockGemini(ANSWER)
    gemini.reply(
        Message("system", "One."),
        Message("system", "Two."),
        Message("user", "What?", (image,)),
        Message("assistant", ""),
        Message("user", "Well?"),
    )
    body = without_pictures(gemini.bodies[0], [])
    assert body["systemInstruction"] == {"parts": [{"text": "One.\n\nTwo."}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"inlineData": 1}, {"text": "What?"}, {"text": "Well?"}]}
    ]


def test_a_question_can_be_asked_without_tools(image: Pixels) -> None:
    gemini = MockGemini(candidate_body({"text": "A dog."}))
    reply = gemini.planner.reply([Message("user", "What?")], [])
    asked = [{"role": "user", "parts": [{"text": "What?"}]}]
    assert gemini.bodies == [{"contents": asked, "generationConfig": {}}]
    assert (reply.text, reply.tool_calls) == ("A dog.", ())


def test_options_are_sent_only_when_given() -> None:
    gemini = MockGemini(ANSWER, max_output_tokens=900, temperature=0.0, thinking_level="low")
    gemini.reply()
    assert gemini.bodies[0]["generationConfig"] == {
        "maxOutputTokens": 900,
        "temperature": 0.0,
        "thinkingConfig": {"thinkingLevel": "LOW"},
    }
    gemini = MockGemini(ANSWER, thinking_budget=0)
    gemini.reply()
    assert gemini.bodies[0]["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 0}}
    gemini = MockGemini(ANSWER)
    gemini.reply()
    assert gemini.bodies[0]["generationConfig"] == {}


def test_pictures_are_bounded_by_max_side(image: Pixels) -> None:
    gemini = MockGemini(ANSWER, max_side=50)
    gemini.reply(Message("user", "What?", (image,)))
    pictures: list[Image.Image] = []
    without_pictures(gemini.bodies[0], pictures)
    assert pictures[0].size == (50, 25)


def test_tool_calls_can_be_asked_for_as_text(image: Pixels, segmenter: FakeSegmenter) -> None:
    written = '{"tool": "answer", "arguments": {"text": "None.", "numbers": []}}'
    gemini = MockGemini(candidate_body({"text": written}), tool_calls="text")
    assert (
        Agent(gemini.planner, segmenter, verifier="none").ask(image, "cats").status == "no_target"
    )
    assert "tools" not in gemini.bodies[0]
    assert "## Tools" in gemini.bodies[0]["systemInstruction"]["parts"][0]["text"]


def test_a_model_without_function_calling_is_asked_for_text(
    image: Pixels, segmenter: FakeSegmenter, caplog: pytest.LogCaptureFixture
) -> None:
    words = "Function calling is not enabled for models/gemma-3-27b-it"
    first = candidate_body({"text": '{"tool": "segment", "arguments": {"phrases": ["dog"]}}'})
    last = candidate_body(
        {"text": '{"tool": "answer", "arguments": {"text": "Two.", "numbers": [1, 2]}}'}
    )
    gemini = MockGemini(refusal(400, words), first, last, model="gemma-3-27b-it")
    answer = Agent(gemini.planner, segmenter, verifier="none").ask(image, "dogs")
    assert (answer.numbers, answer.usage.spent.retries) == ((1, 2), 1)
    assert ["tools" in body for body in gemini.bodies] == [True, False, False]
    assert caplog.text.count("has no native tool calls") == 1


def test_usage_counts_tokens_pictures_bytes_and_cost(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    gemini = MockGemini(
        candidate_body(call("segment", phrases=["dog"])), refusal(500, "again"), ANSWER
    )
    answer = Agent(gemini.planner, segmenter, verifier="none").ask(image, "dogs")
    price = PRICES[MODEL] if date.today() < date(2027, 1, 1) else Price(1.50, 0.15, 7.50)
    assert answer.usage.spent == TokenUsage(
        calls=2,
        retries=1,
        input_tokens=2000,
        cached_tokens=800,
        output_tokens=140,
        reasoning_tokens=100,
        images=5,
        bytes=sum(len(request.content) for request in gemini.requests),
        cost=2 * price.cost(1000, 400, 70),
    )


def test_the_cost_is_known_for_an_alias_and_for_a_price_that_is_given() -> None:
    answers = {**ANSWER, "modelVersion": "gemini-2.5-flash"}
    gemini = MockGemini(answers, model="gemini-flash-latest")
    assert gemini.reply().spent.cost == PRICES["gemini-2.5-flash"].cost(1000, 400, 70)
    gemini = MockGemini(answers, price=(1.0, 0.5, 2.0))
    assert gemini.reply().spent.cost == Price(1.0, 0.5, 2.0).cost(1000, 400, 70)
    gemini = MockGemini({**answers, "modelVersion": "unheard-of"}, model="unheard-of")
    assert gemini.reply().spent.cost is None
    gemini = MockGemini({**answers, "usageMetadata": {"promptTokenCount": "many"}})
    assert gemini.reply().spent.cost is None


def test_a_price_that_is_announced_holds_from_its_day_on() -> None:
    assert known_price("gemini-3.8-flash", date(2026, 12, 31)) == Price(0.75, 0.075, 3.75)
    assert known_price("gemini-3.8-flash", date(2027, 1, 1)) == Price(1.50, 0.15, 7.50)
    assert known_price("gemini-2.5-pro", date(2027, 1, 1)) == Price(1.25, 0.125, 10.00)
    assert known_price("unheard-of") is None


def test_the_last_turn_is_said_after_the_results(image: Pixels, segmenter: FakeSegmenter) -> None:
    gemini = MockGemini(candidate_body(call("segment", phrases=["dog"])), ANSWER)
    Agent(gemini.planner, segmenter, verifier="none", budget=Budget(turns=2)).ask(image, "dogs")
    roles = [content["role"] for content in gemini.bodies[1]["contents"]]
    assert roles == ["user", "model", "user", "user"]
    assert gemini.bodies[1]["contents"][3]["parts"] == [{"text": LAST_TURN}]
