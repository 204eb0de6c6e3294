"""The codebook of a roadside network, from what it sends about the train split (cooperation/codebook.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cooptrack_core.checkpoints import store
from cooptrack_core.cooperation.codebook import ROWS, STREAMS, Codebook, Single, fit
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.training.data import CACHE_FOLDER, names_of_split
from cooptrack_core.training.frames import load_frames
from cooptrack_core.training.messages import roadside_messages
from cooptrack_core.types import CooptrackError, Features, Message

SAMPLES = 40_000  # instances that k-means looks at


@dataclass(frozen=True)
class Fitted:
    """A codebook, and what it leaves of the variance of instances that it has not seen: [K] by stream."""

    codebook: Codebook
    left: Mapping[str, list[float]]
    instances: int


def fit_codebook(
    data: Path, preset: str, weights: str, *, stages: int, seed: int, split: str = "train", cache: Path | None = None
) -> Fitted:
    """Fits on all sequences but every tenth, which is measured on. Raises CooptrackError for what cannot be."""
    path = store.find(weights, preset)
    if path is None:
        raise CooptrackError(f"weights {weights!r}: random weights need no codebook; give trained ones")
    checkpoint = store.load(path, preset)
    folder = data / CACHE_FOLDER if cache is None else cache
    dataset = Dataset(data)
    frames = load_frames(dataset, names_of_split(dataset, split), checkpoint.config, folder)
    kept = folder / f"messages_{checkpoint.fingerprint.hex()[:16]}"
    messages = roadside_messages(path, preset, frames, kept)
    rows = {name: _rows(found) for name, found in messages.items()}
    names = sorted(rows)
    test = names[::10] if len(names) >= 10 else names
    train = [name for name in names if name not in test] or names
    wanted = [s for s in STREAMS if s in (checkpoint.config.needed_streams or STREAMS)]
    values = {s: np.concatenate([rows[name][s] for name in train]) for s in wanted}
    count = len(values["query"])
    if count < ROWS:
        raise CooptrackError(f"{data}: split {split}: {count} instances are too few for {ROWS} rows; give more data")
    chosen = np.random.default_rng(seed).permutation(count)[:SAMPLES]
    about = f"split {split}, {len(train)} sequences, {min(count, SAMPLES)} of {count} instances, seed {seed}"
    book = fit({s: v[chosen] for s, v in values.items()}, checkpoint.fingerprint, stages, seed, about)
    held = {s: np.concatenate([rows[name][s] for name in test]) for s in wanted}
    return Fitted(book, {s: _left(book, held, s) for s in wanted}, count)


def _rows(messages: Sequence[Message]) -> dict[str, Single]:
    """[I, C] by stream, of all messages of a sequence."""
    found = [m.instances.features for m in messages if m.instances.features is not None]
    return {
        s: np.concatenate([np.asarray(getattr(f, s), np.float32) for f in found if getattr(f, s) is not None])
        for s in STREAMS
        if any(getattr(f, s) is not None for f in found)
    }


def _left(book: Codebook, held: Mapping[str, Single], stream: str) -> list[float]:
    values = held[stream]
    spread = float(((values - values.mean(0)) ** 2).sum())
    shares = []
    for codes in range(1, book.stages + 1):
        coded = book.encode(Features(held["query"], None, held.get("motion")), codes)
        decoded = getattr(book.decode(coded), stream)
        shares.append(float(((values - decoded) ** 2).sum()) / spread)
    return shares


__all__ = ["Fitted", "fit_codebook"]
