"""A small memory of what was computed last, by what it was computed from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


class Recent(Generic[T]):
    """The results of the last few inputs; a fixed camera has one."""

    def __init__(self, size: int = 4) -> None:
        self.size = size
        self._found: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def of(self, given: Tensor, make: Callable[[], T]) -> T:
        """The result for a CPU tensor with exactly these numbers."""
        key = given.numpy().tobytes()
        found = self._found.pop(key, None)
        if found is None:
            found = make()
        self._found[key] = found
        while len(self._found) > self.size:
            self._found.popitem(last=False)
        return found
