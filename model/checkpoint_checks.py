"""Checks a loaded checkpoint: names, shapes and values of its weights, tokenizer, image size.

transformers gives random values to weights that are missing and ignores those that are left over,
and makes a tokenizer without words where its file is missing. Each ends in masks of nothing, or of
something else, so each is a SegmenterError here.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sam3_agent.errors import SegmenterError

logger = logging.getLogger(__name__)

AGAIN = "copy or download the checkpoint again"

UNREAD = ("vision_encoder.neck.fpn_layers.3.", "text_encoder.text_projection.")
"""Weights of SAM 3 that its forward pass never reads; a checkpoint may lack them."""

BUFFERS = (
    "position_ids",
    "token_type_ids",
    "relative_position_index",
    "relative_coords_table",
    "inv_freq",
    "num_batches_tracked",
)
"""Last parts of the names of what older versions saved and newer ones compute."""

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Data types of weights that convert to float32 by themselves; others need scales, or are none."""

BLOCK = 4096
"""Values in a row that are looked at together; as many zeros come of no training."""

ZERO_SHARE = 0.25
"""A model with more of its matrices all zero is damaged; with fewer it is named in a warning."""

LEAST_TOKENS = 0.9
"""A tokenizer with fewer tokens for each embedding is damaged, or of another text encoder."""

MOST_ADDED = 128
"""Tokens without an embedding that a tokenizer may have, as added tokens that nobody uses."""

SHORTEST_CONTEXT = 8
"""A tokenizer that reads fewer tokens cannot take noun phrases."""


def check_names(source: str, model: Any, report: Mapping[str, Any]) -> None:
    """Refuses weights that are missing, of another shape, or of layers that the model lacks.

    Others that are left over are named in a warning.

    report: what transformers' from_pretrained returns as loading info.
    """
    wrong = sorted(report["mismatched_keys"])
    if wrong:
        name, found, expected = wrong[0]
        raise SegmenterError(
            f"the weights in {source} do not fit its config.json: {name} is "
            f"{'x'.join(map(str, found))} and not {'x'.join(map(str, expected))} "
            f"({len(wrong)} in all); one of the two is of another checkpoint: {AGAIN}"
        )
    missing = sorted(report["missing_keys"])
    needed = [name for name in missing if not (name.startswith(UNREAD) or name.endswith(BUFFERS))]
    if needed:
        raise SegmenterError(
            f"the weights in {source} are incomplete: {needed[0]}{_more(needed)} missing; {AGAIN}"
        )
    if missing:
        logger.warning("%s lacks %s, which nothing needs", source, ", ".join(missing))
    surplus = sorted(name for name in report["unexpected_keys"] if not name.endswith(BUFFERS))
    layers = [name for name in surplus if _of_a_further_layer(model, name)]
    if layers:
        raise SegmenterError(
            f"the weights in {source} do not fit its config.json, which describes fewer layers: "
            f"{layers[0]}{_more(layers)} left over; {AGAIN}"
        )
    if surplus:  # of another head, or of a training: the model is whole without them
        shown = ", ".join(surplus[:5])
        logger.warning("%s: weights that nothing uses (%d): %s", source, len(surplus), shown)


def _of_a_further_layer(model: Any, name: str) -> bool:
    """Whether a weight belongs to a layer after the last one of a list of layers in the model."""
    module = model
    for part in name.split("."):
        children = dict(module.named_children())
        if part not in children:
            return part.isdecimal() and "0" in children
        module = children[part]
    return False


def _more(names: Sequence[Any]) -> str:
    """The verb for the first of these names, and how many others there are."""
    others = len(names) - 1
    return f" and {others} more are" if others else " is"


def check_types(source: str, folder: Path) -> None:
    """Refuses a folder whose safetensors files hold weights that are whole numbers or quantized.

    Counters and indexes, which are whole numbers, are no weights by their names.
    """
    from safetensors import safe_open

    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  # not a dict
                kind = file.get_slice(name).get_dtype()
                if kind not in FLOATS and name.endswith("weight"):
                    raise SegmenterError(
                        f"{path.name} in {source} holds {name} as {kind}, which is no weight in "
                        "half or full precision; use the checkpoint that is not quantized"
                    )


