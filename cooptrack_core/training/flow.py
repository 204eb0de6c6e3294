"""The flow of a roadside network, from what it sends about the train split and what came of it (cooperation/flow.py).

Every instance that stands for a labelled object is an example: where that object is up to a second later, and what the
roadside network then says of it. Delays are drawn anew for every example and step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cooptrack_core.checkpoints import store
from cooptrack_core.config import LatencyConfig, NetworkConfig, RoadsideConfig
from cooptrack_core.cooperation.codebook import Codebook
from cooptrack_core.cooperation.flow import BOX_INPUTS, FARTHEST, LAYERS, SPEED_MPS, Flow, inputs
from cooptrack_core.cooperation.latency import LONGEST_FLOW_S, rotated
from cooptrack_core.cooperation.motion_history import MotionHistory
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.model.loading import codebook_of
from cooptrack_core.training.data import CACHE_FOLDER, VAL_SEQUENCES, names_of_split
from cooptrack_core.training.frames import Clip, FrameSet, load_frames
from cooptrack_core.training.messages import roadside_messages
from cooptrack_core.types import CooptrackError, Message

Float = NDArray[np.float64]

AHEAD = 10  # frames that are looked at for what came of an instance
FEWEST = 1000  # examples
_SAME_OBJECT_M = 2.0
_WIDTH, _BATCH, _RATE, _DROPOUT = 128, 512, 2e-3, 0.1
_CODES = RoadsideConfig().feature_codes
_FAR_M = 0.5  # from here on errors count linearly
_FEATURES_COUNT = 0.1  # weight of their error, in variances, against that of places, in m


@dataclass(frozen=True)
class Examples:
    """N instances of messages. What is not known later is NaN."""

    given: Tensor  # [N, BOX_INPUTS + C]
    velocity_mps: Tensor  # [N, 2] what positions tell, ahead and left
    after_s: Tensor  # [N, AHEAD]
    moved_m: Tensor  # [N, AHEAD, 2] of the labelled object, ahead and left of its heading in the message
    row_then: Tensor  # [N, AHEAD] row of the same instance of a later message, -1: none
    said: Tensor  # [N, C] features before they were coded for the air

    def __len__(self) -> int:
        return len(self.given)

    @property
    def query(self) -> Tensor:
        """[N, C] features as vehicles have them."""
        return self.given[:, BOX_INPUTS:]


@dataclass(frozen=True)
class Fitted:
    """A flow, and mean errors on sequences that it has not seen: by delay in s; (without, with) the flow."""

    flow: Flow
    examples: int
    place_m: Mapping[float, tuple[float, float]]
    features: Mapping[float, tuple[float, float]]  # mean squared, in variances


class FlowNetwork(nn.Module):
    """[N, inputs] -> [N, 2 + C]: by how much the velocity is wrong, and the change of features in deviations per s."""

    def __init__(self, given: Tensor) -> None:
        super().__init__()
        width = given.shape[1]
        sizes = (width, *[_WIDTH] * (LAYERS - 1), 2 + width - BOX_INPUTS)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.mean, self.deviation = given.mean(0), given.std(0) + 1e-3
        for values in self.layers[-1].parameters():
            nn.init.zeros_(values)

    def forward(self, given: Tensor) -> Tensor:
        """As Flow."""
        x = ((given - self.mean) / self.deviation).clamp(-FARTHEST, FARTHEST)
        for layer in self.layers[:-1]:
            x = functional.dropout(functional.relu(layer(x)), _DROPOUT, self.training)
        return torch.as_tensor(self.layers[-1](x))


def fit_flow(
    data: Path,
    preset: str,
    weights: str,
    *,
    steps: int,
    seed: int,
    split: str = "train",
    cache: Path | None = None,
    codebook_file: str = "",
) -> Fitted:
    """Fits on a split, measures on the val sequences that also choose weights. CooptrackError for what cannot be.

    codebook_file: through whose codes vehicles will get the features; empty: as of a network's configuration.
    """
    path = store.find(weights, preset)
    if path is None:
        raise CooptrackError(f"weights {weights!r}: of random weights nothing can be foreseen; give trained ones")
    checkpoint = store.load(path, preset)
    folder = data / CACHE_FOLDER if cache is None else cache
    codebook = codebook_of(NetworkConfig(codebook=codebook_file), path, checkpoint.fingerprint)
    dataset, kept = Dataset(data), folder / f"messages_{checkpoint.fingerprint.hex()[:16]}"

    def examples(names: Sequence[str]) -> Examples:
        frames = load_frames(dataset, names, checkpoint.config, folder)
        return examples_of(frames, roadside_messages(path, preset, frames, kept), codebook)

    train = examples(names_of_split(dataset, split))
    if len(train) < FEWEST:
        raise CooptrackError(
            f"{data}: split {split}: {len(train)} instances are too few, {FEWEST} needed; give more data"
        )
    val = examples(names_of_split(dataset, "val")[:VAL_SEQUENCES])
    network = trained(train, steps, seed)
    notes = f"split {split}, {len(train)} instances, {steps} steps, seed {seed}"
    flow = Flow(in_halves(network), checkpoint.fingerprint, notes)
    place_m, features = errors_of(network, val)
    return Fitted(flow, len(train), place_m, features)


def trained(examples: Examples, steps: int, seed: int) -> FlowNetwork:
    torch.manual_seed(seed)
    network = FlowNetwork(examples.given)
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in range(steps):
        rows, later = torch.randint(len(examples), (_BATCH,)), torch.randint(AHEAD, (_BATCH,))
        place, feature = _misses(network, examples, rows, later)
        loss = functional.smooth_l1_loss(place, torch.zeros_like(place), beta=_FAR_M)
        loss = loss + _FEATURES_COUNT * feature.square().mean() if len(feature) else loss
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def _misses(network: FlowNetwork, examples: Examples, rows: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
    """How far off places [M, 2] in m, and features [K, C] in deviations are, of examples at a later time each."""
    found, after_s = network(examples.given[rows]), examples.after_s[rows, later][:, None]
    moved, then = examples.moved_m[rows, later], examples.row_then[rows, later]
    known, again = moved[:, 0].isfinite(), then >= 0  # what is not known must not reach the gradient
    velocity_mps = examples.velocity_mps[rows[known]] + found[known, :2] * SPEED_MPS
    change = (examples.said[then[again]] - examples.query[rows[again]]) / network.deviation[BOX_INPUTS:]
    return velocity_mps * after_s[known] - moved[known], found[again, 2:] * after_s[again] - change


@torch.no_grad()
def errors_of(network: FlowNetwork, val: Examples) -> tuple[dict[float, tuple[float, float]], ...]:
    """Mean errors of places and features by delay."""
    still = FlowNetwork(val.given)  # says nothing before it learns
    still.mean, still.deviation = network.mean, network.deviation
    rows, places, features = torch.arange(len(val)), {}, {}
    for later in range(1, AHEAD, 2):
        at = torch.full_like(rows, later)
        misses = [_misses(kind, val, rows, at) for kind in (still.eval(), network)]
        delay_s = round(float(val.after_s[:, later].nanmedian()), 1)
        without, with_flow = (float(place.norm(dim=1).mean()) for place, _ in misses)
        places[delay_s] = without, with_flow
        without, with_flow = (float(feature.square().mean()) for _, feature in misses)
        features[delay_s] = without, with_flow
    return places, features


def in_halves(network: FlowNetwork) -> dict[str, NDArray[np.float32]]:
    """Its tensors, in half precision as they will be kept."""
    tensors = {"mean": network.mean, "deviation": network.deviation}
    for index, layer in enumerate(network.layers):
        assert isinstance(layer, nn.Linear)
        tensors |= {f"weight{index}": layer.weight, f"bias{index}": layer.bias}
    return {name: value.detach().half().float().numpy() for name, value in tensors.items()}


def examples_of(frames: FrameSet, messages: Mapping[str, Sequence[Message]], codebook: Codebook | None) -> Examples:
    """The examples of all sequences."""
    parts, start = [], 0
    for clip in frames.of("rsu").clips:
        part = _of_sequence(clip, messages[clip.sequence], codebook)
        if part is not None:
            then = part.row_then
            parts.append((part, torch.where(then < 0, then, then + start)))
            start += len(part)
    if not parts:
        raise CooptrackError("flow: no instance of the roadside network stands for a labelled object; give other data")
    columns = ("given", "velocity_mps", "after_s", "moved_m", "said")
    joined = {name: torch.cat([getattr(part, name) for part, _ in parts]) for name in columns}
    return Examples(**joined, row_then=torch.cat([then for _, then in parts]))


def _of_sequence(clip: Clip, messages: Sequence[Message], codebook: Codebook | None) -> Examples | None:
    """The examples of one sequence: every instance is a row, those of no labelled object have no later places."""
    history, given, said, velocity, first_row = MotionHistory(LatencyConfig()), [], [], [], [0]
    for message in messages:
        motion = history.motion(message)
        features = message.instances.features
        if not len(message.instances) or features is None:
            first_row.append(first_row[-1])
            continue
        rows = inputs(message, motion, history.seen_before(message))
        heard = features if codebook is None else codebook.decode(codebook.encode(features, _CODES))
        given.append(np.concatenate((rows, np.asarray(heard.query, np.float32)), axis=1))
        said.append(np.asarray(features.query, np.float32))
        velocity.append(rotated(motion.velocity_mps, -message.instances.heading_rad))
        first_row.append(first_row[-1] + len(rows))
    if not given:
        return None
    count = first_row[-1]
    after_s, moved_m = np.full((count, AHEAD), np.nan), np.full((count, AHEAD, 2), np.nan)
    row_then = np.full((count, AHEAD), -1)
    for now, message in enumerate(messages):
        mine = slice(first_row[now], first_row[now + 1])
        for ahead in range(min(AHEAD, len(messages) - 1 - now)):
            then = now + ahead + 1
            if clip.stamp_s[then] - clip.stamp_s[now] > LONGEST_FLOW_S + 0.05:
                break
            after_s[mine, ahead] = clip.stamp_s[then] - clip.stamp_s[now]
            moved_m[mine, ahead] = _moved(clip, now, then, message)
            row_then[mine, ahead] = _rows_of(message, messages[then], first_row[then])
    return Examples(
        torch.from_numpy(np.concatenate(given)), torch.from_numpy(np.concatenate(velocity)).float(),
        torch.from_numpy(after_s).float(), torch.from_numpy(moved_m).float(), torch.from_numpy(row_then),
        torch.from_numpy(np.concatenate(said)),
    )  # fmt: skip


def _moved(clip: Clip, now: int, then: int, message: Message) -> Float:
    """[N, 2] how far the labelled objects of a message's instances get, ahead and left; a unit that stands still."""
    found, truth, later = message.instances, clip.truths[now], clip.truths[then]
    moved = np.full((len(found), 2), np.nan)
    if not len(truth) or not len(found):
        return moved
    place = truth.boxes[:, :2].double().numpy()
    apart_m = np.linalg.norm(found.center_m[:, None, :2] - place, axis=2)
    apart_m[found.class_id[:, None] != truth.labels.numpy()] = np.inf
    nearest = apart_m.argmin(axis=1)
    same = truth.ids.numpy()[nearest][:, None] == later.ids.numpy()
    rows = np.flatnonzero((apart_m.min(axis=1) < _SAME_OBJECT_M) & same.any(axis=1))
    there = later.boxes[:, :2].double().numpy()[same[rows].argmax(axis=1)]
    moved[rows] = rotated(there - place[nearest[rows]], -found.heading_rad[rows])
    return moved


def _rows_of(message: Message, later: Message, first: int) -> NDArray[np.int64]:
    """[N] where the instances of a message are in a later one, whose rows begin at `first`; -1: nowhere."""
    same = message.instances.instance_id[:, None] == later.instances.instance_id
    if not same.size:
        return np.full(len(message.instances), -1)
    return np.where(same.any(axis=1), first + same.argmax(axis=1), -1)


__all__ = ["Fitted", "FlowNetwork", "errors_of", "examples_of", "fit_flow", "in_halves", "trained"]
