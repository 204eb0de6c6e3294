"""What is remembered of senders: no more of them than a vehicle can hear, and whether one of them moves."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MOST_SENDERS = 32


class LastHeard(dict[Key, Value]):
    """By sender, the last heard last. Somebody who makes up names must not fill the memory: the first ones go."""

    def keep(self, sender: Key, value: Value) -> Value:
        """Remembers what is known of a sender that was heard now; returns it."""
        self.pop(sender, None)
        self[sender] = value
        if len(self) > MOST_SENDERS:
            del self[next(iter(self))]
        return value


def trend(t_s: Float, places_m: Float) -> tuple[float, float]:
    """Speed (m/s) at which the places [K, 2] of a sender drift over the times [K], and its standard deviation.

    0 and infinite where the times do not differ.
    """
    since_s, gone_m = t_s - t_s.mean(), places_m - places_m.mean(axis=0)
    moment = float((since_s**2).sum())
    if moment <= 0.0:
        return 0.0, float("inf")
    slope = since_s @ gone_m / moment  # [2]
    rest = gone_m - since_s[:, None] * slope
    return float(np.hypot(*slope)), float(np.sqrt((rest**2).sum() / max(1, 2 * len(t_s) - 4) / moment))


__all__ = ["MOST_SENDERS", "LastHeard", "trend"]
