"""The OpenAI planner against a mock transport: what is sent, what is read, and what it costs."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx2
import numpy as np
import pytest

from sam3_agent import Message, PlannerError, TokenUsage
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.openai_chat import Profile
from sam3_agent.model.providers.pricing import PRICES, Price
from sam3_agent.model.scripted_planner import calling
from sam3_agent.registry import system_prompt, tools
from tests.openai_fixtures import (
    ANSWER,
    IMAGE,
    KEY,
    MARKED,
    QUESTION,
    SEGMENT,
    USAGE,
    Server,
    ask,
    declared,
    fails,
    model_reply,
    picture_of,
    planner,
    shapes_for_pictures,
    wire_call,
)


def test_the_first_two_requests_are_exactly_these(image: Pixels, segmenter: FakeSegmenter) -> None:
    server = Server(SEGMENT, ANSWER)
    answer = ask(server, image, segmenter)
    assert answer.numbers == (1,)
    assert '"dog": masks 1, 2' in answer.messages[3].text
    for request in server.requests:
        assert (request.method, str(request.url)) == ("POST", "http://stub/v1/chat/completions")
        assert request.headers["authorization"] == f"Bearer {KEY}"
    system = {"role": "system", "content": system_prompt()}
    user = {
        "role": "user",
        "content": [{"type": "text", "text": "which dog?"}, IMAGE],
    }
    first = {
        "model": "gpt-test",
        "messages": [system, user],
        "tools": declared(),
    }
    called = [wire_call("c1", "segment", {"phrases": ["dog", "leash"]})]
    seen = [{"type": "text", "text": "Picture for c1:"}, MARKED]
    second = {
        **first,
        "messages": [
            system,
            user,
            {"role": "assistant", "content": "", "tool_calls": called},
            {"role": "tool", "tool_call_id": "c1", "content": answer.messages[3].text},
            {"role": "user", "content": seen},
        ],
    }
    assert [shapes_for_pictures(body) for body in server.bodies] == [first, second]


def test_the_pictures_are_the_image_and_the_masks_drawn_on_it(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    server = Server(SEGMENT, ANSWER)
    ask(server, image, segmenter)
    original, marked = server.bodies[1]["messages"][1], server.bodies[1]["messages"][4]
    assert np.abs(picture_of(original["content"][1]).astype(int) - image).max() <= 2
    drawn = np.abs(picture_of(marked["content"][1]).astype(int) - 128).max(axis=2) > 25
    assert drawn.shape == (384, 768)
    assert drawn[77:269, 39:230].any(axis=0).all()  # hatched over its whole width
    assert drawn[77:269, 39:230].any(axis=1).all()
    assert not drawn[300:].any()


def test_a_large_image_is_sent_small_and_the_masks_have_its_own_size() -> None:
    photo = np.random.default_rng(0).integers(0, 255, (1500, 3136, 3), np.uint8)
    server = Server(SEGMENT, ANSWER)
    answer = ask(server, photo, FakeSegmenter({"dog": [(0, 0, 3000, 1400)]}))
    assert picture_of(server.bodies[0]["messages"][1]["content"][1]).shape == (750, 1568, 3)
    assert answer.masks.dense().shape == (1, 1500, 3136)
    server = Server(ANSWER)
    planner(server, max_side=500).reply([Message("user", "?", (photo,))], tools())
    assert picture_of(server.bodies[0]["messages"][0]["content"][1]).shape == (239, 500, 3)


def test_several_calls_in_one_turn_are_answered_by_their_ids_and_pictures_follow_the_last(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    both = model_reply(
        "Looking.", ("a", "segment", {"phrases": ["dog"]}), ("b", "segment", {"phrases": ["leash"]})
    )
    server = Server(both, ANSWER)
    ask(server, image, segmenter)
    reply, first, second, seen = shapes_for_pictures(server.bodies[1]["messages"][2:])
    assert reply["content"] == "Looking."
    assert [call["id"] for call in reply["tool_calls"]] == ["a", "b"]
    assert [(one["role"], one["tool_call_id"]) for one in (first, second)] == [
        ("tool", "a"),
        ("tool", "b"),
    ]
    assert seen["content"] == [
        {"type": "text", "text": "Picture for a:"},
        MARKED,
        {"type": "text", "text": "Picture for b:"},
        MARKED,
    ]


def test_ids_that_are_missing_or_come_again_are_made_unique() -> None:
    calls = [wire_call("c1", "segment", {}), wire_call("c1", "segment", {}), {"function": {}}]
    choice = {"message": {"tool_calls": calls}}
    reply = planner(Server(httpx2.Response(200, json={"choices": [choice]}))).reply(
        [*QUESTION, calling(("segment", {})), Message("tool", "x", tool_call_id="call_1")], tools()
    )
    ids = [call.id for call in reply.tool_calls]
    assert ids[0] == "c1"
    assert len({*ids, "call_1"}) == 4


def test_only_the_latest_pictures_are_sent_and_older_ones_become_words(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    looks = [model_reply(None, (f"c{n}", "segment", {"phrases": ["dog"]})) for n in range(4)]
    server = Server(*looks, ANSWER)
    answer = ask(server, image, segmenter)
    sent = json.dumps(shapes_for_pictures(server.bodies[4]["messages"]))
    assert (sent.count(IMAGE), sent.count(MARKED)) == (1, 2)
    assert sent.count("no longer shown") == 2
    assert answer.usage.spent.images == 1 + 2 + 3 + 3 + 3


def test_options_are_sent_only_when_given() -> None:
    server = Server(ANSWER, ANSWER)
    planner(server).reply(QUESTION, tools())
    assert set(server.bodies[0]) == {"model", "messages", "tools"}
    options: dict[str, Any] = {"max_output_tokens": 50, "temperature": 0, "reasoning_effort": "low"}
    planner(server, **options).reply(QUESTION, tools())
    more = {"max_completion_tokens": 50, "temperature": 0, "reasoning_effort": "low"}
    assert server.bodies[1] == {**server.bodies[0], **more}


@pytest.mark.parametrize(
    ("model", "price", "cost"),
    [
        ("gpt-5.4", None, (600 * 2.5 + 400 * 0.25 + 200 * 15) / 1e6),
        ("mine", Price(1, 0.5, 2), (600 * 1 + 400 * 0.5 + 200 * 2) / 1e6),
        ("mine", (1, 0.5, 2), (600 * 1 + 400 * 0.5 + 200 * 2) / 1e6),
        ("mine", None, None),
    ],
)
def test_tokens_bytes_and_the_cost_are_told(model: str, price: Any, cost: float | None) -> None:
    server = Server(model_reply("hm", **USAGE))
    spent = planner(server, model=model, price=price).reply(QUESTION, tools()).spent
    assert spent.cost == (None if cost is None else pytest.approx(cost))
    assert replace(spent, cost=None) == TokenUsage(
        calls=1,
        input_tokens=1000,
        cached_tokens=400,
        output_tokens=200,
        reasoning_tokens=150,
        bytes=len(server.requests[0].content),
        cost=None,
    )


@pytest.mark.parametrize(
    "usage",
    [
        *(None, [], "many", {"prompt_tokens": "7"}, {"prompt_tokens": 10**400}),
        *({"prompt_tokens": -1, "completion_tokens": True}, {"prompt_tokens": 1.5}),
        {"prompt_tokens": 0, "prompt_tokens_details": 3},
    ],
)
def test_a_usage_that_makes_no_sense_counts_nothing_and_the_cost_is_unknown(usage: Any) -> None:
    body = {"choices": [{"message": {"content": "hm"}}], "usage": usage}
    spent = (
        planner(Server(httpx2.Response(200, json=body)), model="gpt-5.4").reply(QUESTION, ()).spent
    )
    assert (spent.calls, spent.input_tokens, spent.output_tokens, spent.cost) == (1, 0, 0, None)


def test_every_price_is_in_order() -> None:
    for model, price in PRICES.items():
        assert 0 < price.cached < price.input < price.output, model


# Servers that want to be spoken to in another way

NO_TOOLS = [
    (400, "registry.ollama.ai/library/llava:7b does not support tools"),
    (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    (404, "No endpoints found that support tool use."),
    (500, "tools param requires --jinja flag"),
    (400, "Function calling is not enabled for this model"),
    (400, "Unrecognized request argument supplied: tools"),
    (400, "Unsupported parameter: 'tool_choice'"),
    (400, "`tools` is not supported in this model. For supported models, see our docs"),
    (400, "Tool calling is not supported with image input"),
    (422, "[{'loc': ['body', 'tools'], 'msg': 'Extra inputs are not permitted'}]"),
    (400, "parallel_tool_calls is not supported"),
]


@pytest.mark.parametrize(("status", "words"), NO_TOOLS)
def test_a_server_without_tools_is_asked_for_text_from_then_on_and_it_is_said_once(
    image: Pixels,
    segmenter: FakeSegmenter,
    caplog: pytest.LogCaptureFixture,
    status: int,
    words: str,
) -> None:
    written = '```json\n{"tool": "segment", "arguments": {"phrases": ["dog"]}}\n```'
    done = 'So:\n{"tool": "answer", "arguments": {"text": "It is here.", "numbers": [2]}}'
    server = Server(fails(status, words), model_reply(written), model_reply(done))
    with caplog.at_level(logging.WARNING, "sam3_agent"):
        answer = ask(server, image, segmenter)
    assert answer.numbers == (2,)
    assert (answer.usage.spent.calls, answer.usage.spent.retries) == (2, 1)
    assert ["tools" in body for body in server.bodies] == [True, False, False]
    assert [record.message for record in caplog.records] == [
        "openai:gpt-test has no native tool calls: they are now asked for as text"
    ]
    system, _, reply, result = server.bodies[2]["messages"]
    assert "Call a tool by writing one JSON object" in system["content"]
    assert reply == {"role": "assistant", "content": written}
    assert result["role"] == "user"
    assert result["content"][0]["text"].startswith('Result of segment:\n"dog": masks 1, 2')
    assert picture_of(result["content"][-1]).shape == (384, 768, 3)


def test_text_calls_may_be_asked_for_from_the_start() -> None:
    server = Server(model_reply("hm"))
    planner(server, tool_calls="text").reply(QUESTION, tools())
    assert set(server.bodies[0]) == {"model", "messages"}


@pytest.mark.parametrize(
    "words",
    [
        "Unexpected role 'user' after role 'tool'",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "After the optional system message, conversation roles must alternate user and assistant "
        "roles except for tool calls and results.",
        "This model only supports single tool-calls at once!",
        "Tool call id was c1 but must be a-z, A-Z, 0-9, with a length of 9.",
    ],
)
def test_a_server_that_refuses_the_roles_gets_one_message_with_everything(
    image: Pixels, segmenter: FakeSegmenter, words: str
) -> None:
    server = Server(SEGMENT, fails(400, words), ANSWER)
    answer = ask(server, image, segmenter)
    assert answer.numbers == (1,)
    system, user = shapes_for_pictures(server.bodies[2]["messages"])
    assert (system["role"], user["role"]) == ("system", "user")
    text, *pictures = user["content"]
    called = 'You called segment({"phrases": ["dog", "leash"]})'
    assert text["text"] == f"which dog?\n{called}\nResult: {answer.messages[3].text}"
    assert pictures == [IMAGE, MARKED]
    assert server.bodies[2]["tools"] == server.bodies[0]["tools"]


@pytest.mark.parametrize(
    ("refused", "words", "sent"),
    [
        (
            "max_completion_tokens",
            "Unrecognized request argument supplied: max_completion_tokens",
            {"max_tokens": 9, "temperature": 0.5},
        ),
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            {"max_completion_tokens": 9, "temperature": 0.5},
        ),
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0.5 with this model.",
            {"max_completion_tokens": 9},
        ),
    ],
)
def test_a_parameter_that_is_refused_is_left_out_or_renamed_from_then_on(
    refused: str, words: str, sent: dict[str, Any]
) -> None:
    server = Server(fails(400, words), ANSWER, ANSWER)
    profile = Profile(limit_name="max_tokens") if refused == "max_tokens" else None
    model = planner(server, max_output_tokens=9, temperature=0.5, profile=profile)
    for _ in range(2):
        model.reply(QUESTION, ())
    first, *later = server.bodies
    assert refused in first
    for body in later:
        assert {k: v for k, v in body.items() if k not in ("model", "messages")} == sent


def test_the_same_refusal_again_is_an_error_and_no_loop() -> None:
    server = Server(*[fails(400, "Unsupported: max_completion_tokens, max_tokens")] * 9)
    with pytest.raises(PlannerError, match="answered 400"):
        planner(server, max_output_tokens=9).reply(QUESTION, ())
    assert len(server.requests) <= 3


TOO_LONG = [
    (400, "This model's maximum context length is 8192 tokens. However, your messages ..."),
    (400, "the request exceeds the available context size, try increasing it"),
    (413, "Payload Too Large"),
    (500, "input is too long for requested model"),
]


@pytest.mark.parametrize(("status", "words"), TOO_LONG)
def test_a_context_that_is_too_long_is_sent_again_once_without_older_pictures(
    image: Pixels, segmenter: FakeSegmenter, status: int, words: str
) -> None:
    server = Server(SEGMENT, fails(status, words), ANSWER)
    assert ask(server, image, segmenter).numbers == (1,)
    before, after = (json.dumps(shapes_for_pictures(body)) for body in server.bodies[1:])
    assert [body.count(IMAGE) + body.count(MARKED) for body in (before, after)] == [2, 1]
    assert "(1 picture of this step no longer shown)" in after

    server = Server(SEGMENT, fails(status, words), fails(status, words))
    with pytest.raises(PlannerError, match=f"gpt-test answered {status}"):
        ask(server, image, segmenter)
    assert len(server.requests) == 3


def test_two_limits_a_fault_and_a_broken_call_end_well_and_are_counted(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    limited = fails(429, headers={"Retry-After": "2"})
    broken = httpx2.Response(
        200,
        json={
            "choices": [
                {
                    "message": {
                        "tool_calls": [
                            {"id": "c0", "function": {"name": "segment", "arguments": '{"phr'}}
                        ]
                    }
                }
            ],
            "usage": USAGE,
        },
    )
    server = Server(limited, limited, fails(500), broken, SEGMENT, ANSWER)
    answer = ask(server, image, segmenter, model="gpt-5.4")
    assert (answer.status, answer.numbers) == ("answered", (1,))
    usage = answer.to_dict()["usage"]
    assert server.waits[:2] == [2, 2]
    assert {name: usage[name] for name in ("turns", "calls", "retries", "tool_calls")} == {
        "turns": 3,
        "calls": 3,
        "retries": 3,
        "tool_calls": 3,
    }
    assert (usage["tool_errors"], usage["input_tokens"], usage["output_tokens"]) == (1, 1000, 200)
    assert usage["images"] == 3 + 1 + 1 + 2
    assert usage["bytes"] == sum(len(request.content) for request in server.requests)
    expected = server.bodies[4]["messages"][-1]["content"]
    assert expected.startswith("Error: the arguments of segment are not valid JSON")


def test_a_call_that_was_broken_is_sent_back_as_json_that_strict_servers_read() -> None:
    hostile: Sequence[tuple[str, str]] = [
        ("a b.c", '{"x'),
        ("", ""),
        ("x" * 90, "[1]"),
        ("segment", '{"phrases": [NaN]}'),
    ]
    server = Server(ANSWER)
    planner(server).reply([*QUESTION, calling(*hostile)], tools())
    functions = [call["function"] for call in server.bodies[0]["messages"][-1]["tool_calls"]]
    assert [function["name"] for function in functions] == ["a_b_c", "unknown", "x" * 64, "segment"]
    assert [json.loads(function["arguments"]) for function in functions] == [
        {"malformed": '{"x'},
        {},
        {"malformed": "[1]"},
        {"malformed": '{"phrases": [NaN]}'},
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "thinking"}, "b", None, 7], "a\nb"),
        ({"text": "a"}, "a"),
        (7, ""),
        (None, ""),
    ],
)
def test_the_words_of_a_reply_may_come_in_parts(content: Any, text: str) -> None:
    choice = {"message": {"content": content}}
    server = Server(httpx2.Response(200, json={"choices": [choice]}))
    assert planner(server).reply(QUESTION, tools()).text == text
