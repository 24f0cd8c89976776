"""A verifier with scripted verdicts."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sam3_agent import Message, TokenUsage, Tool
from sam3_agent.model.scripted_planner import calling


class ScriptedVerifier:
    """Returns the given verdicts on masks, completeness and answers, from any thread.

    wrong: the numbers of masks that are wrong. missing: what is missing, and regions in percent.
    better: "A" or "B", from the text of a comparison. asked: the questions so far.
    """

    name = "verifier"
    price = None

    def __init__(
        self,
        wrong: Sequence[int] = (),
        missing: tuple[str, list[list[float]]] | None = None,
        better: Callable[[str], str] = lambda text: "equal",
    ) -> None:
        self.wrong, self.missing, self.better = wrong, missing, better
        self.asked: list[Message] = []
        self._lock = threading.Lock()

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        system, question = messages[:2]
        assert (system.role, question.role) == ("system", "user")
        with self._lock:
            self.asked.append(question)
        (schema,) = tools
        if schema.name == "judge":
            listed = question.text.splitlines()[1].removeprefix("Masks to judge: ")
            verdicts = [verdict(int(n), int(n) not in self.wrong) for n in listed.split(", ")]
            values: dict[str, Any] = {"verdicts": verdicts}
        elif schema.name == "report":
            what, regions = self.missing or ("", [])
            values = {"complete": self.missing is None, "missing": what, "regions": regions}
        else:
            values = {"better": self.better(question.text), "reason": "seen"}
        spent = TokenUsage(calls=1, input_tokens=10, output_tokens=1, cost=None)
        return replace(calling((schema.name, values)), spent=spent)


def verdict(number: int, right: bool = True, **more: Any) -> dict[str, Any]:
    return {"number": number, "right": right, "confidence": 0.9, "reason": "seen"} | more


def judging(*verdicts: dict[str, Any]) -> Message:
    """The reply of a verifier with these verdicts."""
    return calling(("judge", {"verdicts": list(verdicts)}))
