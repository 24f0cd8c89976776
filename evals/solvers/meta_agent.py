"""The solver `reference`: the rules of Meta's SAM 3 agent, for a comparison with one planner.

Re-created from what the code of facebookresearch/sam3 (`sam3/agent`, January 2026) does, with words
and code of its own. Its rules:

- Four tools: segment_phrase, examine_each_mask, select_masks_and_return, report_no_mask. Of a reply
  with several calls only the first one is run.
- One phrase at a time. Its masks replace all earlier ones; a phrase cannot be used twice.
- Of masks that overlap (IoM above 0.3) only the best is kept, before the planner sees any.
- examine_each_mask asks the planner about every mask, one after the other, with three pictures.
- The planner gets the question and the messages since the last segment_phrase: at most two
  pictures. Of earlier messages only the list of used phrases is kept.
- At most 100 planner turns.

Its crashes are left out: a wrong call (an unknown name, no JSON) becomes an error message to the
planner, so that solvers are compared and not parsers. The image is encoded once, not once for every
phrase, which changes no mask. The cost of its checks is counted like that of any other turn.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sam3_agent import registry
from sam3_agent.answer import Status
from sam3_agent.errors import PromptError, ToolError
from sam3_agent.evals.benchmark import Sample
from sam3_agent.evals.solvers.solver import CountingPlanner, Outcome, accounted
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.messages import Message
from sam3_agent.overlay import draw_masks
from sam3_agent.planner import Planner
from sam3_agent.scene import Scene
from sam3_agent.segmenter import Segmenter
from sam3_agent.tool import Observation, Tool, tool_named

MAX_TURNS = 100
OVERLAP = 0.3
"""IoM above which of two masks only the better one stays."""
EXAMINED = "The masks were examined one by one; see what came of it below."
NO_CALL = "You called no tool. Call exactly one tool."


class MetaAgentSolver:
    """Asks a planner by the reference agent's rules."""

    def __init__(self, planner: Planner, segmenter: Segmenter) -> None:
        self._planner = planner
        self._segmenter = segmenter

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        """See `Solver.solve`; MAX_TURNS end `out_of_budget`, with no mask."""
        loop = _Loop(self._planner, self._segmenter, image, sample.query)
        with accounted(loop.planner.usage):
            return loop.outcome()


