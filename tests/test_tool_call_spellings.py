"""Tool calls in the text of a reply, as every family of models spells them."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3_agent import Agent, Tool, ToolError
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.call_markers import MARKERS
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.text_tool_calls import read_calls
from sam3_agent.registry import tools
from sam3_agent.tool import tool_named
from tests.stub_server import Step, StubServer
from tests.tool_call_spellings import NO_CALL, READ, REFUSED, Calls

TOOLS = {tool.name: tool for tool in tools()}


def run(text: str) -> Calls:
    """The calls in a text with their checked arguments; ToolError as in a run."""
    calls: Calls = []
    for call in read_calls(text, list(TOOLS.values())):
        name = tool_named(call.name, TOOLS)
        if name is None:
            raise ToolError(f"there is no tool {call.name!r}")
        checked = TOOLS[name].checked(call.arguments)
        calls.append((name, {key: one for key, one in checked.items() if one is not None}))
    return calls


@pytest.mark.parametrize(("text", "calls"), READ.values(), ids=READ.keys())
def test_a_spelling_is_read(text: str, calls: Calls) -> None:
    assert run(text) == calls


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_understood_is_refused_and_not_run(text: str, expected: str) -> None:
    with pytest.raises(ToolError, match=expected):
        run(text)


@pytest.mark.parametrize("text", NO_CALL.values(), ids=NO_CALL.keys())
def test_what_is_no_call_is_left_alone(text: str) -> None:
    assert run(text) == []


def tags(before: str, parameter: str, after: str) -> Callable[[str, dict[str, Any]], str]:
    """A writer of calls in tags; text is written as it is, all else as JSON."""

    def write(name: str, values: dict[str, Any]) -> str:
        written = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
        inner = "".join(parameter.format(key=k, value=v) for k, v in written.items())
        return before.format(name=name) + inner + after

    return write


def named(form: str) -> Callable[[str, dict[str, Any]], str]:
    return lambda name, values: form.replace("NAME", name).replace("$", json.dumps(values))


def gemma(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{gemma(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(gemma, value)) + "]"
    return f'<|"|>{value}<|"|>' if isinstance(value, str) else json.dumps(value)


def python(name: str, values: dict[str, Any]) -> str:
    return f"[{name}({', '.join(f'{key}={value!r}' for key, value in values.items())})]"


WRITERS: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "Hermes": named('<tool_call>\n{"name": "NAME", "arguments": $}\n</tool_call>'),
    "Mistral": named("[TOOL_CALLS]NAME[ARGS]$"),
    "Kimi K2": named("<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>$"),
    "DeepSeek V3": named(
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n$\n```"
    ),
    "harmony": named("<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>$"),
    "ReAct": named("Thought: so be it.\nAction: NAME\nAction Input: $"),
    "Llama 3.1": named("<function=NAME>$</function>"),
    "a line": named("NAME $"),
    "Llama 4": python,
    "Gemma 4": lambda name, values: f"<|tool_call>call:{name}{gemma(values)}<tool_call|>",
    "Qwen3-Coder": tags(
        "<tool_call>\n<function={name}>\n",
        "<parameter={key}>\n{value}\n</parameter>\n",
        "</function>\n</tool_call>",
    ),
    "MiniMax": tags(
        '<minimax:tool_call><invoke name="{name}">',
        '<parameter name="{key}">{value}</parameter>',
        "</invoke></minimax:tool_call>",
    ),
    "DeepSeek V3.2": tags(
        '<｜DSML｜function_calls><｜DSML｜invoke name="{name}">',
        '<｜DSML｜parameter name="{key}">{value}</｜DSML｜parameter>',
        "</｜DSML｜invoke></｜DSML｜function_calls>",
    ),
    "GLM": tags(
        "<tool_call>{name}\n",
        "<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n",
        "</tool_call>",
    ),
    "Kimi K3": tags(
        '<|open|>call tool="{name}" index="1"<|sep|>',
        '<|open|>argument key="{key}"<|sep|>{value}<|close|>argument<|sep|>',
        "<|close|>call<|sep|>",
    ),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS.keys())
def test_every_tool_is_read_in_every_dialect(
    tool: Tool, write: Callable[[str, dict[str, Any]], str]
) -> None:
    example = tool.example()
    assert run(write(tool.name, example)) == [(tool.name, example)]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<"), max_size=40)
HARD = st.sampled_from(
    [
        "a </tool_call> b",
        "x <tool_call> y",
        'say "hi", it\'s',
        "{[(",
        "<think>",
        "42",
        "null",
        "[1]",
    ]
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(sorted(WRITERS)),
    (TEXTS | HARD).map(str.strip).filter(bool),
    st.lists(st.integers(1, 300), max_size=4),
)
def test_text_and_numbers_come_through_every_dialect_unchanged(
    dialect: str, text: str, numbers: list[int]
) -> None:
    values = {"text": text, "numbers": numbers}
    assert run(WRITERS[dialect]("answer", values)) == [("answer", values)]


@pytest.mark.parametrize("dialect", WRITERS)
def test_a_call_that_is_cut_off_anywhere_is_whole_or_not_run(dialect: str) -> None:
    values = {"text": "Two red kites.", "numbers": [12, 345]}
    text = WRITERS[dialect]("answer", values)
    for end in range(len(text)):
        try:
            calls = run(text[:end])
        except ToolError:
            continue
        assert calls in ([], [("answer", values)]), text[:end]


@pytest.mark.parametrize("dialect", WRITERS)
def test_a_question_is_answered_by_a_model_that_calls_in_text(dialect: str) -> None:
    write = WRITERS[dialect]
    script = [
        Step(text=write("segment", {"phrases": ["old man"]})),
        Step(text=write("answer", {"text": "There are [two](1,2).", "numbers": [1, 2]})),
    ]
    segmenter = FakeSegmenter({"old man": [(5, 5, 30, 40), (50, 5, 80, 40)]})
    with StubServer(script) as server:
        planner = OpenAIPlanner("any", base_url=server.openai_url)
        answer = Agent(planner, segmenter).ask(
            np.zeros((60, 100, 3), np.uint8), "how many old men?"
        )
    assert (answer.status, answer.numbers, answer.text) == ("answered", (1, 2), "There are two.")
    assert answer.usage.tool_errors == 0


PIECES = [
    *MARKERS,
    *("<function=", "<function=segment>", "<function=segment><parameter=phrases>", "</invoke>"),
    *("<tool_call>segment<arg_key>", "<tool_call>look<arg_key>a</arg_key><arg_value>"),
    *('<|tool_call>call:segment{a:[<|"|>', "call:segment{", "\n[segment(", "\nsegment(", "look({"),
    *("to=functions.look ", "Action: look\n", "[TOOL_CALLS]look[ARGS]{", "look ={", "look ```"),
    *("tool: segment\na: b\n", "- a: b\n", "```", "</think>", '{"tool": "segment", '),
    *("{“", "<|a|>", "<think ", "{} ", "<tool_call>{} "),
    *("Observation:\n", "Action: Observation:\n"),
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_time_grows_no_faster_than_a_hostile_text(piece: str) -> None:
    seconds = []
    for size in (50_000, 200_000):
        began = time.process_time()
        read_calls(piece * (size // len(piece)), list(TOOLS.values()))
        seconds.append(time.process_time() - began)
    assert seconds[1] < 8 * seconds[0] + 0.3
    assert seconds[1] < 5
