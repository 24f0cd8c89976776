"""Synthetic scenes as the trainer of the tiny SAM 3 wants them."""

from sam3_agent.evals.synthetic.concept_prompts import training_example
from sam3_agent.model.training.batch import Sample


def training_sample(seed: int) -> Sample:
    """The small train scene of a seed with its prompts; a top-level function, for workers."""
    scene, prompts = training_example(seed)
    things = tuple((thing.noun, thing.color) for thing in scene.things)
    return Sample(scene.image, scene.labels, things, tuple(prompts))
