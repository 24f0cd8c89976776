"""A simulated MLLM and segmenter that err at stated rates, to measure what checks are worth.

Both get the ground truth and err at random, so that variants can be compared without any MLLM. The
result does not predict how good a real one is, only the value of checks of a given accuracy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3_agent.evals.metrics import box_iou
from sam3_agent.geometry import Size
from sam3_agent.masks import Masks
from sam3_agent.messages import Message
from sam3_agent.model.scripted_planner import calling
from sam3_agent.observations import (
    ComparisonQuestion,
    CompletenessQuestion,
    SegmentFindings,
    VerificationQuestion,
)
from sam3_agent.rle import tight_boxes
from sam3_agent.segmenter import (
    STANDARD,
    Detection,
    ObjectPrompt,
    Prompt,
    Selection,
    checked_concept,
)
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage

HIDDEN_SCORE = 0.35
"""The score of masks below the usual threshold of 0.5."""

LOWERED = 0.25
"""The threshold at which the simulated model segments again when something is missing."""

SAME_IOU = 0.5
"""The IoU from which a box is taken for a target's."""


@dataclass(frozen=True)
class SegmenterFaults:
    """Error rates of a segmenter, for each object in a scene.

    dropped: a target has a score below the threshold. invented: another object has one above.
    doubtful: another object has one below, and appears when the threshold is lowered.
    """

    dropped: float = 0.2
    invented: float = 0.15
    doubtful: float = 0.3


@dataclass(frozen=True)
class ModelFaults:
    """Accuracies of a model.

    picks: whether one mask belongs to the answer. mask_checks: the same in a verification.
    exhaustivity: whether all targets are marked. The defaults of the last two are those of the AI
    verifiers in SAM 3's data engine (arXiv 2511.16719). comparisons: which of two answers is
    better; no rate is published. reconsiders: decides anew about a doubted mask, with the accuracy
    of picks; else the doubt is accepted.
    """

    picks: float = 0.9
    mask_checks: float = 0.777
    exhaustivity: float = 0.811
    comparisons: float = 0.777
    reconsiders: bool = False


class NoisySegmenter:
    """Finds the targets of one question, and other objects, with seeded errors.

    targets, others: masks. Every phrase names the targets; there are no region prompts.
    """

    name = "noisy"

    def __init__(self, targets: Masks, others: Masks, faults: SegmenterFaults, seed: int) -> None:
        rng = np.random.default_rng([11, seed])
        # drawn whatever the rates are, so that all rates are compared on the same draws
        sure = rng.uniform(0.6, 0.95, len(targets) + len(others))
        hidden = rng.random(len(targets)) < faults.dropped
        draw = rng.random(len(others))
        scores = [HIDDEN_SCORE if hide else s for hide, s in zip(hidden, sure, strict=False)]
        for chance, score in zip(draw, sure[len(targets) :], strict=True):
            # one draw decides: below `invented` it is found at once, up to the sum if asked again
            doubtful = chance < faults.invented + faults.doubtful
            scores.append(score if chance < faults.invented else HIDDEN_SCORE * doubtful)
        rles = (*targets.rles, *others.rles)
        every = Masks(
            targets.size, tight_boxes(rles), np.array(scores, np.float32), ("",) * len(rles), rles
        )
        self._masks = every[np.argsort(-every.scores, kind="stable")]

    def encode(self, image: npt.NDArray[np.uint8]) -> Size:
        """Returns the size; nothing else is needed."""
        return int(image.shape[0]), int(image.shape[1])

    def detect(
        self, features: Size, prompts: Sequence[Prompt], selection: Selection = STANDARD
    ) -> list[Detection]:
        """Returns the masks above the threshold, the same for each prompt."""
        least = max(0.5 if selection.threshold is None else selection.threshold, 0.01)
        # a score of 0 stands for "never found", whatever the threshold is
        masks = self._masks[self._masks.scores >= least]
        presence = float(self._masks.scores.max(initial=0.0))
        return [Detection(checked_concept(p, features), presence, masks) for p in prompts]

    def segment_at(self, features: Size, prompt: ObjectPrompt) -> Masks:
        """Returns no mask: there is no tracker."""
        return Masks.empty(features)


