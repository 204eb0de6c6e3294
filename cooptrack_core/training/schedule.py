"""The learning rate over the steps: linear warm-up times a cosine (spec 7.1)."""

from __future__ import annotations

import math

from cooptrack_core.training.stage import LoopOptions


def rate_factor(step: int, total_steps: int, options: LoopOptions) -> float:
    """Share of the learning rate in step `step` of `total_steps`, counted from 0.

    The cosine runs from the first step on, from 1 to `last_rate`; the warm-up, from `warm_up_from` to 1, scales it.
    """
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / max(total_steps, 1)))
    factor = options.last_rate + (1.0 - options.last_rate) * cosine
    if step < options.warm_up_steps:
        factor *= 1.0 - (1.0 - step / options.warm_up_steps) * (1.0 - options.warm_up_from)
    return factor


__all__ = ["rate_factor"]
