"""Turns training scenes into tensors: pixels, phrases, exemplar boxes and their targets."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf
from transformers import CLIPTokenizer

from sam3_agent.model.offline.inflection import plural
from sam3_agent.model.sam3 import MASKED_BOX_LABEL
from sam3_agent.model.vocabulary import COLORS, NOUNS

EXEMPLARS = 0.22
"""Part of the prompts that carry exemplar boxes."""


@dataclass(frozen=True)
class TrainingScene:
    """One scene and its truth.

    image: (H, W, 3) uint8. labels: (H, W) uint8, 0 for the ground and i for `things[i - 1]`.
    things: (noun, colour or None) each. prompts: (phrase, indices of the things it means) each.
    """

    image: np.ndarray
    labels: np.ndarray
    things: tuple[tuple[str, str | None], ...]
    prompts: tuple[tuple[str, tuple[int, ...]], ...]


Source = Callable[[int], TrainingScene]
"""Makes the scene of a seed; a top-level function, so that worker processes can import it."""


@dataclass(frozen=True)
class Batch:
    """B images and N prompts (N / B each, image by image), with T targets in all.

    pixels (B, 3, S, S); input_ids, attention_mask (N, L); image (N,) index of each prompt's image;
    boxes (N, K, 4) normalised cxcywh and box_labels (N, K): 1, 0 or MASKED_BOX_LABEL; present (N,)
    bool; target_row (T,) sorted prompt index, target_boxes (T, 4) cxcywh, target_masks (T, S, S) in
    0..1; cell_noun, cell_color (B, S / 8, S / 8): index, len(NOUNS) for the ground, -1 for unclear.
    """

    pixels: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    image: Tensor
    boxes: Tensor
    box_labels: Tensor
    present: Tensor
    target_row: Tensor
    target_boxes: Tensor
    target_masks: Tensor
    cell_noun: Tensor
    cell_color: Tensor


@dataclass(frozen=True)
class TrainingPrompt:
    """A phrase, the things it means, and exemplars as (thing index, positive)."""

    phrase: str
    targets: tuple[int, ...]
    exemplars: tuple[tuple[int, bool], ...] = ()


def image_pixels(image: np.ndarray, size: int) -> Tensor:
    """(H, W, 3) uint8 to (3, size, size) in -1..1, exactly as `Sam3ImageProcessor` does it."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    squashed: Tensor = tvf.resize(
        pixels, [size, size], interpolation=tvf.InterpolationMode.BILINEAR, antialias=True
    )
    return (squashed.float() - 127.5) / 127.5


def build_batch(
    source: Source, seeds: Iterable[int], tokenizer: CLIPTokenizer, size: int, vary: bool = True
) -> Batch:
    """Make the scenes of `seeds` and their targets.

    With `vary`, part of the prompts get exemplar boxes or another wording;
    without it they are the source's own (for held-out checks).
    """
    samples = [(source(seed), random.Random(seed)) for seed in seeds]
    all_masks = [_thing_masks(sample, size) for sample, _ in samples]
    all_boxes = [_thing_boxes(sample) for sample, _ in samples]
    cells = [
        _cells(sample, masks, size // 8)
        for (sample, _), masks in zip(samples, all_masks, strict=True)
    ]
    prompts, owners = [], []
    for index, (sample, rng) in enumerate(samples):
        for phrase, targets in sample.prompts:
            prompt = TrainingPrompt(phrase, targets)
            prompts.append(_varied(prompt, sample, rng) if vary else prompt)
            owners.append(index)
    boxes, labels = _exemplar_boxes(prompts, owners, all_boxes, [rng for _, rng in samples])
    rows, target_boxes, target_masks = [], [], []
    for row, (prompt, owner) in enumerate(zip(prompts, owners, strict=True)):
        for thing in prompt.targets:
            rows.append(row)
            target_boxes.append(all_boxes[owner][thing])
            target_masks.append(all_masks[owner][thing])
    text = tokenizer([prompt.phrase for prompt in prompts], padding=True, return_tensors="pt")
    target_row = torch.tensor(rows, dtype=torch.long)
    present = torch.zeros(len(prompts), dtype=torch.bool)
    present[target_row] = True
    return Batch(
        pixels=torch.stack([image_pixels(sample.image, size) for sample, _ in samples]),
        input_ids=text.input_ids,
        attention_mask=text.attention_mask,
        image=torch.tensor(owners),
        boxes=boxes,
        box_labels=labels,
        present=present,
        target_row=target_row,
        target_boxes=torch.stack(target_boxes) if rows else torch.zeros(0, 4),
        target_masks=torch.stack(target_masks) if rows else torch.zeros(0, size, size),
        cell_noun=torch.stack([nouns for nouns, _ in cells]),
        cell_color=torch.stack([colors for _, colors in cells]),
    )


def _exemplar_boxes(
    prompts: Sequence[TrainingPrompt],
    owners: Sequence[int],
    things: Sequence[Tensor],
    rngs: Sequence[random.Random],
) -> tuple[Tensor, Tensor]:
    """Boxes (N, K, 4) and labels (N, K) of the exemplars, as `Batch` has them.

    owners: each prompt's image. things: the boxes of each image's things.
    """
    most = max(1, *(len(prompt.exemplars) for prompt in prompts))
    boxes = torch.full((len(prompts), most, 4), 0.5)
    labels = torch.full((len(prompts), most), MASKED_BOX_LABEL)
    for row, (prompt, owner) in enumerate(zip(prompts, owners, strict=True)):
        for slot, (thing, positive) in enumerate(prompt.exemplars):
            boxes[row, slot] = _jittered(things[owner][thing], rngs[owner])
            labels[row, slot] = int(positive)
    return boxes, labels


def _thing_masks(sample: TrainingScene, size: int) -> Tensor:
    """Part of each of size x size pixels that a thing covers, (things, size, size) in 0..1."""
    numbers = torch.arange(1, len(sample.things) + 1, dtype=torch.uint8)
    labels = torch.from_numpy(np.ascontiguousarray(sample.labels))
    masks = (labels[None] == numbers[:, None, None]).float()
    squashed = F.interpolate(masks[None], size=(size, size), mode="bilinear", antialias=True)[0]
    return squashed.clamp(0, 1)  # float error goes a little over


def _thing_boxes(sample: TrainingScene) -> Tensor:
    """Boxes of the visible pixels, (things, 4) normalised cxcywh; zeros for a hidden thing."""
    height, width = sample.labels.shape
    boxes = torch.zeros(len(sample.things), 4)
    for index in range(len(sample.things)):
        visible = sample.labels == index + 1
        columns, rows = np.flatnonzero(visible.any(0)), np.flatnonzero(visible.any(1))
        if len(rows):
            x0, x1 = columns[0] / width, (columns[-1] + 1) / width
            y0, y1 = rows[0] / height, (rows[-1] + 1) / height
            boxes[index] = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])
    return boxes


