"""Motion features of boxes: shape and pose through a point net, heading and velocity beside (paper MDFE, spec 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.model import box_code
from cooptrack_core.model.mlp import normed_mlp
from cooptrack_core.model.presets import ModelConfig


class MotionExtractor(nn.Module):
    """Box codes to motion features; gradients flow on into the boxes."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = (3, config.motion_width, config.motion_width, config.embed_dims)
        self.point_net = normed_mlp(widths)
        self.velocity_net = normed_mlp(widths)
        self.fusion = normed_mlp((2 * config.embed_dims, config.embed_dims))

    def forward(self, code: Tensor) -> Tensor:
        """[..., 10] box codes (m, m/s) -> [..., C] motion features."""
        boxes = box_code.decode(code)  # [..., 9]
        corners = box_code.corners(boxes) - box_code.gravity_center(boxes)[..., None, :]  # [..., 8, 3]
        shape = self.point_net(corners).amax(-2)  # [..., 8, C] -> [..., C]
        motion = self.velocity_net(boxes[..., 6:9])  # psi, vx, vy -> [..., C]
        return self.fusion(torch.cat((shape, motion), dim=-1))  # [..., C]
