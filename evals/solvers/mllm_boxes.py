"""The solver `mllm`: the planner's own boxes as SAM 3's box prompts.

Compared with the agent, it shows what the agent adds to the MLLM alone.
"""

import logging
import time

import numpy as np

from sam3_agent import registry
from sam3_agent.answer import Status
from sam3_agent.errors import SegmenterError
from sam3_agent.evals.benchmark import Sample
from sam3_agent.evals.metrics import box_iou
from sam3_agent.evals.solvers.box_parsing import LabelledBox, Layout, parse_boxes
from sam3_agent.evals.solvers.solver import CountingPlanner, Outcome, accounted
from sam3_agent.geometry import Box
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.messages import Message
from sam3_agent.planner import Planner
from sam3_agent.scene import Scene
from sam3_agent.segmenter import ConceptPrompt, ObjectPrompt, Segmenter

logger = logging.getLogger(__name__)

FORMS = {
    "yx1000": '{"box_2d": [y0, x0, y1, x1], "label": "..."}, each 0 to 1000',
    "xy1000": '{"bbox_2d": [x0, y0, x1, y1], "label": "..."}, each 0 to 1000',
    "xy": '{"bbox_2d": [x0, y0, x1, y1], "label": "..."} in pixels',
}
RETRY_TEXT = (
    "I cannot read boxes in that. Reply with the JSON list alone; an empty list if nothing fits."
)
MAX_REPLIES = 2
LEAST_IOU = 0.3
"""A mask whose box overlaps the asked box less than this is of another object."""


def usual_layout(planner: str) -> Layout:
    """Returns the layout in which a family of models writes boxes, by the planner's name."""
    name = planner.lower()
    if "gemini" in name:
        return "yx1000"
    return "xy" if "qwen2" in name else "xy1000"


class BoxSolver:
    """Asks the planner once for boxes, and SAM 3 for the one object in each.

    layout: that of the planner's boxes, by default its family's. A segmenter without box prompts
    gets the box as an exemplar, and the mask that fits it best is used.
    """

    def __init__(
        self, planner: Planner, segmenter: Segmenter, layout: Layout | None = None
    ) -> None:
        self._planner = planner
        self._segmenter = segmenter
        self._layout: Layout = layout or usual_layout(planner.name)

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        """See `Solver.solve`; two replies without boxes end `out_of_budget`."""
        planner = CountingPlanner(self._planner)
        with accounted(planner.usage):
            return self._solve(image, sample, planner)

    def _solve(self, image: Pixels, sample: Sample, planner: CountingPlanner) -> Outcome:
        scene = Scene(image, self._segmenter)
        size = (scene.height, scene.width)
        messages = [
            Message("system", registry.prompt("boxes", form=FORMS[self._layout])),
            Message("user", sample.query, pictures=(image,)),
        ]
        boxes: list[LabelledBox] | None = None
        for turn in range(MAX_REPLIES):
            if turn:
                messages.append(Message("user", RETRY_TEXT))
            messages.append(planner.reply(messages))
            boxes = parse_boxes(messages[-1].text, size, self._layout)
            if boxes is not None:
                break
        masks = [self._mask(scene, one) for one in boxes or ()]
        pred = Masks.concatenate([Masks.empty(size), *masks])
        planner.segmenter_seconds = scene.segmenter_seconds
        status: Status = "answered" if len(pred) else "no_target"
        if boxes is None:
            status = "out_of_budget"
        return Outcome(pred, pred, messages[-1].text, status, planner.usage(), tuple(messages))

    def _mask(self, scene: Scene, one: LabelledBox) -> Masks:
        """Segments the object in a box: one mask, or none."""
        try:
            found = scene.segment_at(ObjectPrompt(box=one.box))
            return _labelled(scene.select(found.numbers), one.label)
        except SegmenterError as error:
            logger.info("no box prompt, so the box becomes an exemplar: %s", error)
        began = time.monotonic()
        features = self._segmenter.encode(scene.image)
        (detection,) = self._segmenter.detect(features, [ConceptPrompt("", (one.box,))])
        scene.segmenter_seconds += time.monotonic() - began
        # an exemplar also finds what looks like the content of the box elsewhere in the image
        return _labelled(_best_fit(detection.masks, one.box), one.label)


def _best_fit(masks: Masks, box: Box) -> Masks:
    """Selects the mask whose box has the highest IoU with a box; none below LEAST_IOU."""
    overlaps = box_iou(masks.boxes, np.array([box]))[:, 0]
    if overlaps.max(initial=0.0) < LEAST_IOU:
        return masks[[]]
    return masks[[int(overlaps.argmax())]]


def _labelled(masks: Masks, label: str) -> Masks:
    return Masks(masks.size, masks.boxes, masks.scores, (label or "box",) * len(masks), masks.rles)
