"""Metrics as pure functions, equal to the original implementations (evals/README.md says how far).

Every metric but OmniLabel's AP is a function of sums over its samples, a `Tally`; that gives its
intervals and the paired difference of two runs.
"""

from sam3_agent.evals.metrics.bootstrap import (
    Difference,
    Tally,
    averaged,
    difference,
    holm,
    intervals,
    joined,
    ratio,
)
from sam3_agent.evals.metrics.counting import counting, counting_tally
from sam3_agent.evals.metrics.iou import (
    Overlap,
    Protocol,
    mask_overlap,
    pixel_overlap,
    resized_overlap,
)
from sam3_agent.evals.metrics.omnilabel import (
    DescribedPair,
    average_precisions,
    box_f1,
    omnilabel,
    precision_intervals,
)
from sam3_agent.evals.metrics.referring import (
    TargetOverlap,
    grefcoco,
    grefcoco_tally,
    reasonseg,
    reasonseg_tally,
    refcoco,
    refcoco_tally,
)
from sam3_agent.evals.metrics.saco import (
    LEAST_SCORE,
    ConceptSample,
    best,
    cgf1,
    concept_tally,
    local_f1,
    saco,
)

__all__ = [
    "LEAST_SCORE",
    "ConceptSample",
    "DescribedPair",
    "Difference",
    "Overlap",
    "Protocol",
    "Tally",
    "TargetOverlap",
    "average_precisions",
    "averaged",
    "best",
    "box_f1",
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
