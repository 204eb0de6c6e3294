"""Features as a few bytes: residual vector quantisation with a codebook that sender and receiver have.

Stage after stage the nearest of 256 rows is taken and subtracted, so the first codes alone are a coarse feature and
every further one refines it. The file is beside the weights; its fingerprint names them and goes into every message.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.fitted_file import Content, Kind, load_fitted, save_fitted
from cooptrack_core.types import Features

STREAMS = ("query", "motion")  # that may be coded, in this order
ROWS = 256  # of a stage: a code is a byte
PREFIX_BYTES = 8  # of fingerprints in compact messages
# OpenBLAS gives larger products to threads of its own, which for so little work wait for each other, and disturb torch.
_PRODUCTS_AT_ONCE = 2**18
Single = NDArray[np.float32]


@dataclass(frozen=True)
class Codebook(Content):
    """Its tensors are tables by stream [K, 256, C]."""

    @property
    def tables(self) -> Mapping[str, Single]:
        """By stream [K, 256, C]: K stages of 256 rows."""
        return self.tensors

    @property
    def stages(self) -> int:
        """K, the most codes per stream."""
        return min(len(table) for table in self.tables.values())

    def encode(self, features: Features, codes: int) -> Features:
        """The features as `codes` codes per stream, at most `stages`."""
        columns = {name: getattr(features, name) for name in STREAMS if name in self.tables}
        streams = [
            _nearest(values, self.tables[name][: min(codes, self.stages)])
            for name, values in columns.items()
            if values is not None
        ]
        return Features(
            np.zeros((len(features.query), 0), np.float32), None, None, features.preset, features.fingerprint,
            np.stack(streams, axis=1), self.fingerprint, features.query.shape[1],
        )  # fmt: skip

    def knows(self, features: Features) -> bool:
        """Whether codes are rows of this codebook."""
        prefix, codes = features.codebook, features.codes
        same = len(prefix) >= PREFIX_BYTES and self.fingerprint.startswith(prefix)
        fits = codes is not None and codes.shape[1] <= len(self.tables) and codes.shape[2] <= self.stages
        return same and fits and features.channels == self.tables["query"].shape[2]

    def decode(self, features: Features) -> Features:
        """Codes, of which it `knows`, looked up."""
        assert features.codes is not None
        found = {
            name: _looked_up(features.codes[:, column], self.tables[name])
            for column, name in enumerate([name for name in STREAMS if name in self.tables][: features.codes.shape[1]])
        }
        return replace(features, query=found["query"], motion=found.get("motion"), codes=None, codebook=b"", channels=0)


def _nearest(values: Single, tables: Single) -> NDArray[np.uint8]:
    """[N, C] -> [N, K] rows of the stages [K, 256, C]."""
    left = np.asarray(values, np.float32)
    codes = np.zeros((len(left), len(tables)), np.uint8)
    step = max(1, _PRODUCTS_AT_ONCE // tables[0].size) if len(tables) else 1
    for stage, table in enumerate(tables):
        lengths = (table**2).sum(1)
        for start in range(0, len(left), step):
            some = slice(start, start + step)
            distance = lengths - 2.0 * left[some] @ table.T  # [step, 256], without what all rows share
            codes[some, stage] = distance.argmin(1)
        left = left - table[codes[:, stage]]
    return codes


def _looked_up(codes: NDArray[np.uint8], tables: Single) -> Single:
    """[N, K] -> [N, C]: the rows summed in the order of the stages."""
    total = np.zeros((len(codes), tables.shape[2]), np.float32)
    for stage in range(codes.shape[1]):
        total += tables[stage][codes[:, stage]]
    return total


def save_codebook(codebook: Codebook, path: Path) -> None:
    """Writes a codebook as safetensors, half precision, in which `fit` has made its numbers."""
    save_fitted(KIND, codebook, path)


def load_codebook(path: Path) -> Codebook:
    """Reads and checks a codebook. Raises CooptrackError with file, what is wrong and the remedy."""
    found = load_fitted(KIND, path)
    return Codebook(found.tensors, found.roadside_fingerprint, found.notes)


def _wrong(tables: Mapping[str, Single]) -> str:
    fits = "query" in tables and set(tables) <= set(STREAMS) and all(_is_table(table) for table in tables.values())
    same = fits and len({table.shape[2] for table in tables.values()}) == 1
    return "" if same else f"tables are not finite [K, {ROWS}, C] of query and motion"


def _is_table(table: Single) -> bool:
    return table.ndim == 3 and table.shape[0] > 0 and table.shape[1] == ROWS and bool(np.isfinite(table).all())


KIND = Kind("codebook", "1", _wrong)


def fit(values: Mapping[str, Single], roadside_fingerprint: bytes, stages: int, seed: int, notes: str = "") -> Codebook:
    """A codebook of features [N, C] by stream, by k-means on what the stages before leave; N is at least 256."""
    tables = {name: _fitted(column, stages, seed) for name, column in values.items()}
    return Codebook(tables, roadside_fingerprint, notes)


def _fitted(values: Single, stages: int, seed: int) -> Single:
    from scipy.cluster.vq import kmeans2

    left, tables = np.asarray(values, np.float32), []
    for stage in range(stages):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a row without instances stays where it was: nothing is lost
            table, _ = kmeans2(left, ROWS, iter=15, minit="points", rng=seed + stage)
        tables.append(table.astype(np.float16).astype(np.float32))
        left = left - tables[-1][_nearest(left, tables[-1][None])[:, 0]]
    return np.stack(tables)


__all__ = ["PREFIX_BYTES", "STREAMS", "Codebook", "fit", "load_codebook", "save_codebook"]
