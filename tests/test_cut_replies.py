"""Replies that end in the middle, and models that call no tools: what is done about them."""

import json
from typing import Any

import httpx2
import pytest

from sam3_agent import Agent, Answer
from sam3_agent.images import Pixels
from sam3_agent.loop import CUT, NO_CALL
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.planner import Planner
from tests.gemini_fixtures import MockGemini, candidate_body
from tests.gemini_fixtures import call as gemini_call
from tests.openai_fixtures import ANSWER, SEGMENT, Server, planner

WORDS = "The dog on the left is not"
DONE = {"text": "The first dog.", "numbers": [1]}


def chat_reply(text: str = "", *calls: tuple[str, str], reason: str = "length") -> httpx2.Response:
    """A reply of chat.completions; the arguments of a call are raw text."""
    made = [
        {"id": f"c{i}", "type": "function", "function": {"name": name, "arguments": raw}}
        for i, (name, raw) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": text, **({"tool_calls": made} if made else {})}
    return httpx2.Response(
        200, json={"choices": [{"index": 0, "message": message, "finish_reason": reason}]}
    )


def asked(model: Planner, image: Pixels, segmenter: FakeSegmenter) -> Answer:
    return Agent(model, segmenter, verifier="none").ask(image, "which dog?")


def texts(answer: Answer, role: str) -> list[str]:
    return [message.text for message in answer.messages if message.role == role]


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS"])
def test_a_cut_sentence_is_never_an_answer(
    reason: str, image: Pixels, segmenter: FakeSegmenter
) -> None:
    cut = chat_reply(WORDS, reason=reason)
    server = Server(SEGMENT, cut, cut, cut, ANSWER)
    answer = asked(planner(server), image, segmenter)
    assert (answer.status, answer.text, answer.numbers) == ("answered", "The first dog.", (1,))
    assert texts(answer, "user").count(CUT) == 3
    assert WORDS in texts(answer, "assistant")


def test_a_gemini_sentence_that_is_cut_is_never_an_answer(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    cut = candidate_body({"text": WORDS}, reason="MAX_TOKENS")
    gemini = MockGemini(cut, cut, candidate_body(gemini_call("answer", text="No.", numbers=[])))
    answer = asked(gemini.planner, image, segmenter)
    assert (answer.status, answer.text) == ("no_target", "No.")
    assert texts(answer, "user").count(CUT) == 2


def test_a_model_that_is_always_cut_ends_with_what_to_do(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    answer = asked(planner(Server(*[chat_reply(WORDS)] * 4)), image, segmenter)
    assert answer.status == "out_of_budget"
    assert "its reply was cut off: allow more output tokens (max_output_tokens)" in answer.text
    assert WORDS not in answer.text


@pytest.mark.parametrize("raw", ['{"text": "The fir', '{"text": "The first", "numbers": [1', "{"])
def test_a_call_without_an_end_is_asked_for_again(
    raw: str, image: Pixels, segmenter: FakeSegmenter
) -> None:
    server = Server(SEGMENT, chat_reply("", ("answer", raw)), ANSWER)
    answer = asked(planner(server), image, segmenter)
    assert (answer.status, answer.numbers) == ("answered", (1,))
    assert texts(answer, "user").count(CUT) == 1
    assert answer.usage.tool_errors == 0


def test_the_whole_calls_before_one_without_an_end_are_run(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    cut = chat_reply("", ("segment", '{"phrases": ["dog"]}'), ("segment", '{"phrases": ["lea'))
    answer = asked(planner(Server(cut, ANSWER)), image, segmenter)
    assert (answer.status, segmenter.asked, answer.usage.tool_errors) == ("answered", ["dog"], 0)
    assert CUT not in texts(answer, "user")


def test_a_call_in_text_without_an_end_is_asked_for_again(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    whole = json.dumps({"tool": "answer", "arguments": {"text": "None.", "numbers": []}})
    cut = chat_reply(f"```json\n{whole[:50]}")
    server = Server(cut, chat_reply(f"```json\n{whole}\n```", reason="stop"))
    answer = asked(planner(server, tool_calls="text"), image, segmenter)
    assert (answer.status, answer.text) == ("no_target", "None.")
    assert texts(answer, "user").count(CUT) == 1


SILENT: dict[str, Any] = {
    "empty": ("", "wrote ''"),
    "only code": ("```\nsegm()\n```", "wrote '``` segm() ```'"),
    "long": ("{" * 5000, "{{{…'"),
}


@pytest.mark.parametrize(("words", "shown"), SILENT.values(), ids=SILENT.keys())
def test_of_a_model_without_tool_calls_its_words_and_the_way_out_are_shown(
    words: str, shown: str, image: Pixels, segmenter: FakeSegmenter
) -> None:
    silent = chat_reply(words, reason="stop")
    answer = asked(planner(Server(*[silent] * 4)), image, segmenter)
    assert answer.status == "out_of_budget"
    assert "4 mistakes in a row (the last: it called no tool and " in answer.text
    assert shown in answer.text
    assert "may lack tool calls: try --tool-calls text" in answer.text
    assert len(answer.text) < 700
    # where they are asked for as text, or a tool was called before, that is not the reason
    answer = asked(planner(Server(*[silent] * 4), tool_calls="text"), image, segmenter)
    assert "--tool-calls text" not in answer.text
    answer = asked(planner(Server(SEGMENT, *[silent] * 4)), image, segmenter)
    assert "--tool-calls text" not in answer.text


def test_prose_that_is_taken_for_an_answer_says_so_too(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    prose = chat_reply("A dog sits on the left.", reason="stop")
    answer = asked(planner(Server(prose, prose)), image, segmenter)
    assert (answer.status, texts(answer, "user").count(NO_CALL)) == ("no_target", 1)
    assert answer.text.startswith("A dog sits on the left.")
    assert "may lack tool calls: try --tool-calls text" in answer.text