class _Loop:
    """One question by the reference agent's rules.

    masks: those of the last phrase that are left; None before the first.
    """

    def __init__(self, planner: Planner, segmenter: Segmenter, image: Pixels, query: str) -> None:
        self.planner = CountingPlanner(planner)
        self.segmenter = segmenter
        self.image = image
        self.query = query
        size = (int(image.shape[0]), int(image.shape[1]))
        self.found = Masks.empty(size)
        self.masks: Masks | None = None
        self.features: Any = None
        self.used: list[str] = []
        self.ended: tuple[Status, Masks] | None = None
        self.trace: list[Message] = []
        """All messages; the planner gets only a part of them."""

    def outcome(self) -> Outcome:
        opening = (
            Message("system", registry.prompt("meta_agent")),
            Message("user", self.query, pictures=(self.image,)),
        )
        self.trace += opening
        since: list[Message] = []
        while self.ended is None and self.planner.turns < MAX_TURNS:
            reply = self.planner.reply([opening[0], self._question(since), *since], _TOOLS)
            # a call that is not run must not stay in the conversation: servers demand its result
            reply = replace(reply, tool_calls=reply.tool_calls[:1])
            if any(call.name == "segment_phrase" for call in reply.tool_calls):
                since = []  # earlier messages are dropped
            result = self._result(reply, since)
            since += [reply, result]
            self.trace += [reply, result]
        status, masks = self.ended or ("out_of_budget", Masks.empty(self.found.size))
        text = next((m.text for m in reversed(self.trace) if m.role == "assistant"), "")
        return Outcome(masks, self.found, text, status, self.planner.usage(), tuple(self.trace))

    def _question(self, since: Sequence[Message]) -> Message:
        """Makes the user's message, with the phrases that were used before the present one."""
        # the present phrase is in the messages since, the earlier ones only in this list
        before = self.used[:-1] if since else self.used
        text = self.query
        if before:
            phrases = ", ".join(f'"{phrase}"' for phrase in before)
            text += (
                f"\n\n(Used before, without a satisfactory result; not to be used again: {phrases})"
            )
        return Message("user", text, pictures=(self.image,))

    def _result(self, reply: Message, since: list[Message]) -> Message:
        """Runs the reply's call and returns the message with its result."""
        if not reply.tool_calls:
            return Message("user", NO_CALL)
        call = reply.tool_calls[0]
        self.planner.tool_calls += 1
        try:
            by_name = {tool.name: tool for tool in _TOOLS}
            name = tool_named(call.name, by_name)
            if name is None:
                raise ToolError(
                    f"there is no tool {call.name!r}; the tools are {', '.join(by_name)}"
                )
            result = self._run(name, by_name[name].checked(call.arguments), since)
        except (ToolError, PromptError) as error:
            self.planner.tool_errors += 1
            return Message("tool", f"Error: {error}", tool_call_id=call.id)
        return Message("tool", result.text, result.pictures, tool_call_id=call.id)

    def _run(self, name: str, arguments: Mapping[str, Any], since: list[Message]) -> Observation:
        if name == "segment_phrase":
            return self._segment(arguments["text_prompt"])
        if name == "report_no_mask":
            self.ended = "no_target", Masks.empty(self.found.size)
            return Observation("Reported.")
        if self.masks is None:
            raise ToolError("the first call must be segment_phrase or report_no_mask")
        if name == "examine_each_mask":
            return self._examine(self.masks, since)
        return self._select(self.masks, arguments["final_answer_masks"])

    def _segment(self, phrase: str) -> Observation:
        if phrase in self.used:
            used = ", ".join(f'"{one}"' for one in self.used)
            return Observation(
                f'"{phrase}" was used before. Call segment_phrase with another phrase, more '
                f"general or more creative; used already: {used}."
            )
        began = time.monotonic()
        if self.features is None:
            self.features = self.segmenter.encode(self.image)
        (detection,) = self.segmenter.detect(self.features, [phrase])
        self.planner.segmenter_seconds += time.monotonic() - began
        self.used.append(phrase)
        self.masks = detection.masks.nms("iom", OVERLAP)
        self.found = Masks.concatenate([self.found, self.masks])
        if not len(self.masks):
            return Observation(
                f'SAM 3 found no mask for "{phrase}". Call segment_phrase with another phrase, '
                f"more general or more creative. The query is: {self.query}"
            )
        return self._overview(
            self.masks, f'segment_phrase gave {len(self.masks)} masks for "{phrase}".'
        )

    def _examine(self, masks: Masks, since: list[Message]) -> Observation:
        """Asks about every mask, one after the other, and drops the overview picture."""
        if not len(masks):
            raise ToolError("there is no mask to examine; call segment_phrase")
        for i, message in enumerate(since):
            # the picture of the accepted masks replaces it, so there are never more than two
            if message.role == "tool" and message.pictures:
                since[i] = replace(message, text=EXAMINED, pictures=())
        accepted = [i for i in range(len(masks)) if self._accepted(masks, i)]
        self.masks = masks[accepted]
        if not accepted:
            return Observation(
                "All masks were examined and rejected. Call segment_phrase with another phrase. "
                f"The query is: {self.query}"
            )
        return self._overview(self.masks, f"{len(accepted)} of the masks were accepted.")

    def _accepted(self, masks: Masks, index: int) -> bool:
        drawn = draw_masks(self.image, masks[[index]], [1])
        messages = [
            Message("system", registry.prompt("meta_agent_check")),
            Message("user", f"The image. The query is: {self.query}", pictures=(self.image,)),
            Message("user", "The image with the mask.", pictures=(drawn,)),
            Message("user", "Close-up.", pictures=(_close_up(drawn, masks, index),)),
        ]
        reply = self.planner.reply(messages)
        self.trace += [*messages[1:], reply]
        # "Accept" and nothing else; the reference also takes "Not Accept" for it, which is a bug
        verdict = reply.text.rpartition("<verdict>")[2].partition("</verdict>")[0].strip()
        return verdict == "Accept"

    def _select(self, masks: Masks, numbers: Sequence[int]) -> Observation:
        """Ends with the masks that exist among these numbers, as the reference does."""
        # the reference drops numbers that do not exist without an error
        chosen = masks[sorted({n - 1 for n in numbers if 1 <= n <= len(masks)})]
        self.ended = ("answered" if len(chosen) else "no_target"), chosen
        return Observation("Answered.")

    def _overview(self, masks: Masks, text: str) -> Observation:
        picture = draw_masks(self.image, masks, range(1, len(masks) + 1))
        return Observation(
            f"{text} They are drawn and numbered in this picture; compare them with the image. "
            f"The query is: {self.query}",
            (picture,),
        )


def _close_up(drawn: Pixels, masks: Masks, index: int) -> Pixels:
    """Crops the surroundings of a mask, wider by half its size on each side."""
    x0, y0, x1, y1 = (float(v) for v in masks.boxes[index])
    width, height = x1 - x0, y1 - y0
    rows, columns = drawn.shape[:2]
    left, right = max(int(x0 - width / 2), 0), min(int(x1 + width / 2) + 2, columns)
    top, bottom = max(int(y0 - height / 2), 0), min(int(y1 + height / 2) + 2, rows)
    return np.ascontiguousarray(drawn[top:bottom, left:right])


def segment_phrase(scene: Scene, text_prompt: str) -> Observation:
    """Segment every instance of one simple noun phrase; earlier masks are lost."""
    raise NotImplementedError


def examine_each_mask(scene: Scene) -> Observation:
    """Check every available mask by itself; wrong ones are removed."""
    raise NotImplementedError


def select_masks_and_return(scene: Scene, final_answer_masks: list[int]) -> Observation:
    """End with the masks that are meant, by their numbers in the latest picture."""
    raise NotImplementedError


def report_no_mask(scene: Scene) -> Observation:
    """End: nothing in the image is meant."""
    raise NotImplementedError


# only their schemas and argument checks are used: the loop runs the calls itself
_TOOLS = tuple(
    Tool.from_function(function)
    for function in (segment_phrase, examine_each_mask, select_masks_and_return, report_no_mask)
)
