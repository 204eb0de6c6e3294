"""Comparison of tensors with reference vectors, line by line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike


@dataclass
class Report:
    """Prints a line for each tensor and remembers the misses."""

    file: str = ""
    checked: int = 0
    misses: list[str] = field(default_factory=list)

    def check(self, tensor: str, found: ArrayLike, expected: ArrayLike, tolerance: float) -> None:
        """Compares two arrays: same shape, largest absolute difference within the tolerance (0: identical)."""
        found, expected = _plain(found), _plain(expected)
        if found.shape != expected.shape:
            self._line(tensor, f"shape {found.shape} instead of {expected.shape}", tolerance, False)
            return
        if tolerance == 0.0:
            differing = int((found != expected).sum())
            self._line(
                tensor, "identical" if not differing else f"{differing} of {found.size} differ", 0.0, not differing
            )
            return
        error = float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))
        self._line(tensor, f"{error:.2e}", tolerance, error <= tolerance)

    def relative(self, tensor: str, found: float, expected: float, tolerance: float, floor: float) -> None:
        """Compares two numbers by their difference over the expected one, which counts as `floor` at least."""
        error = abs(found - expected) / max(abs(expected), floor)
        self._line(tensor, f"{error:.2e}", tolerance, error <= tolerance)

    def many(self, tensor: str, errors: Mapping[str, float], tolerance: float) -> None:
        """One line for many numbers of a kind: the worst of them, by name."""
        worst = max(errors, key=lambda name: errors[name], default="")
        error = errors.get(worst, 0.0)
        name = f"{tensor} ({len(errors)}; worst: {worst})" if worst else f"{tensor} (0)"
        self._line(name, f"{error:.2e}", tolerance, bool(error <= tolerance))

    def fail(self, tensor: str, why: str) -> None:
        """A miss without numbers."""
        self._line(tensor, why, 0.0, False)

    def note(self, tensor: str, why: str) -> None:
        """Something that is not compared, and why."""
        print(f"{self.file:32} {tensor:44} {why}", flush=True)

    def _line(self, tensor: str, error: str, tolerance: float, passed: bool) -> None:
        self.checked += 1
        if not passed:
            self.misses.append(f"{self.file}: {tensor}")
        print(f"{self.file:32} {tensor:44} {error:>14}  {tolerance:8.0e}  {'ok' if passed else 'MISS'}", flush=True)


def _plain(value: ArrayLike) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value)
