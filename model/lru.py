"""A least-recently-used cache with a limit on what its values weigh."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class WeighedLRU(Generic[V]):
    """Keeps the values used last, as long as together they weigh at most `limit`.

    weigh: what a value weighs, such as its bytes; by default each weighs 1. A value that is too
    heavy alone is not kept. It is not thread-safe: its user locks.
    """

    def __init__(self, limit: float, weigh: Callable[[V], float] = lambda _: 1) -> None:
        self.limit = limit
        self._weigh = weigh
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._weight = 0.0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> V | None:
        """The value of a key, or None."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: Hashable, value: V) -> None:
        """Keep a value; the ones that were used longest ago go."""
        if key in self._values:
            self._weight -= self._weigh(self._values.pop(key))
        self._values[key] = value
        self._weight += self._weigh(value)
        while self._weight > self.limit:
            _, old = self._values.popitem(last=False)
            self._weight -= self._weigh(old)
