"""3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3): a quarter of the multiplications.

Lavin and Gray, CVPR 2016. Tiles of 6 x 6 pixels, filters and results are moved to a space where the convolution is a
product of numbers; exact but for rounding, which is a few times that of the direct sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

_STEP, _TILE = 4, 6
_INPUT = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)  # fmt: skip
_FILTER = (
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)  # fmt: skip
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
_NUMBERS_AT_ONCE = 40960  # tiles times channels; 36 times as many stay in the cache
MIN_CHANNELS, TILES = 64, range(12, 600)  # elsewhere the direct sum is as fast


def pays(channels: int, filters: int, height: int, width: int) -> bool:
    """Whether it is faster than the direct sum."""
    return min(channels, filters) >= MIN_CHANNELS and _tiles(height) * _tiles(width) in TILES


class Winograd:
    """A convolution with stride 1 and padding 1."""

    def __init__(self, weight: Tensor) -> None:
        """weight [filters, channels, 3, 3]."""
        G = torch.tensor(_FILTER, dtype=torch.float64)
        filters, channels = weight.shape[:2]
        moved = torch.einsum("ij,fcjk,lk->ilcf", G, weight.double(), G)
        self.weight = moved.reshape(_TILE**2, channels, filters).to(weight.dtype)
        # Along one side of the tiles after the other: a third of the sums of both at once.
        B, A = (torch.tensor(matrix, dtype=weight.dtype) for matrix in (_INPUT, _OUTPUT))
        self.to_tiles, self.from_tiles = B.expand(_TILE, -1, -1), A.expand(_STEP, -1, -1)  # [6, 6, 6], [4, 4, 6]

    def __call__(self, x: Tensor) -> Tensor:
        """[1, channels, h, w] -> [1, filters, h, w], channels last."""
        _, channels, h, w = x.shape
        rows, columns, filters = _tiles(h), _tiles(w), self.weight.shape[2]
        padded = x.new_zeros(rows * _STEP + 2, columns * _STEP + 2, channels)
        padded[1 : h + 1, 1 : w + 1] = x[0].permute(1, 2, 0)
        result = x.new_empty(rows, _STEP, columns, _STEP, filters)
        at_once = max(1, _NUMBERS_AT_ONCE // (columns * channels))
        for start in range(0, rows, at_once):
            count = min(at_once, rows - start)
            moved = self._moved(padded[start * _STEP : (start + count) * _STEP + 2], count, columns)
            found = torch.bmm(moved.view(_TILE**2, -1, channels), self.weight)
            half = torch.mm(self.from_tiles[0], found.view(_TILE, -1)).view(_STEP, _TILE, -1)
            back = torch.bmm(self.from_tiles, half).view(_STEP, _STEP, count, columns, filters)
            result[start : start + count] = back.permute(2, 0, 3, 1, 4)
        image = result.view(rows * _STEP, columns * _STEP, filters)
        if image.shape[:2] != (h, w):
            image = image[:h, :w].contiguous()
        return image.permute(2, 0, 1)[None]

    def _moved(self, part: Tensor, count: int, columns: int) -> Tensor:
        """[6, 6, tiles * channels] of padded rows [4 * count + 2, 4 * columns + 2, channels]; tiles overlap."""
        line, channels = part.stride(0), part.shape[2]
        strips = part.as_strided((count, _TILE, line), (_STEP * line, line, 1), part.storage_offset())
        half = torch.bmm(self.to_tiles[:1].expand(count, -1, -1), strips)
        size = (_TILE, _TILE, count, columns, channels)
        tiles = half.as_strided(size, (line, channels, _TILE * line, _STEP * channels, 1))
        return torch.bmm(self.to_tiles, tiles.reshape(_TILE, _TILE, -1))


def _tiles(pixels: int) -> int:
    return -(-pixels // _STEP)
