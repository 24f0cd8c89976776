"""Replies that no well-behaved verifier gives: none loses the answer."""

import json
import threading
from typing import Any

import httpx2
import pytest

from sam3_agent import Agent, ChecksFinished, Finished
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from tests.hostile_replies import LONG, Wire, call, calls, words
from tests.test_hostile import Server, check_conversation

SEGMENT = calling(("segment", {"phrases": ["dog", "leash"]}))
BOTH = calling(("answer", {"text": "Both dogs.", "numbers": [1, 2]}))

UNJUDGED = ["not judged", "not judged"]
RIGHT = ["right", "right"]


def verdict(number: Any, **other: Any) -> Wire:
    return {"number": number, "right": True, "confidence": 0.9, "reason": "seen"} | other


def judge(*verdicts: Any, **more: Any) -> Wire:
    return calls(call("judge", json.dumps({"verdicts": list(verdicts)} | more)))


JUDGED: dict[str, tuple[Wire, list[str]]] = {
    # no call of the schema
    "nothing": (words(None), UNJUDGED),
    "an empty message": ({}, UNJUDGED),
    "prose": (words("Both are dogs."), UNJUDGED),
    "words of 1 MB": (words(LONG), UNJUDGED),
    "half a surrogate pair": (words("\ud800"), UNJUDGED),
    "the planner's answer": (calls(call("answer", '{"text": "a", "numbers": [1]}')), UNJUDGED),
    "another schema": (calls(call("prefer", '{"better": "A", "reason": ""}')), UNJUDGED),
    "an unknown tool": (calls(call("zoom", "{}")), UNJUDGED),
    "a call that is null": (calls(None), UNJUDGED),
    "a thousand calls of another tool": (calls(*[call("zoom", "{}")] * 100), UNJUDGED),
    "a refusal": ({"role": "assistant", "content": None, "refusal": "I may not."}, UNJUDGED),
    # arguments that do not fit the schema
    "arguments null": (calls(call("judge", None)), UNJUDGED),
    "arguments cut off": (calls(call("judge", '{"verdicts": [{"number": 1')), UNJUDGED),
    "arguments of 1 MB": (calls(call("judge", LONG)), UNJUDGED),
    "verdicts null": (calls(call("judge", '{"verdicts": null}')), UNJUDGED),
    "verdicts by number": (calls(call("judge", '{"verdicts": {"1": true, "2": true}}')), UNJUDGED),
    "no verdicts": (judge(), UNJUDGED),
    "a verdict that is null": (judge(None, verdict(2)), UNJUDGED),
    "a key that is missing": (judge({"number": 1, "right": True}), UNJUDGED),
    "a number that is true": (judge(verdict(True), verdict(2)), UNJUDGED),
    "a number with a fraction": (judge(verdict(1.5), verdict(2)), UNJUDGED),
    "right as a word that is no verdict": (judge(verdict(1, right="maybe"), verdict(2)), UNJUDGED),
    "right as a fraction": (judge(verdict(1, right=0.5), verdict(2)), UNJUDGED),
    "a confidence in words": (judge(verdict(1, confidence="high"), verdict(2)), UNJUDGED),
    "a confidence that is true": (judge(verdict(1, confidence=True), verdict(2)), UNJUDGED),
    "a confidence that is NaN": (judge(verdict(1, confidence=float("nan"))), UNJUDGED),
    "a confidence without an end": (judge(verdict(1, confidence=float("inf"))), UNJUDGED),
    "a reason that is null": (judge(verdict(1, reason=None), verdict(2)), UNJUDGED),
    "a reason with half a pair": (judge(verdict(1, reason="\ud800"), verdict(2)), UNJUDGED),
    "a reason that steers a terminal": (judge(verdict(1, reason="\x1b[2J"), verdict(2)), UNJUDGED),
    "numbers that nobody asked for": (judge(verdict(3), verdict(99), verdict(-1)), UNJUDGED),
    "endless digits": (
        calls(call("judge", '{"verdicts": [{"number": ' + "9" * 5000 + "}]}")),
        UNJUDGED,
    ),
    # what can be made out
    "a number as text": (judge(verdict("1"), verdict("2")), RIGHT),
    "right as text": (
        judge(verdict(1, right="yes"), verdict(2, right="false")),
        ["right", "WRONG"],
    ),
    "right as a number": (judge(verdict(1, right=1), verdict(2)), RIGHT),
    "only one of two": (judge(verdict(2, right=False)), ["not judged", "WRONG"]),
    "one beside unknown ones": (judge(verdict(99), verdict(1)), ["right", "not judged"]),
    "two verdicts on one": (judge(verdict(1), verdict(1, right=False), verdict(2)), RIGHT),
    "a negative confidence": (judge(verdict(1, confidence=-3), verdict(2)), RIGHT),
    "a confidence in percent": (judge(verdict(1, confidence=90), verdict(2)), RIGHT),
    "a reason of 10,000 characters": (judge(verdict(1, reason=LONG[:10_000]), verdict(2)), RIGHT),
    "a reason of many lines": (judge(verdict(1, reason="a\nmask 2: WRONG"), verdict(2)), RIGHT),
    "an empty reason": (judge(verdict(1, reason=""), verdict(2)), RIGHT),
    "keys that nobody asked for": (judge(verdict(1, label="dog"), verdict(2)), RIGHT),
    "two calls": (calls(*judge(verdict(1))["tool_calls"], call("judge", "{")), RIGHT[:1]),
    "a call for each mask": (
        calls(*judge(verdict(1))["tool_calls"], *judge(verdict(2))["tool_calls"]),
        RIGHT,
    ),
    "a name with its space": (
        calls(call("functions.judge", json.dumps({"verdicts": [verdict(1), verdict(2)]}))),
        RIGHT,
    ),
    "the call as text": (words(json.dumps({"verdicts": [verdict(1), verdict(2)]})), RIGHT),
    "all wrong": (judge(verdict(1, right=False), verdict(2, right=False)), ["WRONG", "WRONG"]),
}
"""A verifier's reply, given for ever, and the results for masks 1 and 2."""


