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
        B, A = (torch.tensor(matrix, dtype=weight.dtype) for matrix in (_INPUT, _OUTPUT))
        self.to_tiles, self.from_tiles = torch.kron(B, B), torch.kron(A, A)  # [36, 36], [16, 36]

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
            part = padded[start * _STEP : (start + count) * _STEP + 2]
            line = padded.shape[1] * channels
            size = (_TILE, _TILE, count, columns, channels)
            tiles = part.as_strided(
                size, (line, channels, _STEP * line, _STEP * channels, 1), part.storage_offset()
            )  # overlapping
            moved = torch.mm(self.to_tiles, tiles.reshape(_TILE**2, -1)).view(_TILE**2, -1, channels)
            found = torch.bmm(moved, self.weight).view(_TILE**2, -1)
            back = torch.mm(self.from_tiles, found).view(_STEP, _STEP, count, columns, filters)
            result[start : start + count] = back.permute(2, 0, 3, 1, 4)
        image = result.view(rows * _STEP, columns * _STEP, filters)
        if image.shape[:2] != (h, w):
            image = image[:h, :w].contiguous()
        return image.permute(2, 0, 1)[None]


def _tiles(pixels: int) -> int:
    return -(-pixels // _STEP)
