"""A planner that parses simple referring expressions and needs no model."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from sam3_agent.errors import PlannerError
from sam3_agent.geometry import Size
from sam3_agent.messages import Message, ToolCall
from sam3_agent.model.offline.answer_text import AnswerText
from sam3_agent.model.offline.closed_vocabulary import (
    KnownQuery,
    UnknownWordError,
    colorless_kinds,
    in_vocabulary,
    known_phrases,
)
from sam3_agent.model.offline.executor import Executor, phrases
from sam3_agent.model.offline.follow_ups import parse_follow_up
from sam3_agent.model.offline.geometry import SceneObject
from sam3_agent.model.offline.parser import parse
from sam3_agent.model.offline.query_tree import (
    Chosen,
    ColorQuery,
    CountKinds,
    Fits,
    ParseFailure,
    Query,
    concepts,
    heads,
)
from sam3_agent.observations import Measurements, SegmentFindings, UserQuestion
from sam3_agent.tool import Tool
from sam3_agent.vocabulary import Vocabulary

PHRASES_PER_CALL = 16
"""`segment` takes no more at once; what is over goes into further calls of the same turn."""

MAIN_COLOR = 0.6
"""A second colour is named when it covers at least this much of what the first does."""

ERROR = "Error:"
"""How a message begins that says why a call was not run."""

UNREADABLE = (
    "The offline planner cannot read this question. {reason} It stands in for a multimodal LLM and "
    'reads questions such as "the leftmost red car", "all dogs except the brown one" or "how many '
    'apples are there?". For others choose an MLLM: --planner openai:MODEL or gemini:MODEL, or '
    "SAM3_AGENT_PLANNER."
)

UNKNOWN = (
    "{reason} For other words choose a segmenter with an open vocabulary: --segmenter open:tiny or "
    "facebook/sam3."
)


class OfflinePlanner:
    """Replaces a multimodal LLM where there is no network, key or GPU.

    Parses an English referring expression into a query tree, segments all its concepts at once,
    executes the tree on the masks by geometry and words the answer. It takes no pictures, so it
    can neither check a mask nor recognize what somebody does. Answers `unable` to a question beyond
    its grammar or the segmenter's vocabulary. Stateless: a reply depends on the conversation alone.
    """

    name = "offline"
    sees = False

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """Calls `segment` for all concepts, `measure` if colours are asked for, then `answer`.

        Raises PlannerError when there is no question, when `segment` or `answer` is missing, and
        when an answer was refused.
        """
        for name in ("segment", "answer"):
            if name not in {tool.name for tool in tools}:
                raise PlannerError(f"the offline planner needs the tool {name!r}")
        questions = _questions(messages)
        question = questions[-1]
        at = max(i for i, message in enumerate(messages) if message is question)
        _check_no_refusal(messages[at:])
        query = _query([one.text for one in questions])
        if isinstance(query, ParseFailure):
            return _answer(UNREADABLE.format(reason=query.reason), (), unable=True)
        asked = question.question
        vocabulary = asked.vocabulary if isinstance(asked, UserQuestion) else None
        try:
            known = in_vocabulary(query, vocabulary)
        except UnknownWordError as error:
            return _answer(UNKNOWN.format(reason=error), (), unable=True)
        colors = _color_phrases(known.query, vocabulary)
        wanted = dict.fromkeys((*_phrases(known.query, vocabulary), *colors))
        found, size = _found(_results(messages, "segment"))
        results = _results(messages[at:], "segment")
        missing = [phrase for phrase in wanted if phrase not in found]
        if not missing:
            executor = Executor(found, size)
            named = executor.colors(executor.execute(known.query.what), colors)
            measured = _colors(_results(messages, "measure"))
            if doubt := _colorless(known.query, vocabulary, found) or _doubt(known, executor):
                return _answer(doubt, (), unable=True)
            return _conclude(known, executor, measured | named, messages[at:], tools)
        failed = next((one.text for one in results if one.text.startswith(ERROR)), None)
        if failed is not None:
            return _answer(f"I could not look for {_quoted(missing)}. {failed}", (), unable=True)
        if results:
            raise PlannerError(f"the tool 'segment' said nothing about {_quoted(missing)}")
        if messages[-1] is not question:
            text = f"I had no turn left to look for {_quoted(missing)}."
            return _answer(text, (), unable=True)
        return _look_for(missing)


def _questions(messages: Sequence[Message]) -> list[Message]:
    """The user messages that are marked as questions, or the first one."""
    asked = [message for message in messages if message.role == "user"]
    if not asked:
        raise PlannerError("there is no question: the conversation has no user message")
    return [one for one in asked if one.question is not None] or asked[:1]


def _query(questions: Sequence[str]) -> Query | ParseFailure:
    """Parses the last question in the context of those before it."""
    query = parse(questions[0])
    for text in questions[1:]:
        query = parse_follow_up(text, query)
    return query


def _phrases(query: Query, vocabulary: Vocabulary | None) -> list[str]:
    """The phrases that must be segmented to answer."""
    wanted = concepts(query)
    return [
        *(phrase for concept in wanted for phrase in known_phrases(concept, vocabulary)),
        *(kind for concept in wanted for kind in colorless_kinds(concept, vocabulary)),
    ]


def _color_phrases(query: Query, vocabulary: Vocabulary | None) -> dict[str, str]:
    """Phrases ("red car") with the colour that each finds ("red"), for a question about colours.

    A segmenter that knows the colours of a noun is more reliable than the pixels of a mask.
    """
    if vocabulary is None or not isinstance(query, ColorQuery):
        return {}
    kinds = {noun for head in heads(query.what) for noun in (head.noun, *phrases(head))}
    return {
        f"{color} {noun}": color
        for noun in vocabulary
        if noun in kinds
        for color in vocabulary[noun]
    }


def _colorless(
    query: Query, vocabulary: Vocabulary | None, found: Mapping[str, Sequence[SceneObject]]
) -> str:
    """Why some objects of the asked colour may have been missed; "" when none can be."""
    if isinstance(query.what, Chosen):  # one that has the colour is enough
        return ""
    wanted = concepts(query)
    kinds = [kind for one in wanted for kind in colorless_kinds(one, vocabulary) if found[kind]]
    if not kinds:
        return ""
    return UNKNOWN.format(reason=f'There is also "{min(kinds)}", whose colours I do not know.')


def _doubt(known: KnownQuery, executor: Executor) -> str:
    """Why the objects found do not answer the question; "" when they do."""
    query = known.query
    objects = executor.execute(query.what)
    if any(not executor.execute(node) for node in known.wider):
        reason = f"{' '.join(known.notes)} I see none, but there may be other kinds."
        return UNKNOWN.format(reason=reason)
    if isinstance(query, Fits) and isinstance(query.what, Chosen):
        total, asked = len(executor.candidates(query.what.of)), query.what.count
        if total > asked:
            reason = f"It is open which {asked} of the {total} that I found you mean."
            return UNREADABLE.format(reason=reason)
    unclear = bool(objects) and not executor.kinds(objects, heads(query.what)[0])
    if isinstance(query, CountKinds) and unclear:
        reason = "It is not clear of what kinds the things are that I found."
        return UNREADABLE.format(reason=reason)
    return ""


def _conclude(
    known: KnownQuery,
    executor: Executor,
    colors: Mapping[int, str],
    messages: Sequence[Message],
    tools: Sequence[Tool],
) -> Message:
    """A call of `answer`, or of `measure` when it needs colours that are not known yet."""
    query = known.query
    numbers = [obj.number for obj in executor.marked(query)]
    if isinstance(query, ColorQuery) and not colors.keys() >= set(numbers):
        return _measure(numbers, messages, tools)
    text = " ".join((AnswerText(executor, colors).answer(query), *known.notes))
    return _answer(text, numbers)


def _measure(numbers: Sequence[int], messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
    """A call of `measure`; `unable` when it is not offered or was called already."""
    if "measure" not in {tool.name for tool in tools} or _results(messages, "measure"):
        return _answer("I could not measure the colours.", (), unable=True)
    arguments = json.dumps({"numbers": list(numbers)})
    return Message("assistant", tool_calls=(ToolCall("measure_1", "measure", arguments),))


def _colors(results: Sequence[Message]) -> dict[int, str]:
    """The main colours of masks by number, from `measure`: "red", or "red and white"."""
    out = {}
    for result in results:
        found = result.findings
        for mask in found.masks if isinstance(found, Measurements) else ():
            shares = sorted(mask.colors.items(), key=lambda item: -item[1])
            main = [name for name, share in shares if share >= MAIN_COLOR * shares[0][1]]
            out[mask.number] = " and ".join(main[:2])
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
    """The results of one tool, in order."""
    calls = {call.id: call.name for message in messages for call in message.tool_calls}
    return [m for m in messages if m.role == "tool" and calls.get(m.tool_call_id or "") == tool]


def _check_no_refusal(messages: Sequence[Message]) -> None:
    refused = [m for m in _results(messages, "answer") if m.text.startswith(ERROR)]
    if refused:
        raise PlannerError(f"the offline planner's answer was refused: {refused[-1].text}")


def _found(results: Sequence[Message]) -> tuple[dict[str, tuple[SceneObject, ...]], Size]:
    """The objects that each phrase found, best first, and the size of the picture."""
    objects: dict[int, SceneObject] = {}
    found: dict[str, tuple[SceneObject, ...]] = {}
    size = (1, 1)
    for result in results:
        if result.text.startswith(ERROR):
            continue
        given = result.findings
        if not isinstance(given, SegmentFindings):
            raise PlannerError(
                "the offline planner cannot read what the tool 'segment' gave: its findings are "
                f"{given!r:.80}, not SegmentFindings"
            )
        size = given.masks.size
        objects.update(_objects(given))
        for finding in given.findings:
            found[finding.phrase] = tuple(objects[number] for number in finding.numbers)
    return found, size


def _objects(given: SegmentFindings) -> dict[int, SceneObject]:
    """The masks by number, rounded so that equal masks of two phrases compare equal."""
    boxes = given.masks.boxes.astype(np.float64).round(1).tolist()
    scores = given.masks.scores.astype(np.float64).round(3).tolist()
    areas = given.masks.areas().tolist()
    return {
        number: SceneObject(number, (box[0], box[1], box[2], box[3]), area, score)
        for number, box, area, score in zip(given.numbers, boxes, areas, scores, strict=True)
    }


def _quoted(phrases: Sequence[str]) -> str:
    shown = ", ".join(f'"{phrase}"' for phrase in phrases[:3])
    return f"{shown} and {len(phrases) - 3} more" if len(phrases) > 3 else shown
