"""Where a network computes in bf16 or fp16, geometry does not: with eight bits a pixel is several metres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Inside, autocast is off on the device."""
    if not _autocast_is_on(device.type):  # nothing to do, and nothing that an exporter would see
        yield
        return
    with torch.autocast(device.type, enabled=False):
        yield


def _autocast_is_on(kind: str) -> bool:
    if kind not in ("cpu", "cuda"):
        return False
    try:
        return torch.is_autocast_enabled(kind)
    except TypeError:  # torch before 2.4
        return torch.is_autocast_enabled() if kind == "cuda" else torch.is_autocast_cpu_enabled()


__all__ = ["full_precision"]
