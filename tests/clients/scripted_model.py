"""A scripted model that asks about a picture, fetches the masks and measures them.

It reads the handle out of what it is sent, as a model would, so a client that passes too little on
ends the conversation early.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.stub_server import Request, Step, call

HANDLE = re.compile(r"img_[0-9a-f]{24}")
EXAMPLE = "img_0123456789abcdef01234567"
JPEG = re.compile(r'"(?:data:image/jpeg;base64,)?/9j/')

QUERY = "all red cars except the smallest"
BOX = re.compile(r"278(\.\d+)?, ?377")
"""The corner of the first red car of the demo picture, in pixels."""

COUNTS = re.compile(r"counts[\\\"': ]+\w")
"""How a compressed RLE begins, as JSON or as the repr of a dict, escaped or not."""

REACT = """\
[[ ## next_thought ## ]]
I call it.

[[ ## next_tool_name ## ]]
{}

[[ ## next_tool_args ## ]]
{}

[[ ## completed ## ]]"""
EXTRACT = """\
[[ ## reasoning ## ]]
It is measured.

[[ ## answer ## ]]
done

[[ ## completed ## ]]"""


@dataclass
class ScriptedModel:
    """Gives the step of each request of one conversation.

    image: what the first call names. sent: the conversations so far as JSON texts, without the
    tools; the second holds the result of ask_image, the third that of get_masks, the fourth that
    of measure. offered: the tools of the first request.
    """

    image: str
    sent: list[str] = field(default_factory=list)
    offered: str = ""

    def __call__(self, request: Request) -> Step:
        # descriptions of tools hold examples of handles, and words of results
        body = json.dumps({key: value for key, value in request.body.items() if key != "tools"})
        self.offered = self.offered or json.dumps(request.body.get("tools") or body)
        self.sent.append(body)
        handles = [one for one in HANDLE.findall(body) if one != EXAMPLE]
        arguments = {"image": handles[-1] if handles else "", "numbers": [1, 2]}
        match len(self.sent):
            case 1:
                asked = {"image": self.image, "query": QUERY}
                return self._call(request, "ask_image", asked)
            case 2 if handles:
                return self._call(request, "get_masks", arguments)
            case 3 if handles:
                return self._call(request, "measure", arguments)
            case 4 if _by_text(request):
                return Step(text=REACT.format("finish", "{}"))
        if "final_answer" in _names(request):  # smolagents ends with a call
            return call(("final_answer", {"answer": "done"}))
        return Step(text=EXTRACT if "## reasoning ##" in body else "done")

    def _call(self, request: Request, name: str, arguments: dict[str, Any]) -> Step:
        if _by_text(request):
            return Step(text=REACT.format(name, json.dumps(arguments)))
        return call((name, arguments))


def _names(request: Request) -> set[str]:
    """The names of the tools that the model is offered."""
    return set(re.findall(r'"name": "([\w-]+)"', json.dumps(request.body.get("tools") or [])))


def _by_text(request: Request) -> bool:
    """Whether the model is asked for fields of text instead of tool calls, as dspy does."""
    return not request.body.get("tools") and "next_tool_name" in json.dumps(request.body)
