"""Peaks of the image for one agent: boxes are made where there are peaks, not in every cell.

How a camera looks at its map, and what the first convolution makes of that, is remembered by calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cooptrack_core.model import box_code
from cooptrack_core.model.fast.convolutions import FastConv2d
from cooptrack_core.model.fast.recent import Recent
from cooptrack_core.model.linear import linear
from cooptrack_core.model.proposals import DenseBoxes, ImageProposals, Proposals, View, scaled


@dataclass(frozen=True)
class _Looks:
    """What only depends on the calibration."""

    view: View
    trunk: Tensor  # [1, head_dims, h, w] what the trunk makes of the description of the view, with its bias


class FastProposals(ImageProposals):
    """ImageProposals for one sample; others, and training, go the plain way."""

    def prepare(self) -> None:
        """The trunk's filters, those of features and those of the description apart."""
        self._trunk = self.trunk_convolution().convolved  # not the module, whose weights would count twice
        view = self.trunk.weight[:, self.config.head_dims :]
        self._of_view = view.contiguous(memory_format=torch.channels_last)
        self._looks: Recent[_Looks] = Recent()

    def trunk_convolution(self) -> FastConv2d:
        """Of the features alone."""
        dims = self.config.head_dims
        made = FastConv2d(dims, dims, 3, padding=1, bias=False)
        made.weight.data = self.trunk.weight[:, :dims].contiguous(memory_format=torch.channels_last)
        return made

    def look(self, maps: Tensor, finest: Tensor, lidar2img: Tensor) -> tuple[DenseBoxes | None, Proposals]:
        """As ImageProposals, without the dense output."""
        if len(maps) != 1 or torch.is_grad_enabled() or maps.dtype != torch.float32:
            return super().look(maps, finest, lidar2img)
        looks = self._looks.of(lidar2img, lambda: self._looks_at(lidar2img.to(maps), finest))
        rows = self._features(maps, finest, looks)  # [hw, head_dims]
        scores = linear(rows, self.heat.weight.flatten(1), self.heat.bias).sigmoid()  # [hw, K]
        best = scores.amax(1)  # [hw]
        image = best.view(1, 1, *finest.shape[-2:])
        cells = (image == functional.max_pool2d(image, 3, stride=1, padding=1)).flatten().nonzero()[:, 0]  # [n]
        code, ref_pts = self._boxes(rows, cells, looks.view)
        within = ((ref_pts[..., :2] > 0.0) & (ref_pts[..., :2] < 1.0)).all(-1)  # [n]
        rank = torch.zeros_like(best)
        rank[cells] = best[cells] * within
        chosen = rank.topk(min(self.config.proposals, self.config.num_queries, len(rank)))
        index = chosen.indices  # [P]
        place = torch.full(rank.shape, -1)
        place[cells] = torch.arange(len(cells))
        place = place[index]
        if bool((place < 0).any()):  # fewer peaks than queries: other cells fill up
            code, ref_pts = self._boxes(rows, index, looks.view)
        else:
            code, ref_pts = code[place], ref_pts[place]
        ref_pts, classes, feats = ref_pts.clamp(0.001, 0.999), scores[index], rows[index]
        told = torch.cat((feats, scaled(code, ref_pts), classes), dim=-1)[None]
        free = torch.ones(1, len(index), dtype=torch.bool)
        return None, Proposals(ref_pts[None], code[None], self.query(told), chosen.values[None], classes[None], free)

    def _looks_at(self, lidar2img: Tensor, finest: Tensor) -> _Looks:
        view = View(lidar2img, finest.shape[-2:], self.config.image_size)
        description = view.description().contiguous(memory_format=torch.channels_last)
        return _Looks(view, functional.conv2d(description, self._of_view, self.trunk.bias, padding=1))

    def _features(self, maps: Tensor, finest: Tensor, looks: _Looks) -> Tensor:
        """[h * w, head_dims]"""
        coarser = functional.interpolate(self.coarser(maps), size=finest.shape[-2:], mode="nearest")
        x = self.finest(finest).add_(coarser).relu_()
        x = self._trunk(x, "none")
        x = self.norm(x.add_(looks.trunk)).relu_()
        assert isinstance(self.second, FastConv2d)
        x = self.second.convolved(x, "relu")  # [1, head_dims, h, w]
        return x[0].permute(1, 2, 0).reshape(-1, x.shape[1])

    def _boxes(self, rows: Tensor, cells: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """Codes [n, 10] and normalised bottom centres [n, 3] of some cells."""
        assert isinstance(self.values, nn.Conv2d)
        values = linear(rows.index_select(0, cells), self.values.weight.flatten(1), self.values.bias)
        code = view.at(cells).boxes(values[None, None])[0][0, 0]
        return code, box_code.normalise(box_code.center(code), self.config.point_range_m)