def _cells(sample: TrainingScene, masks: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """What each of grid x grid cells shows: noun and colour indexes, (grid, grid) each."""
    cover = F.adaptive_avg_pool2d(masks, grid)
    best, thing = cover.max(0)
    noun_of = torch.tensor([NOUNS.index(noun) for noun, _ in sample.things])
    color_of = torch.tensor([COLORS.index(color) if color else -1 for _, color in sample.things])
    noun = torch.where(best > 0.5, noun_of[thing], -1)
    color = torch.where(best > 0.5, color_of[thing], -1)
    return noun.masked_fill(cover.sum(0) < 0.1, len(NOUNS)), color


def _jittered(box: Tensor, rng: random.Random) -> Tensor:
    """The box with every side moved by a few percent, as if drawn by a person."""
    center, size = box[:2].clone(), box[2:]
    for axis in range(2):
        center[axis] += rng.uniform(-0.04, 0.04) * float(size[axis])
    return torch.cat([center, size * rng.uniform(0.95, 1.1)])


def _varied(prompt: TrainingPrompt, sample: TrainingScene, rng: random.Random) -> TrainingPrompt:
    """The prompt, or now and then one with exemplars or another wording."""
    if rng.random() < EXEMPLARS:
        return _with_exemplars(prompt, sample, rng)
    if rng.random() < 0.12:
        *before, noun = prompt.phrase.split()
        article = rng.choice(["the", "a", "all", "each"])
        words = [*before, plural(noun) if rng.random() < 0.6 else noun]
        if rng.random() < 0.5:
            words = [article, *words]
        return TrainingPrompt(" ".join(words), prompt.targets)
    return prompt


def _with_exemplars(
    prompt: TrainingPrompt, sample: TrainingScene, rng: random.Random
) -> TrainingPrompt:
    """Exemplar boxes beside the phrase or, for "visual", in its place.

    A positive box names its noun; a negative box takes away the things that share its noun and
    colour, and changes nothing where it lies on something else.
    """
    things = sample.things
    everything = range(len(things))
    if not prompt.targets:
        chosen = rng.sample(everything, k=min(len(things), rng.choice((1, 1, 2))))
        return TrainingPrompt(prompt.phrase, (), tuple((thing, False) for thing in chosen))
    draw = rng.random()
    if draw < 0.35:
        shown = rng.sample(prompt.targets, k=min(len(prompt.targets), rng.choice((1, 1, 2))))
        return TrainingPrompt(
            prompt.phrase, prompt.targets, tuple((thing, True) for thing in shown)
        )
    if draw < 0.8:
        noun = things[rng.choice(prompt.targets)][0]
        phrase, targets = "visual", tuple(i for i in everything if things[i][0] == noun)
        shown = rng.sample(targets, k=min(len(targets), rng.choice((1, 1, 2))))
    else:
        phrase, targets, shown = prompt.phrase, prompt.targets, []
    kept = {things[i] for i in shown}
    removable = [i for i in targets if things[i] not in kept]
    others = [i for i in everything if i not in targets]
    exemplars = [(thing, True) for thing in shown]
    if removable and rng.random() < 0.7:
        negative = rng.choice(removable)
        left = tuple(i for i in targets if things[i] != things[negative])
        if left:
            targets = left
            exemplars.append((negative, False))
    elif others and (not shown or rng.random() < 0.3):
        exemplars.append((rng.choice(others), False))
    rng.shuffle(exemplars)
    return TrainingPrompt(phrase, targets, tuple(exemplars))