@dataclass
class SimulatedMLLM:
    """Plans and checks one question with the target boxes (N, 4) given, with seeded errors.

    As a planner it segments once, picks masks and answers; after doubts it follows its faults, and
    when something is missing it segments again at a lower threshold.
    """

    targets: npt.NDArray[np.float32]
    faults: ModelFaults
    seed: int
    name: str = "simulated"
    _picked: dict[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([13, self.seed])

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """Returns the next call as a planner, or the verdict as a verifier."""
        match messages[-1].question:
            case VerificationQuestion() as question:
                call = "judge", self._judge(question)
            case CompletenessQuestion() as question:
                call = "report", self._report(question)
            case ComparisonQuestion() as question:
                call = "prefer", self._prefer(question)
            case _:
                call = self._next_step(messages)
        return Message(
            "assistant", tool_calls=calling(call).tool_calls, spent=TokenUsage(calls=1, cost=None)
        )

    def _next_step(self, messages: Sequence[Message]) -> tuple[str, dict[str, Any]]:
        last = messages[-1]
        if last.role == "user":
            self._picked.clear()
            return "segment", {"phrases": ["target"]}
        # it looks again once, and not after each check, so that an ask always ends
        if "MISSING" in last.text and not any(LOWERED_CALL in c for c in _arguments(messages)):
            self._apply_doubts(last.text)
            return "segment", {"phrases": ["target"], "threshold": LOWERED}
        self._apply_doubts(last.text)
        boxes = _boxes_of(messages)
        numbers = [number for number, box in boxes.items() if self._pick(number, box)]
        return "answer", {"text": "These.", "numbers": numbers}

    def _pick(self, number: int, box: npt.NDArray[np.float32]) -> bool:
        """Decides once, with errors, whether a mask belongs to the answer."""
        if number not in self._picked:
            self._picked[number] = self._guess(self._is_target(box), self.faults.picks)
        return self._picked[number]

    def _apply_doubts(self, doubts: str) -> None:
        """Changes the picks by lines like "mask 3: WRONG (0.90): ..."."""
        for line in doubts.splitlines():
            if line.startswith("mask ") and ": WRONG" in line:
                number = int(line.split(":")[0].removeprefix("mask "))
                if self.faults.reconsiders:
                    self._picked.pop(number, None)
                else:
                    self._picked[number] = False

    def _judge(self, question: VerificationQuestion) -> dict[str, Any]:
        rate = self.faults.mask_checks
        verdicts = [
            {
                "number": number,
                "right": self._guess(self._is_target(box), rate),
                "confidence": 0.8,
                "reason": "simulated",
            }
            for number, box in zip(question.numbers, question.masks.boxes, strict=True)
        ]
        return {"verdicts": verdicts}

    def _report(self, question: CompletenessQuestion) -> dict[str, Any]:
        rate = self.faults.exhaustivity
        overlap = box_iou(self.targets, question.masks.boxes)
        whole = bool((overlap.max(1, initial=0.0) >= SAME_IOU).all())
        complete = self._guess(whole, rate)
        return {"complete": complete, "missing": "" if complete else "a target", "regions": []}

    def _prefer(self, question: ComparisonQuestion) -> dict[str, Any]:
        a, b = (self._quality(masks.boxes) for masks in question.answers)
        if a == b:
            return {"better": "equal", "reason": "simulated"}
        better = "A" if self._guess(a > b, self.faults.comparisons) else "B"
        return {"better": better, "reason": "simulated"}

    def _quality(self, boxes: npt.NDArray[np.float32]) -> float:
        """Computes the F1 of an answer's boxes."""
        if not len(boxes) or not len(self.targets):
            return float(len(boxes) == len(self.targets))
        hits = float((box_iou(self.targets, boxes).max(1) >= SAME_IOU).sum())
        return 2 * hits / (len(boxes) + len(self.targets))

    def _is_target(self, box: npt.NDArray[np.float32]) -> bool:
        return bool((box_iou(self.targets, box[None]) >= SAME_IOU).any())

    def _guess(self, truth: bool, rate: float) -> bool:
        """Returns the truth with this probability, else its opposite."""
        return truth if self._rng.random() < rate else not truth


LOWERED_CALL = f'"threshold": {LOWERED}'


def _arguments(messages: Sequence[Message]) -> list[str]:
    return [call.arguments for message in messages for call in message.tool_calls]


def _boxes_of(messages: Sequence[Message]) -> dict[int, npt.NDArray[np.float32]]:
    """Returns the pixel boxes of all masks that `segment` found, by number."""
    return {
        number: box
        for message in messages
        if isinstance(found := message.findings, SegmentFindings)
        for number, box in zip(found.numbers, found.masks.boxes, strict=True)
    }
