"""Scores of different detectors brought to one meaning: the chance that the object is there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_SURE = 1e-6  # scores this near to 0 or 1 count as this near: their logit stays finite


def calibrated(score: Float, scale: float, offset: float) -> Float:
    """[N] sigmoid(scale logit(score) + offset) (Platt scaling); with scale 1 and offset 0 the scores themselves."""
    if scale == 1.0 and offset == 0.0:
        return score
    return np.asarray(1.0 / (1.0 + np.exp(-(scale * logit(score) + offset))), np.float64)


def logit(score: Float) -> Float:
    """[N] log-odds of scores 0..1, finite."""
    p = np.clip(score, _SURE, 1.0 - _SURE)
    return np.asarray(np.log(p / (1.0 - p)), np.float64)


__all__ = ["calibrated", "logit"]
