"""What a frame should have found, in the box format of the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cooptrack_core.model import box_code


@dataclass(frozen=True)
class GroundTruth:
    """G annotated objects of one frame, in the agent's lidar frame (spec 7.3)."""

    boxes: Tensor  # [G, 9] x, y, z of the bottom centre, w, l, h, psi, vx, vy; NaN velocity: unknown
    labels: Tensor  # [G] int64 class
    ids: Tensor  # [G] int64, >= 0, the same object has the same id in every frame
    # [G] bool, what the agent's own sensors see. Where it is given, the decoder of a cooperative network learns to
    # find this and to keep what it tracks, and so does the whole network in frames without messages. The published
    # network does without: its decoder's scores stay those of the stage before (spec 10.3).
    seen: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def codes(self) -> Tensor:
        """[G, 10] box codes."""
        return box_code.encode(self.boxes)

    def select(self, index: Tensor) -> GroundTruth:
        """Some rows."""
        seen = None if self.seen is None else self.seen[index]
        return GroundTruth(self.boxes[index], self.labels[index], self.ids[index], seen)

    def to(self, device: torch.device) -> GroundTruth:
        """Every field on a device."""
        seen = None if self.seen is None else self.seen.to(device)
        return GroundTruth(self.boxes.to(device), self.labels.to(device), self.ids.to(device), seen)

    def within(self, point_range_m: tuple[float, ...]) -> GroundTruth:
        """The objects whose bottom centre lies inside the range, borders excluded."""
        low, high = self.boxes.new_tensor(point_range_m[:3]), self.boxes.new_tensor(point_range_m[3:])
        centre = self.boxes[:, :3]
        return self.select(((centre > low) & (centre < high)).all(-1))

    @staticmethod
    def empty() -> GroundTruth:
        """A street without road users."""
        none = torch.zeros(0, dtype=torch.int64)
        return GroundTruth(torch.zeros(0, 9), none, none)


__all__ = ["GroundTruth"]
