"""Concept phrases for a scene, some of which name nothing in it, with their ground truth."""

import numpy as np

from sam3_agent.evals.synthetic.scenes import Split, SyntheticScene, compose
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS

GroundedPhrase = tuple[str, tuple[int, ...]]
"""A concept phrase, and the indexes of the objects that it names."""

_UNRELATED: dict[Split, str] = {
    "train": (
        """zebra lamp pencil bridge hammer carrot penguin sofa violin bottle rabbit camera ladder
        tomato glove castle mirror lion kettle pizza robot candle spider tent bread feather monkey
        piano basket cloud turtle phone scarf onion drum bear fence cup mountain snake blanket
        laptop lemon frog bucket statue sheep coin pumpkin windmill rocket broom owl cookie anchor
        needle wolf vase kite person"""
    ),
    "heldout": (
        """giraffe spoon chair pillow trumpet grape helmet cow lighthouse compass whale sandwich
        bench crown pig drawer cactus fork tiger pretzel carpet mushroom keyboard squirrel hat
        fountain parrot cheese ring shovel crab tower sled cherry flute goat sock barrel plate
        kangaroo zipper fridge donut bee wallet skirt peach snail desk ribbon camel toaster pillar
        radio dolphin brush magnet eagle key nurse"""
    ),
}


def unrelated_words(split: Split) -> list[str]:
    """Returns 60 everyday nouns outside the vocabulary; the held-out ones are never trained on."""
    return _UNRELATED[split].split()


def concept_phrases(
    scene: SyntheticScene,
    rng: np.random.Generator,
    present: int,
    absent: int,
    split: Split = "heldout",
) -> list[GroundedPhrase]:
    """Draws `present + absent` different concept phrases with the objects that they name.

    The present ones come first; a scene with fewer concepts than `present` gets more absent ones.
    """
    named = sorted(set().union(*(obj.concepts for obj in scene.objects)))
    weights = np.array([0.6 if phrase in CATEGORIES else 1.0 for phrase in named])
    chosen = rng.choice(
        named, size=min(present, len(named)), replace=False, p=weights / weights.sum()
    )
    phrases = [str(phrase) for phrase in chosen]
    while len(phrases) < present + absent:
        phrase = _absent_phrase(scene, rng, split)
        # the draw does not look at the scene: "another colour" may be that of a second object
        if phrase not in phrases and not scene.matching(phrase):
            phrases.append(phrase)
    return [(phrase, tuple(scene.matching(phrase))) for phrase in phrases]


def training_example(seed: int) -> tuple[SyntheticScene, list[GroundedPhrase]]:
    """Composes the small train scene of a seed, with 2 present and 2 absent phrases."""
    scene = compose(seed, split="train", size=None)
    return scene, concept_phrases(scene, np.random.default_rng([2, seed]), 2, 2, split="train")


def _absent_phrase(scene: SyntheticScene, rng: np.random.Generator, split: Split) -> str:
    """Draws a phrase that is probably absent, most often one close to an object that is there."""
    obj = scene.objects[int(rng.integers(len(scene.objects)))]
    kind = rng.choice(
        ["other colour", "sibling", "category", "vocabulary", "unrelated"],
        p=[0.4, 0.2, 0.12, 0.13, 0.15],
    )
    if kind == "unrelated":
        return str(rng.choice(unrelated_words(split)))
    if kind == "category":
        return str(rng.choice(list(CATEGORIES)))
    if kind == "other colour" and obj.noun in COLORABLE:
        return f"{rng.choice(COLORS)} {obj.noun}"
    if kind == "sibling":
        families = [nouns for nouns in CATEGORIES.values() if obj.noun in nouns]
        return _maybe_colored(str(rng.choice(families[0] if families else NOUNS)), rng)
    return _maybe_colored(str(rng.choice(NOUNS)), rng)


def _maybe_colored(noun: str, rng: np.random.Generator) -> str:
    return f"{rng.choice(COLORS)} {noun}" if noun in COLORABLE and rng.random() < 0.5 else noun
