"""Synthetic scenes in the form that the trainer of the tiny SAM 3 takes."""

from sam3_agent.evals.synthetic.concept_phrases import training_example
from sam3_agent.model.training.batch import TrainingScene


def training_sample(seed: int) -> TrainingScene:
    """Composes the small train scene of a seed with its prompts; picklable, for workers."""
    scene, prompts = training_example(seed)
    things = tuple((obj.noun, obj.color) for obj in scene.objects)
    return TrainingScene(scene.image, scene.labels, things, tuple(prompts))
