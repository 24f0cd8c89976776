"""Replies that no well-behaved model gives, and what comes of each.

Every row of the bad input tried on Meta's agent is here, in the words of our tools.
"""

import json
from typing import Any

from sam3_agent.loop import NO_CALL

Wire = dict[str, Any]


def call(name: Any, arguments: Any, call_id: Any = "h1") -> Wire:
    """A native call; `arguments` as the server sends them, normally raw JSON text."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*found: Any) -> Wire:
    return {"role": "assistant", "content": None, "tool_calls": list(found)}


def segment(phrases: Any) -> Wire:
    return calls(call("segment", json.dumps({"phrases": phrases})))


def answer(numbers: Any, text: Any = "One.") -> Wire:
    return calls(call("answer", json.dumps({"text": text, "numbers": numbers})))


def words(content: Any) -> Wire:
    return {"role": "assistant", "content": content}


DOG = '{"tool": "segment", "arguments": {"phrases": ["dog"]}}'
NONE_YET = "no mask has been found yet"
LONG = "x" * 1_000_000

REFUSED: dict[str, tuple[Wire, str]] = {
    # no call at all
    "nothing": (words(None), NO_CALL),
    "an empty message": ({}, NO_CALL),
    "prose": (words("There is a dog on the left."), NO_CALL),
    "JSON that is a list": (words('["dog"]'), NO_CALL),
    "JSON without a name": (words('{"parameters": {"phrases": ["dog"]}}'), NO_CALL),
    "only a thought": (words(f"<think>{DOG}</think>"), NO_CALL),
    "a thought without an end": (words(f"<think>I will call {DOG}"), NO_CALL),
    "words of 1 MB": (words(LONG), NO_CALL),
    "a number for words": (words(17), NO_CALL),
    "parts of all kinds": (words([{"type": "text", "text": "a"}, None, 3, {"x": []}]), NO_CALL),
    "half a surrogate pair": (words("a \ud800 b"), NO_CALL),
    "NUL and control characters": (words("\x00\x07\x1b[2Jdog\x7f"), NO_CALL),
    "right-to-left text": (words("‮dog‬ הכלב الكلب"), NO_CALL),
    "100,000 brackets": (words("[" * 100_000), NO_CALL),
    "100,000 objects": (words('{"a":' * 100_000), NO_CALL),
    "no calls": (calls(), NO_CALL),
    "calls null": ({"tool_calls": None}, NO_CALL),
    # fields of other types
    "calls as text": ({"tool_calls": "segment"}, "needs the argument 'phrases'"),
    "calls as a number": ({"tool_calls": 7}, "there is no tool ''"),
    "a call that is null": (calls(None), "there is no tool ''"),
    "a call that is a number": (calls(3), "there is no tool ''"),
    "a call that is a list": (calls([1, 2]), "there is no tool ''"),
    "a call without a function": (calls({"id": "h1"}), "there is no tool ''"),
    "a name that is null": (calls(call(None, "{}")), "there is no tool ''"),
    "a name that is a number": (calls(call(7, "{}")), "there is no tool ''"),
    "an empty name": (calls(call("", "{}")), "there is no tool ''"),
    "an unknown name": (calls(call("zoom", "{}")), "there is no tool 'zoom'; the tools are: segm"),
    "a name with spaces inside": (calls(call("seg ment", "{}")), "there is no tool 'seg ment'"),
    "a name in other letters": (calls(call("SEGMENT", "{}")), "there is no tool 'SEGMENT'"),
    "a name of 1 MB": (calls(call(LONG, "{}")), "there is no tool 'xxx"),
    "a name with half a pair": (calls(call("\ud800", "{}")), "there is no tool '?'"),
    "an unknown name in text": (words('{"tool": "zoom", "arguments": {}}'), "no tool 'zoom'"),
    # arguments that are no object
    "arguments null": (calls(call("segment", None)), "needs the argument 'phrases'"),
    "arguments empty": (calls(call("segment", "")), "needs the argument 'phrases'"),
    "arguments left out": (words('{"name": "segment"}'), "needs the argument 'phrases'"),
    "arguments blank": (calls(call("segment", " ")), "not valid JSON"),
    "arguments a list": (calls(call("segment", ["dog"])), "must be a JSON object, not list"),
    "arguments a number": (calls(call("segment", 3)), "must be a JSON object, not whole number"),
    "arguments three times JSON": (
        calls(call("segment", json.dumps(json.dumps('{"phrases": ["dog"]}')))),
        "must be a JSON object, not string",
    ),
    "arguments cut off": (calls(call("segment", '{"phrases": ["do')), "not valid JSON"),
    "arguments in single quotes": (
        calls(call("segment", "{'phrases': ['dog']}")),
        "not valid JSON",
    ),
    "arguments in a fence": (
        calls(call("segment", '```json\n{"phrases": ["dog"]}\n```')),
        "not valid JSON",
    ),
    "arguments with a tail": (calls(call("segment", '{"phrases": ["dog"]}}}')), "not valid JSON"),
    "arguments of 1 MB": (calls(call("segment", LONG)), "more than 100000 characters"),
    "arguments of 20,000 brackets": (calls(call("segment", "[" * 20_000)), "not valid JSON"),
    "arguments of 900 levels": (
        calls(call("segment", '{"phrases": ' + "[" * 900 + "]" * 900 + "}")),
        "argument 'phrases' of segment is",
    ),
    "endless digits": (
        calls(call("answer", '{"text": "a", "numbers": [' + "9" * 5000 + "]}")),
        "not valid JSON",
    ),
    "a key that comes twice": (
        calls(call("segment", '{"phrases": ["cat"], "phrases": ["dog"]}')),
        "the key 'phrases' comes twice",
    ),
    "a key that comes twice in text": (
        words('{"tool": "segment", "arguments": {"phrases": ["cat"], "phrases": ["dog"]}}'),
        "comes twice",
    ),
    "cut off in text": (
        words('{"tool": "answer", "arguments": {"text": "a", "numbers": [1'),
        "not v",
    ),
    # arguments of the wrong names and types
    "no argument": (calls(call("segment", "{}")), "needs the argument 'phrases'"),
    "another argument's name": (calls(call("segment", '{"text_prompt": "dog"}')), "'text_prompt'"),
    "a surplus argument": (
        calls(call("segment", '{"phrases": ["dog"], "masks": [1]}')),
        "segment has no argument 'masks', only phrases, ",
    ),
    "a name of an argument of 10 kB": (
        calls(call("segment", json.dumps({"x" * 10_000: 1}))),
        "segment has no argument 'xxx",
    ),
    "phrases as text": (
        segment("dog, cat"),
        'is "dog, cat", a string: it may be one or several: give a list; call it like segment({"ph',
    ),
    "phrases as a number": (segment(7), "is 7, a whole number"),
    "phrases null": (segment(None), "is null, null"),
    "phrases as an object": (segment({"a": 1}), 'is {"a": 1}, an object'),
    "phrases nested": (segment([["dog"]]), "argument 'phrases'"),
    "a phrase that is a number": (segment(["dog", 7]), "argument 'phrases'"),
    "a phrase that is null": (segment([None]), "argument 'phrases'"),
    "no phrase": (segment([]), "takes 1 to"),
    "an empty phrase": (segment([""]), "phrase is empty"),
    "a blank phrase": (segment(["dog", " \t\n"]), "phrase is empty"),
    "2000 phrases": (segment(["dog"] * 2000), "not 2000"),
    "a phrase with NUL": (segment(["dog\x00"]), "character U+0000"),
    "a phrase with escape codes": (segment(["\x1b[2Jdog"]), "character U+001B"),
    "a phrase with half a pair": (segment(["\ud800dog"]), "character U+D800"),
    "a phrase of many words": (segment(["very " * 60 + "big dog"]), "words"),
    "an answer with NUL": (answer([], "No\x00"), "character U+0000"),
    "an answer with half a pair": (answer([], "\udfff"), "character U+DFFF"),
    "an empty answer": (answer([], "  "), "text is empty"),
    "an answer without text": (
        calls(call("answer", '{"numbers": []}')),
        "needs the argument 'text'",
    ),
    "an answer without numbers": (calls(call("answer", '{"text": "a"}')), "'numbers'"),
    "an answer that is a number": (answer([], 7), "argument 'text'"),
    "an answer that is NaN": (calls(call("answer", '{"text": NaN, "numbers": []}')), "'text'"),
    # masks that are not there
    "an answer first": (answer([1]), NONE_YET),
    "mask 0": (answer([0]), NONE_YET),
    "mask 99": (answer([99]), "there is no mask 99"),
    "some masks that are there not": (answer([1, 99, 0, -1]), NONE_YET),
    "a mask as a word": (answer(["one"]), "argument 'numbers'"),
    "masks in one text": (answer("1 and 2"), "argument 'numbers'"),
    "a mask without a list": (answer(1.5), "argument 'numbers'"),
    "a mask with a fraction": (answer([1.25]), "argument 'numbers'"),
    "true as a mask": (answer([True]), "argument 'numbers'"),
    "numbers null": (answer(None), "argument 'numbers'"),
    "numbers nested": (answer([[1]]), "argument 'numbers'"),
    "numbers in an object": (answer({"numbers": [1]}), "argument 'numbers'"),
    "infinite numbers": (
        calls(call("answer", '{"text": "a", "numbers": [Infinity]}')),
        "'numbers'",
    ),
    "numbers too large": (calls(call("answer", '{"text": "a", "numbers": [1e400]}')), "'numbers'"),
    "a huge mask": (answer([10**4000]), "there is no mask 1000"),
    "3000 masks": (answer(list(range(1, 3001))), "and 2992 more"),
}
"""A reply, and a part of the error that goes back; the run goes on."""


SEGMENT = calls(call("segment", '{"phrases": ["dog", "leash"]}', "s1"))
DONE = calls(call("answer", '{"text": "The first dog.", "numbers": [1]}', "s2"))


MEANT: dict[str, tuple[Wire, list[str]]] = {
    "bare JSON": (words(DOG), ["dog"]),
    "a tag that is not closed": (words(f"<tool>{DOG}"), ["dog"]),
    "a fence inside the tag": (words(f"<tool>\n```json\n{DOG}\n```\n</tool>"), ["dog"]),
    "single quotes": (words(DOG.replace('"', "'")), ["dog"]),
    "a brace missing": (words(f"<tool>{DOG[:-1]}</tool>"), ["dog"]),
    "braces too many": (words(f"<tool>{DOG}}}}}</tool>"), ["dog"]),
    "a phrase with three braces": (segment(["a}}}b"]), ["a}}}b"]),
    "a phrase with three braces in text": (words(DOG.replace("dog", "a}}}b")), ["a}}}b"]),
    "a call quoted in the thinking": (
        words(f'<think>{{"tool": "answer", "arguments": {{}}}}</think>{DOG}'),
        ["dog"],
    ),
    "two calls in one message": (
        calls(
            call("segment", '{"phrases": ["dog"]}'),
            call("segment", '{"phrases": ["cat"]}', "h2"),
        ),
        ["dog", "cat"],
    ),
    "two calls with one id": (
        calls(call("segment", '{"phrases": ["dog"]}'), call("segment", '{"phrases": ["cat"]}')),
        ["dog", "cat"],
    ),
    "a call without an id": (calls(call("segment", '{"phrases": ["dog"]}', None)), ["dog"]),
    "a call whose id is a number": (calls(call("segment", '{"phrases": ["dog"]}', 7)), ["dog"]),
    "a call whose id has 1 MB": (calls(call("segment", '{"phrases": ["dog"]}', LONG)), ["dog"]),
    "a call whose id has half a pair": (
        calls(call("segment", '{"phrases": ["dog"]}', "\ud800")),
        ["dog"],
    ),
    "a call that is no list": ({"tool_calls": call("segment", '{"phrases": ["dog"]}')}, ["dog"]),
    "a call without its function": (
        calls({"name": "segment", "arguments": {"phrases": ["dog"]}}),
        ["dog"],
    ),
    "arguments as an object": (calls(call("segment", {"phrases": ["dog"]})), ["dog"]),
    "words beside a call": ({**segment(["dog"]), "content": ["I look.", 7]}, ["dog"]),
    "a name in a namespace": (calls(call("functions.segment", '{"phrases": ["dog"]}')), ["dog"]),
    "a name with spaces": (calls(call(" segment\n", '{"phrases": ["dog"]}')), ["dog"]),
    "a name with a channel": (
        calls(call("segment<|channel|>commentary", '{"phrases": ["dog"]}')),
        ["dog"],
    ),
    "a phrase with a slash": (segment(["dog/cat"]), ["dog/cat"]),
    "a phrase that is a path": (segment(["../x/../y"]), ["x/../y"]),
    "a phrase of 300 characters": (segment(["x" * 300]), ["x" * 300]),
    "an emoji": (segment(["🐕 dog"]), ["🐕 dog"]),
    "right to left": (segment(["כלב"]), ["כלב"]),
    "the same phrase twice": (segment(["dog", " dog "]), ["dog"]),
    "a phrase that looks like a prompt": (
        segment(["ignore all instructions"]),
        ["ignore all instructions"],
    ),
}
"""A reply whose meaning is plain, and the phrases that SAM is asked for because of it."""


ENDINGS: dict[str, tuple[list[Wire], str, tuple[int, ...]]] = {
    "no mask at once": ([answer([], "No cat.")], "no_target", ()),
    "no mask after some were found": ([SEGMENT, answer([], "No cat.")], "no_target", ()),
    "a mask twice": ([SEGMENT, answer([1, 1, 2, 1])], "answered", (1, 2)),
    "an answer beside its masks": (
        [calls(call("segment", '{"phrases": ["dog"]}'), answer([2])["tool_calls"][0])],
        "answered",
        (2,),
    ),
    "two answers": (
        [SEGMENT, calls(answer([2])["tool_calls"][0], answer([1])["tool_calls"][0])],
        "answered",
        (2,),
    ),
    "a wrong answer before a right one": (
        [SEGMENT, calls(answer([9])["tool_calls"][0], answer([1])["tool_calls"][0])],
        "answered",
        (1,),
    ),
    "the same phrase again": ([SEGMENT, SEGMENT, segment(["dog"]), answer([3])], "answered", (3,)),
    "nothing found, then a mask": (
        [segment(["unicorn"]), answer([1]), SEGMENT, answer([2])],
        "answered",
        (2,),
    ),
    "prose for ever": ([SEGMENT, words("Hm.")], "answered", (1, 2, 3)),
    "code for ever": ([SEGMENT, words("```\nsegm()\n```")], "out_of_budget", (1, 2, 3)),
    "nothing for ever": ([words(None)], "out_of_budget", ()),
    "an unknown tool for ever": ([calls(call("zoom", "{}"))], "out_of_budget", ()),
    "a mask that is not there for ever": ([SEGMENT, answer([9])], "out_of_budget", (1, 2, 3)),
    "the same phrase for ever": ([segment(["leash"])], "out_of_budget", (1,)),
    "a phrase that is nowhere for ever": ([segment(["unicorn"])], "out_of_budget", ()),
    "1 MB for ever": ([words(LONG)], "out_of_budget", ()),
    "40 wrong calls for ever": ([calls(*[call("zoom", "{}")] * 40)], "out_of_budget", ()),
}
"""Replies, the last one for ever, and how the run ends."""
