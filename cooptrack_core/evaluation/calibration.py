"""Calibration of scores by maximum likelihood: from a score to the chance that the object is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.score_calibration import calibrated, logit

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

# Priors that keep few or perfectly separated data from blowing up: ln(scale) and offset are normal about identity.
_LOG_SCALE_STD, _OFFSET_STD = 1.0, 3.0
# What the parameters late.*_score_scale and late.*_score_offset allow.
_SCALE_LIMITS, _OFFSET_LIMITS = (0.01, 20.0), (-20.0, 20.0)
_DIGITS = 4  # of the parameters, so that a file holds exactly what was fitted


@dataclass(frozen=True)
class Calibration:
    """sigmoid(scale logit(score) + offset), and how well it fits what it was made of (log losses in nats)."""

    scale: float = 1.0
    offset: float = 0.0
    samples: int = 0
    hits: int = 0
    loss_before: float = float("nan")
    loss_after: float = float("nan")

    def __call__(self, score: Float) -> Float:
        """[N] calibrated scores."""
        return calibrated(score, self.scale, self.offset)

    def describe(self) -> str:
        """One line on what it was made of."""
        if not self.samples:
            return "nothing was reported: scores stay as they are"
        share = self.hits / self.samples
        return (
            f"{self.samples} boxes, {share:.0%} of them on an object; log loss {self.loss_before:.3f} -> "
            f"{self.loss_after:.3f}"
        )


def fit(score: Float, hit: Bool) -> Calibration:
    """The most likely curve for scores [N] of which `hit` [N] were objects, with weak priors about identity.

    The scale is positive: a higher score never becomes a lower one. Without samples it is the identity.
    """
    from scipy.optimize import minimize

    if not len(score):
        return Calibration()
    x, y = logit(score), hit.astype(float)

    def cost(parameters: Float) -> tuple[float, Float]:
        scale, offset = np.exp(parameters[0]), parameters[1]
        z = scale * x + offset
        loss = np.logaddexp(0.0, z).sum() - (y * z).sum()
        slope = 1.0 / (1.0 + np.exp(-z)) - y
        prior = 0.5 * (parameters / (_LOG_SCALE_STD, _OFFSET_STD)) ** 2
        gradient = np.array([scale * (slope * x).sum(), slope.sum()])
        return float(loss + prior.sum()), gradient + parameters / (_LOG_SCALE_STD**2, _OFFSET_STD**2)

    bounds = [tuple(np.log(_SCALE_LIMITS).tolist()), _OFFSET_LIMITS]
    found = minimize(cost, np.zeros(2), jac=True, bounds=bounds, method="L-BFGS-B")
    scale = float(np.clip(round(float(np.exp(found.x[0])), _DIGITS), *_SCALE_LIMITS))
    offset = round(float(found.x[1]), _DIGITS)
    return Calibration(
        scale, offset, len(score), int(hit.sum()), log_loss(score, hit), log_loss(calibrated(score, scale, offset), hit)
    )


def log_loss(score: Float, hit: Bool) -> float:
    """Mean negative log-likelihood of the hits [N] under the scores [N] taken as probabilities, nats."""
    z = logit(score)
    return float(np.mean(np.logaddexp(0.0, z) - hit * z))


__all__ = ["Calibration", "fit", "log_loss"]
