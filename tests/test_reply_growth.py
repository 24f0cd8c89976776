"""The time to read a reply or an error of a model server grows with its length, not faster."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from sam3_agent.mentions import read_mentions
from sam3_agent.model.providers.gemini_format import native_calls as gemini_calls
from sam3_agent.model.providers.gemini_format import read_candidate, tool_calls
from sam3_agent.model.providers.openai_format import native_calls, read_answer
from sam3_agent.model.providers.redaction import Redactor
from sam3_agent.model.providers.refusals import numbers_in, refusals_of
from sam3_agent.model.providers.text_tool_calls import read_calls
from sam3_agent.registry import tools
from sam3_agent.text_answer import answer_text

TOOLS = tools()
SMALL = 15_000
FACTOR = 4
MOST = 8.0
"""Seconds of CPU that no text of 60,000 characters needs, on a slow machine."""

NOISE = 0.08
"""Seconds that a scheduler may add."""

PIECES = [
    *('{"a":', "{}", "[]", "[", "{", "}", '"', "'", "`", "\\", "<", ">", "[{", "{[(", "“", "{/*"),
    *(
        "```\n",
        "```json\n",
        " ",
        "\n",
        "a ",
        "a: b\n",
        "- a: b\n",
        "> * ",
        "1,",
        "&a ",
        "https://a",
    ),
    *("<think>", "</think>", "<tool_call>", "<tool_call>{", "</tool_call>", "<invoke name='a'>"),
    *("<function=segment>", "<function=segment><parameter=phrases>", "<parameter=a>x</parameter>"),
    *("<tool_call>segment<arg_key>a</arg_key>", "<segment><phrases>", "<｜DSML｜ ", "<|open|>"),
    *("[TOOL_CALLS]segment", "functools[", "to=functions.segment ", 'call:segment{a:<|"|>x'),
    *("segment(", "[segment(", "x = segment(\n", "print(segment(", "segment{", "segment [ARGS]"),
    *("Action: segment\nAction Input: x\n", "Action: a[", "Observation:", "tool: segment\n"),
    *('{"tool": "segment", "arguments": {', "{tool: 'segment', }\n", "{'a': 'b', ", "\ud800"),
    *("mask 1, ", "[a](1)", "](", "sk-", "Bearer ", "x@", "image not supported ", "limit 1 image "),
    *("data:image/png;base64,", "must be ", "role tool ", "temperature ", "<style>", "<script "),
]
FAMILIES: dict[str, Callable[[int], str]] = {
    **{piece: lambda n, piece=piece: (piece * (n // len(piece) + 1))[:n] for piece in PIECES},  # type: ignore[misc]
    "distinct keys": lambda n: "{" + ",".join(f'"k{i}":{i}' for i in range(n // 12)) + "}",
    "distinct keys, unquoted": lambda n: "{" + ",".join(f"k{i}:{i}" for i in range(n // 12)) + "}",
    # what json_repair takes the square of its length for, whole and in pieces that it is given
    "a broken list": lambda n: '{"a": ["' + '", "x" y' * (n // 8) + '"]}',
    "broken lists": lambda n: ('{"a": ["' + '", "x" y' * 240 + '"]}\n') * (n // 1930),
    "broken arguments": lambda n: json.dumps(
        [{"tool": "segment", "arguments": '{"a": ["' + '", "x" y' * 240 + '"]}'}] * (n // 2500)
    ),
    "nested lists": lambda n: "[" * (n // 2) + "]" * (n // 2),
    "a call of nested lists": lambda n: "segment(" + "[" * (n // 2) + "]" * (n // 2) + ")",
    "a marker and blanks": lambda n: "<tool_call>" + " " * n + "{",
    "a name and blanks": lambda n: "segment" + " " * n + "(",
    "reasoning and its ends": lambda n: "<think>" * (n // 14) + "</think>" * (n // 16),
}


def chat(text: str) -> Any:
    call = {"id": text, "function": {"name": text, "arguments": text}}
    message = {"content": text, "tool_calls": [call]}
    return native_calls(read_answer(json.dumps({"choices": [{"message": message}]})))


def gemini(text: str) -> Any:
    parts = [{"text": text}, {"functionCall": {"id": text, "name": text, "args": {text: text}}}]
    body = json.dumps({"candidates": [{"content": {"parts": parts}}]})
    return tool_calls(gemini_calls(read_candidate(body).content), ())


READERS: dict[str, Callable[[str], Any]] = {
    "calls in text": lambda text: read_calls(text, TOOLS),
    "the text of an answer": lambda text: read_mentions(answer_text(text)),
    "a refusal": lambda text: (refusals_of(400, text, "model"), numbers_in(text)),
    "keys in an error": lambda text: Redactor("sk-0123456789").exception(ValueError(text)),
    "a response of chat.completions": chat,
    "a response of generateContent": gemini,
}


def seconds(read: Callable[[str], Any], text: str, tries: int) -> float:
    """The least CPU time of so many tries."""
    best = float("inf")
    for _ in range(tries):
        began = time.process_time()
        read(text)
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_four_times_the_text_takes_at_most_five_times_as_long(
    reader: Callable[[str], Any],
) -> None:
    slow = {}
    for name, make in FAMILIES.items():
        # only what seems slow is measured again, then above call_json.MAX_SPAN, where "[segment("
        # takes a step; from 7,500 to 240,000 characters its time is linear below and above that
        for size, tries in ((SMALL, 1), (SMALL, 5), (FACTOR * SMALL, 5)):
            small, large = (seconds(reader, make(n), tries) for n in (size, FACTOR * size))
            if large <= 5 * small + NOISE and large < MOST:
                break
        else:
            slow[name] = (small, large)
    assert not slow
