"""Tool calls as text: what models really write is read, and nothing that they write breaks it."""

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sam3_agent import Conclusion, Message, Observation, PromptError, Scene, ToolCall, ToolError
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.text_tool_calls import as_text, instructions, read_calls
from sam3_agent.registry import tools

TOOLS = tools()
SEGMENT, ANSWER = (next(t for t in TOOLS if t.name == name) for name in ("segment", "answer"))
DOG = '{"tool": "segment", "arguments": {"phrases": ["dog"]}}'
DONE = '{"tool": "answer", "arguments": {"text": "One.", "numbers": [1]}}'
SEGMENT_DOG = ("segment", {"phrases": ["dog"]})
ANSWER_ONE = ("answer", {"text": "One.", "numbers": [1]})


def read(text: str) -> list[tuple[str, Any]]:
    """The calls in a text, arguments as values, or as text where they are no JSON."""
    return [(call.name, value_of(call.arguments)) for call in read_calls(text, TOOLS)]


def value_of(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


ONE_CALL = {
    "as asked for": f"```json\n{DOG}\n```",
    "a fence without a language": f"```\n{DOG}\n```",
    "no fence": DOG,
    "a lone closing fence": f"{DOG}\n```",
    "an opening fence only": f"```json\n{DOG}",
    "prose around": f"Let me look for it.\n{DOG}\nThat should do.",
    "prose with an apostrophe": f"I'll look for it; it's there.\n{DOG}",
    "prose with brackets": f"As seen [1], [see below {DOG}",
    "prose with braces": f"I use {{this}} form: {DOG}",
    "a list of one": f"[{DOG}]",
    "pretty printed": json.dumps(json.loads(DOG), indent=4),
    "thinking before": f"<think>Is it a dog?</think>\n{DOG}",
    "a call quoted in the thinking": f"<think>Perhaps {DONE}</think>{DOG}",
    "thinking in capitals": f"<THINKING>{DONE}</THINKING>{DOG}",
    "thinking whose opening is in the prompt": f"Perhaps {DONE}\n</think>\n{DOG}",
    "thinking in brackets": f"[THINK]{DONE}[/THINK]{DOG}",
    "thinking in a channel": f"<|channel|>analysis<|message|>{DONE}<|end|><|message|>{DOG}",
    "surplus braces": f"{DOG}}}}}",
    "a missing brace": DOG[:-1],
    "two missing braces": DOG[:-2],
    "a missing brace in a fence": f"```json\n{DOG[:-1]}\n```",
    "single quotes": "{'tool': 'segment', 'arguments': {'phrases': ['dog']}}",
    "a trailing comma": '{"tool": "segment", "arguments": {"phrases": ["dog",],},}',
    "no quotes at the keys": '{tool: "segment", arguments: {phrases: ["dog"]}}',
    "a missing comma": '{"tool": "segment" "arguments": {"phrases": ["dog"]}}',
    "name and arguments": '{"name": "segment", "arguments": {"phrases": ["dog"]}}',
    "name and parameters": '{"name": "segment", "parameters": {"phrases": ["dog"]}}',
    "action and action_input": '{"action": "segment", "action_input": {"phrases": ["dog"]}}',
    "the wire form": json.dumps(
        {"type": "function", "function": {"name": "segment", "arguments": '{"phrases": ["dog"]}'}}
    ),
    "a list of the wire form": json.dumps(
        {"tool_calls": [{"function": {"name": "segment", "arguments": {"phrases": ["dog"]}}}]}
    ),
    "flat": '{"tool": "segment", "phrases": ["dog"]}',
    "the name as the key": '{"segment": {"phrases": ["dog"]}}',
    "bare arguments": '{"phrases": ["dog"]}',
    "tool_call tags": f"<tool_call>\n{DOG}\n</tool_call>",
    "tool tags": f"<tool>{DOG}</tool>",
    "a tag that is not closed": f"<tool>{DOG[:-1]}",
    "a tag and a missing brace": f"<tool>{DOG[:-1]}</tool>",
    "Python": 'segment(phrases=["dog"])',
    "Python by position": "segment(['dog'])",
    "Python in a fence": '```python\nsegment(phrases=["dog"])\n```',
    "Gemini's Python": '```tool_code\nprint(default_api.segment(phrases=["dog"]))\n```',
    "a function with JSON": 'segment({"phrases": ["dog"]})',
    "a namespace": DOG.replace("segment", "functions.segment"),
}


@pytest.mark.parametrize("text", ONE_CALL.values(), ids=ONE_CALL.keys())
def test_a_call_is_read_however_it_is_written(text: str) -> None:
    ((name, arguments),) = read(text)
    assert (name.removeprefix("functions."), arguments) == SEGMENT_DOG


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{DOG}\n```\n```json\n{DONE}\n```",
        f"{DOG}\n{DONE}",
        f"[{DOG}, {DONE}]",
        f"[{DOG}, {DONE}",
        f"First {DOG}, then {DONE}.",
        f"<tool_call>{DOG}</tool_call>\n<tool_call>{DONE[:-1]}</tool_call>",
        'segment(phrases=["dog"])\nanswer("One.", [1])',
    ],
)
def test_several_calls_are_read_in_order(text: str) -> None:
    assert read(text) == [SEGMENT_DOG, ANSWER_ONE]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I see a dog.",
        "{} [] [1, 2] {",
        '```json\n[{"box_2d": [1, 2, 3, 4], "label": "dog"}]\n```',
        '[{"name": "jack"} {"name": "john"}]',
        f"<think>I could write {DOG}",
        f"<think>{DOG}</think>",
        "You could call segment(['dog']) for that.",
        '{"phrases": ["dog"], "numbers": [1]}',
        "<answer>(696,300),(999,999)</answer>",
    ],
)
def test_what_is_no_call_is_not_read_as_one(text: str) -> None:
    assert read(text) == []


PHRASES = ["a}}}b", "it's", 'a "b" c', "```", "<think>x</think>", "</think>", "{[", "a\\b", "é😀"]


@pytest.mark.parametrize("phrase", PHRASES)
def test_valid_json_is_taken_as_it_stands(phrase: str) -> None:
    text = json.dumps({"tool": "segment", "arguments": {"phrases": [phrase]}})
    assert read(text) == [("segment", {"phrases": [phrase]})]


UNREPAIRABLE = {
    "cut off in a number": DONE[:-4],
    "cut off in a word": DOG[:-6],
    "a key that comes twice": '{"tool": "answer", "arguments": {"text": "a", "text": "b"}}',
    "words left out": '{"tool": "answer", "arguments": {"text": "a", "numbers": [1, 2, ...]',
    "a comment": '{"tool": "answer", /* 1 or 2 */ "arguments": {"text": "a", "numbers": [1]}',
    "endless digits": f'{{"tool": "answer", "arguments": {{"text": "a", "numbers": [{"9" * 5000}]',
    "very long": f'{{"tool": "segment", "arguments": {{"phrases": [{"[" * 30_000}',
    "Python that computes": "answer('a', [1]) + answer('b', [2])",
    "Python with a surplus argument": "answer('a', [1], False, False, [2])",
    "Python with an argument twice": "answer('a', [1], text='b')",
    "Python that names things": "answer('a', numbers)",
}


@pytest.mark.parametrize("text", UNREPAIRABLE.values(), ids=UNREPAIRABLE.keys())
def test_a_repair_that_would_be_a_guess_is_left_to_the_check_of_the_arguments(text: str) -> None:
    (call,) = read_calls(text, TOOLS)
    tool = SEGMENT if call.name == "segment" else ANSWER
    with pytest.raises(
        ToolError, match=r"not valid JSON|more than 100000|argument 'numbers'|argument 'unable'"
    ):
        tool.run(scene(), call.arguments)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ('{"tool": "answer", "arguments": {"text": "a", "numbers": [1 2]}}', [1, 2]),
        ('{"tool": "answer", "arguments": {"text": "say "a" now", "numbers": [12]}}', [12]),
    ],
)
def test_a_repair_keeps_every_number(text: str, numbers: list[int]) -> None:
    ((_, arguments),) = read(text)
    assert arguments["numbers"] == numbers


def test_two_phrases_without_a_comma_do_not_become_one() -> None:
    text = "{'tool': 'segment', 'arguments': {'phrases': ['red car' 'dog']}}"
    assert read(text) == [("segment", {"phrases": ["red car", "dog"]})]


def test_an_unknown_tool_is_read_so_that_the_planner_can_be_told() -> None:
    assert read('{"tool": "zoom", "arguments": {"box": 1}}') == [("zoom", {"box": 1})]


@pytest.mark.parametrize("piece", ["[", '{"a":', "'", '{"a', "{a'", "<think>", "[1,", "{[", "a("])
def test_a_hostile_text_is_read_quickly(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    assert read_calls(text, TOOLS) == []
    assert time.process_time() - began < 5


def test_the_conversation_is_told_in_text_as_the_instructions_ask_for_it() -> None:
    first, second = (
        ToolCall("text_1", *dumped(SEGMENT_DOG)),
        ToolCall("text_1", *dumped(ANSWER_ONE)),
    )
    conversation = [
        Message("system", "You ground."),
        Message("user", "Which dog?"),
        Message("assistant", tool_calls=(first,)),
        Message("tool", "masks 1", tool_call_id="text_1"),
        Message("assistant", "Done.", tool_calls=(second,)),
        Message("tool", "Answered.", tool_call_id="text_1"),
    ]
    system, *rest = as_text(conversation, TOOLS)
    assert system.text == f"You ground.\n\n{instructions(TOOLS)}"
    assert [(message.role, message.text) for message in rest] == [
        ("user", "Which dog?"),
        ("assistant", f"```json\n{DOG}\n```"),
        ("user", "Result of segment:\nmasks 1"),
        ("assistant", "Done."),
        ("user", "Result of answer:\nAnswered."),
    ]
    assert not any(message.tool_calls for message in rest)


def test_the_example_in_the_instructions_is_read_as_a_call_of_the_first_tool() -> None:
    example_call = instructions(TOOLS).split("```")[1]
    assert read(f"```{example_call}```") == [("segment", SEGMENT.example())]


def dumped(call: tuple[str, Any]) -> tuple[str, str]:
    return call[0], json.dumps(call[1])


def scene() -> Scene:
    return Scene(np.zeros((20, 30, 3), np.uint8), FakeSegmenter({"dog": [(1, 1, 9, 9)]}))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
PIECES = st.sampled_from(
    [
        *("{}[]\"'`:,\\<>1 \n"),
        *('"tool"', '"segment"', '"arguments":', '{"phrases": ["dog"]', "null", "answer(", ")"),
        *("<think>", "</think>", "[THINK]", "```json\n", "\ud800", "\x00"),
    ]
)


@settings(deadline=None)
@given(st.text() | st.lists(PIECES | st.text(max_size=3), max_size=40).map("".join))
@example("segment(" + "(" * 500)
@example("answer(1) + answer(2)")
@example("{'a': " + "-" * 5000 + "1}")
def test_no_text_raises(text: str) -> None:
    for call in read_calls(text, TOOLS):
        assert call.name
        assert isinstance(call.arguments, str)


PROSE = st.text(st.characters(exclude_characters="{}[]<", exclude_categories=["Cs"]), max_size=80)
CALLS = st.one_of(
    st.builds(lambda p: ("segment", {"phrases": p}), st.lists(st.text(), min_size=1, max_size=4)),
    st.builds(
        lambda t, n: ("answer", {"text": t, "numbers": n}), st.text(), st.lists(st.integers())
    ),
)


@settings(deadline=None)
@given(PROSE, st.lists(st.tuples(CALLS, PROSE), min_size=1, max_size=3), st.booleans())
def test_valid_calls_in_any_prose_without_brackets_are_read_exactly(
    prose: str, calls: list[tuple[tuple[str, Any], str]], escaped: bool
) -> None:
    text = prose
    for (name, arguments), after in calls:
        call = {"tool": name, "arguments": arguments}
        text += json.dumps(call, ensure_ascii=escaped) + after
    if "</think" not in text.casefold() and "<" not in text and "[THINK]" not in text:
        assert read(text) == [call for call, _ in calls]


ARGUMENTS = st.one_of(
    st.text(),
    JSON_VALUES.map(json.dumps),
    st.fixed_dictionaries({"phrases": JSON_VALUES}).map(json.dumps),
    st.fixed_dictionaries({"text": JSON_VALUES, "numbers": JSON_VALUES}).map(json.dumps),
    st.fixed_dictionaries({"text": st.text(), "numbers": st.lists(st.integers(0, 2))}).map(
        json.dumps
    ),
)


@settings(deadline=None)
@given(ARGUMENTS)
@example('{"text": "a", "numbers": [' + "9" * 5000 + "]}")
@example('{"text": "a", "numbers": [1e400]}')
@example('{"text": "a", "text": "b", "numbers": []}')
@example('{"text": "\\ud800", "numbers": []}')
@example('{"text": "a\\u0000b", "numbers": []}')
@example('{"numbers": ' + "[" * 900 + "]" * 900 + ', "text": "a"}')
@example("[" * 20_000)
@example(" " * 20_001)
def test_any_arguments_of_a_tool_are_run_or_refused_with_one_bounded_line(arguments: str) -> None:
    for tool in TOOLS:
        try:
            result = tool.run(scene(), arguments)
        except (ToolError, PromptError) as error:
            error_text = str(error)
        else:
            assert isinstance(result, (Conclusion, Observation))
            error_text = ""
            json.dumps(result.text, ensure_ascii=False).encode()
        assert len(error_text) < 500
        assert "\n" not in error_text
