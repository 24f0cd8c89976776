"""The planner of a bare machine: it reads simple referring expressions, without any model."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sam3_agent.errors import PlannerError
from sam3_agent.messages import Message, ToolCall
from sam3_agent.model.english.geometry import Thing
from sam3_agent.model.english.grammar import read
from sam3_agent.model.english.interpretation import Findings, phrases
from sam3_agent.model.english.queries import (
    THING,
    Color,
    Concept,
    Exists,
    Query,
    Union,
    Unreadable,
    concepts,
)
from sam3_agent.model.english.wording import Wording
from sam3_agent.tool import Tool

PHRASES_PER_CALL = 16
"""`segment` takes no more at once; what is over goes into further calls of the same turn."""

MAIN_COLOR = 0.6
"""A second colour is named when it covers at least this much of what the first does."""

UNREADABLE = (
    "The offline planner cannot read this question. {reason} It stands in for a multimodal LLM "
    'with a small grammar for questions such as "the leftmost red car", "all dogs except the brown '
    'one" or "how many apples are there?". For any other question choose an MLLM with --planner '
    "openai:MODEL or --planner gemini:MODEL, or set SAM3_AGENT_PLANNER."
)


class OfflinePlanner:
    """A stand-in for a multimodal LLM that needs no network, no key and no weights.

    It reads English referring expressions with the explicit grammar of `grammar`, asks `segment`
    for all concepts in them at once, and chooses among the masks by geometry. It never sees the
    picture, so that it cannot check a mask, tell what somebody does, or try another word; a
    question beyond its grammar it refuses in its answer.

    It keeps nothing: every reply is made from the conversation alone.
    """

    name = "offline"
    sees = False

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """Calls of `segment` for all concepts of the question, of `measure` if it is about
        colours, then one of `answer`.

        Raises PlannerError when there is no question or one of these tools is missing, and when an
        answer was refused.
        """
        for name in ("segment", "answer"):
            if name not in {tool.name for tool in tools}:
                raise PlannerError(f"the offline planner needs the tool {name!r}")
        at = _last_question(messages)
        question = messages[at]
        _check_no_refusal(messages[at:])
        before = tuple((question.data or {}).get("answered", ()))
        query = read(follow_up(question.text) if before else question.text)
        if isinstance(query, Unreadable):
            return _answer(UNREADABLE.format(reason=query.reason), (), unable=True)
        wanted = tuple(
            dict.fromkeys(p for concept in concepts(query.what) for p in phrases(concept))
        )
        found, size = _found(_results(messages, "segment"))
        results = _results(messages[at:], "segment")
        if before and Concept(THING) in concepts(query.what):
            # "the ones on the left" of a follow-up question are those of the last answer
            same = {thing.number: thing for things in found.values() for thing in things}
            meant = tuple(same[number] for number in before if number in same)
            found |= dict.fromkeys(phrases(Concept(THING)), meant)
        missing = [phrase for phrase in wanted if phrase not in found]
        if not missing:
            findings = Findings(found, size)
            numbers = [thing.number for thing in findings.things(query.what)]
            colors = _colors(_results(messages, "measure"))
            if isinstance(query, Color) and not colors.keys() >= set(numbers):
                return _measure(numbers, messages[at:], tools)
            return _conclude(query, findings, colors)
        failed = next((result.text for result in results if result.data is None), None)
        if failed is not None:
            return _answer(f"I could not look for {_quoted(missing)}. {failed}", (), unable=True)
        if results:
            raise PlannerError(f"the tool 'segment' said nothing about {_quoted(missing)}")
        if messages[-1] is not question:
            text = f"I had no turn left to look for {_quoted(missing)}."
            return _answer(text, (), unable=True)
        return _look_for(missing)


def follow_up(text: str) -> str:
    """A question that follows an answer, as if it stood alone: "now only those on the left"."""
    text = re.sub(r"^((and|now|then|but|ok|okay)\b,? *)+", "", text.strip(), flags=re.IGNORECASE)
    text = re.sub(r"^(only|just) +", "", text, flags=re.IGNORECASE)
    return re.sub(r"\b(those|these|them|they)\b", "the ones", text, flags=re.IGNORECASE)


def _last_question(messages: Sequence[Message]) -> int:
    """Where the question is that is to be answered: the last one that is marked as a question."""
    asked = [i for i, m in enumerate(messages) if m.role == "user"]
    if not asked:
        raise PlannerError("there is no question: the conversation has no user message")
    marked = [i for i in asked if "question" in (messages[i].data or {})]
    return marked[-1] if marked else asked[0]


def _conclude(query: Query, findings: Findings, colors: Mapping[int, str]) -> Message:
    things = findings.things(query.what)
    if isinstance(query, Exists) and len(things) < query.least:
        things = ()
    elif isinstance(query, Exists) and query.every and isinstance(query.what, Union):
        things = things if all(findings.things(part) for part in query.what.parts) else ()
    return _answer(Wording(findings, colors).answer(query), [thing.number for thing in things])


def _measure(numbers: Sequence[int], messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
    """A call of `measure`; an answer without it when it was called in vain or is not there."""
    if "measure" not in {tool.name for tool in tools} or _results(messages, "measure"):
        return _answer("I could not measure the colours.", numbers)
    arguments = json.dumps({"numbers": list(numbers)})
    return Message("assistant", tool_calls=(ToolCall("measure_1", "measure", arguments),))


def _colors(results: Sequence[Message]) -> dict[int, str]:
    """The main colours of masks by number, as `measure` told them: "red", or "red and white"."""
    out = {}
    for mask in (mask for result in results if result.data for mask in result.data["masks"]):
        shares = sorted(mask["colors"].items(), key=lambda item: -item[1])
        main = [name for name, share in shares if share >= MAIN_COLOR * shares[0][1]]
        out[int(mask["number"])] = " and ".join(main[:2])
    return out


def _look_for(phrases: Sequence[str]) -> Message:
    chunks = [
        phrases[begin : begin + PHRASES_PER_CALL]
        for begin in range(0, len(phrases), PHRASES_PER_CALL)
    ]
    calls = tuple(
        ToolCall(f"segment_{number}", "segment", json.dumps({"phrases": list(chunk)}))
        for number, chunk in enumerate(chunks, 1)
    )
    return Message("assistant", tool_calls=calls)


def _answer(text: str, numbers: Sequence[int], *, unable: bool = False) -> Message:
    values = {"text": text, "numbers": list(numbers)} | ({"unable": True} if unable else {})
    arguments = json.dumps(values, ensure_ascii=False)
    return Message("assistant", tool_calls=(ToolCall("answer_1", "answer", arguments),))


def _results(messages: Sequence[Message], tool: str) -> list[Message]:
    """What the calls of one tool gave, in order."""
    calls = {call.id: call.name for message in messages for call in message.tool_calls}
    return [m for m in messages if m.role == "tool" and calls.get(m.tool_call_id or "") == tool]


def _check_no_refusal(messages: Sequence[Message]) -> None:
    refused = [m for m in _results(messages, "answer") if m.text.startswith("Error:")]
    if refused:
        raise PlannerError(f"the offline planner's answer was refused: {refused[-1].text}")


def _found(
    results: Sequence[Message],
) -> tuple[dict[str, tuple[Thing, ...]], tuple[int, int]]:
    """What each phrase found, best first, and the (width, height) of the picture."""
    things: dict[int, Thing] = {}
    found: dict[str, tuple[Thing, ...]] = {}
    size = (1, 1)
    for result in results:
        if result.data is None:
            continue
        try:
            size = (int(result.data["image"]["width"]), int(result.data["image"]["height"]))
            things.update((mask["number"], _thing(mask)) for mask in result.data["masks"])
            for finding in result.data["findings"]:
                found[finding["phrase"]] = tuple(things[n] for n in finding["numbers"])
        except (KeyError, TypeError, ValueError) as error:
            raise PlannerError(
                f"the offline planner cannot read what the tool 'segment' gave: {error!r}"
            ) from error
    return found, size


def _thing(mask: Mapping[str, Any]) -> Thing:
    x0, y0, x1, y1 = (float(value) for value in mask["box"])
    return Thing(int(mask["number"]), (x0, y0, x1, y1), int(mask["area"]), float(mask["score"]))


def _quoted(phrases: Sequence[str]) -> str:
    shown = ", ".join(f'"{phrase}"' for phrase in phrases[:3])
    return f"{shown} and {len(phrases) - 3} more" if len(phrases) > 3 else shown