def check_finite(source: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Refuses weights that are NaN or infinite; the `_block_norms` of the others by name.

    Takes 0.03 s for 1 GB on one core. Raises SegmenterError with the name of the weight.
    """
    norms = {name: _block_norms(one) for name, one in weights.items() if one.is_floating_point()}
    for name, blocks in norms.items():
        if not bool(blocks.isfinite().all()):
            raise SegmenterError(
                f"the weights in {source} are damaged: {name} has values that are no finite "
                f"numbers; {AGAIN}"
            )
    return norms


def check_values(source: str, weights: Mapping[str, Any]) -> None:
    """Refuses weights that are NaN or infinite, and matrices with holes of zeros.

    Matrices that are all zero, or have rows of zeros, are named in warnings while they are few.
    """
    empty, partly, zeros, values = [], [], 0, 0
    for name, norms in check_finite(source, weights).items():
        weight = weights[name]
        if weight.ndim < 2:  # biases of zero are common
            continue
        values += weight.numel()
        if not bool(norms.any()):
            empty.append(name)
            zeros += weight.numel()
        elif not bool(norms[:-1].all()):
            if _has_hole(weight, norms):
                raise SegmenterError(
                    f"the weights in {source} are damaged: {name} has {BLOCK} zeros in a row, as a "
                    f"download that was cut off leaves them; {AGAIN}"
                )
            partly.append(name)
    if zeros > ZERO_SHARE * values:
        raise SegmenterError(
            f"the weights in {source} are damaged: {empty[0]}{_more(empty)} all zero; {AGAIN}"
        )
    if empty:
        logger.warning("in %s these weights are all zero: %s", source, ", ".join(empty[:5]))
    if partly:
        logger.warning("in %s these weights have rows of zeros: %s", source, ", ".join(partly[:5]))


def _has_hole(weight: Any, norms: Any) -> bool:
    """Whether zeros that fill a block of a weight begin or end within a row of it.

    norms: its `_block_norms`. Training leaves whole rows of zeros: weight decay takes the
    embeddings of tokens that never occur to zero. A file that is not whole ends anywhere.
    """
    import torch

    # a row of a convolution makes one of its channels
    length = weight.shape[-1] if weight.ndim < 4 else weight[0].numel()
    rows = weight.detach().reshape(-1, length)
    zero = torch.linalg.vector_norm(rows, dim=1) == 0
    end = (len(norms) - 1) * BLOCK
    in_zero_rows = zero.repeat_interleave(rows.shape[1])[:end].view(-1, BLOCK).all(dim=1)
    if bool(((norms[:-1] == 0) & ~in_zero_rows).any()):
        return True
    # the row before rows of zeros ends with a zero, or the row after them begins with one
    before = ~zero[:-1] & zero[1:] & (rows[:-1, -1] == 0)
    after = zero[:-1] & ~zero[1:] & (rows[1:, 0] == 0)
    return bool((before | after).any())


def _block_norms(weight: Any) -> Any:
    """The norm of each BLOCK values of a tensor, and last that of the rest.

    A norm is NaN or infinite if a value is, and costs a fortieth of looking at each value.
    """
    import torch

    flat = weight.detach().reshape(-1)
    whole = flat.numel() // BLOCK * BLOCK
    blocks = torch.linalg.vector_norm(flat[:whole].view(-1, BLOCK), dim=1)
    return torch.cat([blocks, torch.linalg.vector_norm(flat[whole:]).reshape(1)])


def check_tokenizer(source: str, tokenizer: Any, rows: int) -> None:
    """Refuses a tokenizer that is not that of the text encoder.

    rows: tokens that the text encoder has embeddings of.
    """
    count = len(tokenizer)
    if not LEAST_TOKENS * rows <= count < rows + MOST_ADDED:
        raise SegmenterError(
            f"the tokenizer in {source} has {count} tokens, the text encoder {rows}: "
            f"tokenizer.json is missing, damaged or of another checkpoint; {AGAIN}"
        )
    if count > rows:
        logger.warning("%s: %d tokens of the tokenizer have no embedding", source, count - rows)
    ids = tokenizer.get_vocab()
    words = {token.removesuffix("</w>"): token for token in ids if token.endswith("</w>")} or {
        token: token for token in ids
    }
    longest = sorted((word for word in words if _plain(word)), key=len)[-8:]
    split = [word for word in longest if _ids(tokenizer, word) != [ids[words[word]]]]
    if len(split) > len(longest) / 2:
        raise SegmenterError(
            f"the tokenizer in {source} does not read its own words, such as {split[-1]!r}: its "
            f"merges are missing or damaged; {AGAIN}"
        )
    if tokenizer.model_max_length < SHORTEST_CONTEXT or tokenizer.pad_token_id is None:
        raise SegmenterError(
            f"tokenizer_config.json in {source} gives no padding token, or a model_max_length "
            f"below {SHORTEST_CONTEXT}; {AGAIN}"
        )


def _plain(word: str) -> bool:
    return word.isascii() and word.isalpha() and word.islower()


def _ids(tokenizer: Any, word: str) -> list[int]:
    found: list[int] = tokenizer(word, add_special_tokens=False)["input_ids"]
    return found


def check_image_size(source: str, model: Any, processor: Any) -> None:
    """Refuses an image processor that makes other sizes than the image encoder reads.

    A model for images of any size has none to compare.
    """
    vision = getattr(model.config, "vision_config", None)
    side = getattr(getattr(vision, "backbone_config", None), "image_size", None)
    size = getattr(processor, "image_processor", processor).size
    made = [getattr(size, "height", None), getattr(size, "width", None)]
    expected = [side, side] if isinstance(side, int) else side and list(side)
    if expected and all(made) and made != expected:
        raise SegmenterError(
            f"in {source} the image processor makes images of {made[1]}x{made[0]}, the model reads "
            f"{expected[1]}x{expected[0]}: processor_config.json and config.json are not of one "
            f"checkpoint; {AGAIN}"
        )
