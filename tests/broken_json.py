"""Broken files: JSON with one value replaced by an invalid one."""

from typing import Any

import numpy as np

INVALID: list[Any] = [
    None, True, -1, 0, 10**30, 0.5, float("nan"), float("inf"), "", "x", "\u0000", ["a"], [1, 2],
    [], {}, [[]], [None], {"size": 3}, {"counts": []}, {"id": []},
]  # fmt: skip


def broken(content: Any, rng: np.random.Generator) -> Any:
    """The JSON with one value anywhere in it replaced by an invalid one, or one field left out."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in list(inner):
            places.append((value, key))
            if isinstance(one, dict | list):
                walk(one)

    walk(content)
    holder, key = places[rng.integers(len(places))]
    if rng.random() < 0.15:
        del holder[key]
    else:
        holder[key] = INVALID[rng.integers(len(INVALID))]
    return content