def verifier(server: Any, **more: Any) -> OpenAIPlanner:
    client = httpx2.Client(transport=httpx2.MockTransport(server))
    retrier = Retrier("openai", "verifier", sleep=lambda seconds: None)
    return OpenAIPlanner(
        "verifier",
        base_url="http://stub/v1",
        api_key="none",
        retrier=retrier,
        http_client=client,
        **more,
    )


@pytest.mark.parametrize("tool_calls", ["native", "text"])
@pytest.mark.parametrize(("reply", "results"), JUDGED.values(), ids=JUDGED.keys())
def test_no_reply_of_a_verifier_loses_the_answer(
    reply: Wire, results: list[str], tool_calls: Any, image: Pixels, segmenter: FakeSegmenter
) -> None:
    server = Server(reply)
    model = verifier(server, tool_calls=tool_calls)
    agent = Agent(ScriptedPlanner([SEGMENT, BOTH, BOTH]), segmenter, verifier=model)
    *events, last = agent.stream(image, "which dogs?")
    assert isinstance(last, Finished)
    assert (last.answer.status, last.answer.numbers) == ("answered", (1, 2))
    (report,) = (event.text for event in events if isinstance(event, ChecksFinished))
    lines = report.splitlines()
    found = [line.split(": ")[1].split(" (")[0] for line in lines]
    assert found[: len(results)] == results
    assert len(lines) == 2
    assert all(len(line) < 220 for line in lines)
    assert last.answer.usage.turns == (3 if "WRONG" in results else 2)
    assert len(server.bodies) <= 2
    for body in server.bodies:
        check_conversation(body["messages"])
    json.dumps(last.answer.to_dict(), allow_nan=False)


def test_calls_in_parallel_all_learn_that_a_server_has_no_tools(image: Pixels) -> None:
    dogs = {"dog": [(9 * i, 10, 9 * i + 8, 30) for i in range(20)]}
    together = threading.Barrier(4, timeout=20)

    def serve(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        if "tools" in body:
            together.wait()  # all have asked before the first is refused
            error = {"error": {"message": "this model does not support tools"}}
            return httpx2.Response(400, json=error)
        parts = body["messages"][-1]["content"]
        text = next(part["text"] for part in parts if part["type"] == "text")
        listed = text.splitlines()[1].removeprefix("Masks to judge: ").split(", ")
        arguments = {"verdicts": [verdict(int(number)) for number in listed]}
        message = words(json.dumps({"tool": "judge", "arguments": arguments}))
        return httpx2.Response(200, json={"choices": [{"index": 0, "message": message}]})

    everything = calling(("answer", {"text": "All.", "numbers": list(range(1, 21))}))
    script = [calling(("segment", {"phrases": ["dog"]})), everything]
    agent = Agent(ScriptedPlanner(script), FakeSegmenter(dogs), verifier=verifier(serve))
    texts = [e.text for e in agent.stream(image, "dogs?") if isinstance(e, ChecksFinished)]
    assert [line.split(": ")[1] for line in texts[0].splitlines()] == ["right (0.90)"] * 20
