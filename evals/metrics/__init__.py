"""Metrics as pure functions, equal to the original implementations (evals/README.md says how far).

Every metric except OmniLabel's AP is a function of sums over samples, a `Tally`, from which its
confidence interval and the paired difference of two runs follow. No module here has the name of a
function, so that `metrics.saco` is the function in every order of imports.
"""

from sam3_agent.evals.metrics.bootstrap import (
    Columns,
    Difference,
    Interval,
    Tally,
    averaged,
    difference,
    holm,
    intervals,
    joined,
    ratio,
)
from sam3_agent.evals.metrics.counting_metrics import counting, counting_tally
from sam3_agent.evals.metrics.iou import (
    Overlap,
    ReasonSegProtocol,
    box_iou,
    mask_overlap,
    pixel_overlap,
    resized_overlap,
)
from sam3_agent.evals.metrics.omnilabel_metrics import (
    DescribedPair,
    average_precisions,
    box_f1,
    omnilabel,
    precision_intervals,
)
from sam3_agent.evals.metrics.referring_metrics import (
    TargetOverlap,
    grefcoco,
    grefcoco_tally,
    reasonseg,
    reasonseg_tally,
    refcoco,
    refcoco_tally,
)
from sam3_agent.evals.metrics.saco_metrics import (
    LEAST_SCORE,
    ConceptSample,
    best_annotator,
    cgf1,
    concept_tally,
    local_f1,
    saco,
)

__all__ = [
    "LEAST_SCORE",
    "Columns",
    "ConceptSample",
    "DescribedPair",
    "Difference",
    "Interval",
    "Overlap",
    "ReasonSegProtocol",
    "Tally",
    "TargetOverlap",
    "average_precisions",
    "averaged",
    "best_annotator",
    "box_f1",
    "box_iou",
    "cgf1",
    "concept_tally",
    "counting",
    "counting_tally",
    "difference",
    "grefcoco",
    "grefcoco_tally",
    "holm",
    "intervals",
    "joined",
    "local_f1",
    "mask_overlap",
    "omnilabel",
    "pixel_overlap",
    "precision_intervals",
    "ratio",
    "reasonseg",
    "reasonseg_tally",
    "refcoco",
    "refcoco_tally",
    "resized_overlap",
    "saco",
]
