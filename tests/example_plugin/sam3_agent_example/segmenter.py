"""A segmenter that finds areas of a plain color."""

from collections.abc import Sequence

import numpy as np

from sam3_agent import STANDARD, Detection, Masks, ObjectPrompt, PromptError, Selection
from sam3_agent.images import Pixels
from sam3_agent.segmenter import Prompt, checked_concept, checked_object

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class ColorSegmenter:
    """Finds "red", "green" and "blue": one mask of all pixels that are exactly so."""

    name = "color"
    prompts = frozenset({"clicks"})
    threshold = 0.9
    vocabulary = dict.fromkeys(COLORS, ())

    def encode(self, image: Pixels) -> Pixels:
        """The image itself."""
        return image

    def detect(
        self, features: Pixels, prompts: Sequence[Prompt], selection: Selection = STANDARD
    ) -> list[Detection]:
        """One Detection per phrase; PromptError for exemplars."""
        height, width = features.shape[:2]
        checked = [checked_concept(prompt, (height, width)) for prompt in prompts]
        if any(prompt.positive or prompt.negative for prompt in checked):
            raise PromptError("color takes phrases only, no exemplars")
        least = self.threshold if selection.threshold is None else selection.threshold
        found = []
        for prompt in checked:
            mask = (features == COLORS.get(prompt.phrase, (-1, -1, -1))).all(axis=2)
            some = mask.any() and least <= 1.0
            stack = mask[None] if some else np.zeros((0, height, width), np.bool_)
            masks = Masks.from_dense(stack, [1.0] * len(stack), [prompt.phrase] * len(stack))
            found.append(Detection(prompt, float(mask.any()), masks))
        return found

    def segment_at(self, features: Pixels, prompt: ObjectPrompt) -> Masks:
        """All pixels of the color under the first point, or in the middle of the box."""
        prompt = checked_object(prompt, (features.shape[0], features.shape[1]))
        if prompt.box is not None:
            x, y = (prompt.box[0] + prompt.box[2]) / 2, (prompt.box[1] + prompt.box[3]) / 2
        else:
            x, y = prompt.inside[0]
        mask = (features == features[int(y), int(x)]).all(axis=2)
        return Masks.from_dense(mask[None], [1.0], ["this object"])
