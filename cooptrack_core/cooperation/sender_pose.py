"""The pose of a sender, better than it says: what jitters is averaged, what stays wrong is seen by matched instances.

Two errors are told apart. A sender that does not move, as roadside units do, should give the same pose in every
message: the mean of the last seconds is better than any of them. What is wrong in all of them alike (a survey, or the
own localisation) only shows where both agents measure the same objects: pairs are off in the same way, and a small
Kalman filter over yaw and shift learns by how much, from the own measurements alone. It begins with the belief that
poses are right, and no more than it is sure of is taken away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cooptrack_core.config import PoseCorrectionConfig
from cooptrack_core.cooperation.latency import propagate, reported_motion
from cooptrack_core.cooperation.senders import LastHeard, trend
from cooptrack_core.geometry.transforms import apply, inverse, make_transform, rotate_xy, yaw_of
from cooptrack_core.types import Instances, Message

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_EXACT_M, _EXACT_RAD = 1e-3, 1e-5  # what scatters less is as good as it gets, and stays as it came
_MOVES_MPS = 0.3  # a unit that drifts faster over the window is a vehicle
_SURE = 3.0  # and by so many standard deviations
_FEWEST = 4  # poses that make a mean
_REMEMBERED = 1000  # objects of a sender
_GATE, _GATE_M = 5.0, 6.0  # of a pair, in standard deviations and m: the pose may be wrong
_CONFIDENT = 16.3  # an estimate as far from zero as 0.1 % of errors of its own counts for nothing, twice that wholly
_OUTLIER = 2.5  # a pair off by so many standard deviations counts half
_SAME_ERROR_S = 1.0  # detectors err alike in frames so close: they count once
_LOOKS = 1.5  # and they err alike at one object: however long it is seen, it counts no more than so often
_OBJECTS = 4  # so many objects, at least, tell of a pose


@dataclass(frozen=True)
class PoseCorrection:
    """What is believed of one sender's pose, in the map: [yaw (rad), x, y (m)], to be added about the sender."""

    values: Float  # [3]
    std: Float  # [3]
    applied: Float  # [3] the part that is taken away
    pairs: int  # so many were seen

    def T(self, pivot_m: Float) -> Float:
        """[4, 4] of the applied part, the yaw about pivot_m [2]."""
        yaw, x, y = self.applied
        c, s = np.cos(yaw), np.sin(yaw)
        px, py = pivot_m
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        return make_transform(turn, (px - c * px + s * py + x, py - s * px - c * py + y, 0.0))


@dataclass
class _Sender:
    session_id: int
    poses: deque[tuple[int, Float]] = field(default_factory=deque)  # stamp_ns, T_map_from_sensor
    state: Float = field(default_factory=lambda: np.zeros(3))  # yaw, x, y
    covariance: Float = field(default_factory=lambda: np.zeros((3, 3)))
    last_ns: int = 0
    looks: dict[int, float] = field(default_factory=dict)  # at each of its objects, by id
    pairs: int = 0


class SenderPoses:
    """Corrects the poses of messages before they are used and learns from what was paired."""

    def __init__(self, config: PoseCorrectionConfig) -> None:
        self.config = config
        self._senders: LastHeard[str, _Sender] = LastHeard()

    def reset(self) -> None:
        """Forgets all senders (time jumped back)."""
        self._senders.clear()

    def corrected(self, messages: Sequence[Message]) -> list[Message]:
        """The messages of a frame with better poses; as they are if there is nothing to correct."""
        return [self._corrected(message) for message in messages] if self.config.enabled else list(messages)

    def observe(self, seen: Instances | None, used: Sequence[Message], stamp_ns: int, T_map_from_ego: Float) -> None:
        """Learns from what the own sensor saw in a frame (ego frame, untouched by messages) and what it used."""
        if not self.config.enabled or seen is None or not len(seen):
            return
        for message in used:
            if message.T_map_from_sensor is not None and len(message.instances):
                self._learn(message, seen, stamp_ns, T_map_from_ego)

    def report(self, agent_id: str) -> PoseCorrection | None:
        """What is believed of a sender's pose; None of one not heard."""
        sender = self._senders.get(agent_id)
        return None if sender is None else self._belief(sender)

    # The parts of it.

    def _corrected(self, message: Message) -> Message:
        T = message.T_map_from_sensor
        if T is None:
            return message
        sender = self._sender(message)
        sender.poses.append((message.stamp_ns, T))
        horizon_ns = message.stamp_ns - round(self.config.window_s * 1e9)
        while sender.poses[0][0] < horizon_ns:
            sender.poses.popleft()
        T = _mean_of_still(sender.poses, T)
        belief = self._belief(sender)
        if belief.applied.any():
            T = belief.T(T[:2, 3]) @ T
        return message if T is message.T_map_from_sensor else replace(message, T_map_from_sensor=T)

    def _sender(self, message: Message) -> _Sender:
        sender = self._senders.get(message.agent_id)
        if sender is None or sender.session_id != message.session_id:
            sender = _Sender(message.session_id, covariance=self._prior())
        return self._senders.keep(message.agent_id, sender)

    def _prior(self) -> Float:
        shift, yaw = self.config.expected_shift_m, np.deg2rad(self.config.expected_yaw_deg)
        return np.diag(np.array([yaw, shift, shift]) ** 2)

    def _belief(self, sender: _Sender) -> PoseCorrection:
        """Of the estimate only what stands out of its uncertainty is applied, and never more than the bounds."""
        std = np.sqrt(np.diag(sender.covariance))
        # Yaw and shift are told together, so they are believed together.
        distance2 = float(sender.state @ inverse(sender.covariance) @ sender.state)
        share = min(1.0, max(0.0, distance2 / _CONFIDENT - 1.0)) * (len(sender.looks) >= _OBJECTS)
        yaw = np.deg2rad(self.config.max_yaw_deg)
        bounds = np.array([yaw, self.config.max_shift_m, self.config.max_shift_m])
        applied = np.clip(share * sender.state, -bounds, bounds)
        return PoseCorrection(sender.state.copy(), std, applied, sender.pairs)

    def _learn(self, message: Message, seen: Instances, stamp_ns: int, T_map_from_ego: Float) -> None:
        sender = self._senders.get(message.agent_id)
        if sender is None or message.T_map_from_sensor is None:
            return
        motion = reported_motion(message.instances, 0.0) if message.motion is None else message.motion
        current = propagate(message.instances, (stamp_ns - message.perceived_ns) / 1e9, motion)
        reported_m = apply(message.T_map_from_sensor, current.center_m)[:, :2]
        W = self._information(seen, T_map_from_ego)
        seen_m = apply(T_map_from_ego, seen.center_m)[:, :2]
        ours, theirs = _same_objects(seen_m, seen.class_id, W, reported_m, message.instances.class_id)
        named = message.instances.instance_id[theirs] > 0  # of the others nobody knows how often they were seen
        ours, theirs = ours[named], theirs[named]
        gap_s = min((stamp_ns - sender.last_ns) / 1e9, _SAME_ERROR_S) if sender.last_ns else _SAME_ERROR_S
        sender.last_ns = stamp_ns
        if not len(ours) or gap_s <= 0.0:
            return
        sender.pairs += len(ours)
        prior = self._prior()
        grown = sender.covariance + gap_s * prior * (self.config.drift_m_per_sqrt_s / self.config.expected_shift_m) ** 2
        A = np.zeros((len(ours), 2, 3))
        arm = reported_m[theirs] - message.T_map_from_sensor[:2, 3]
        A[:, 0, 0], A[:, 1, 0] = -arm[:, 1], arm[:, 0]
        A[:, 0, 1] = A[:, 1, 2] = 1.0
        # As if nothing had been corrected.
        off = seen_m[ours] - reported_m[theirs] + A @ self._belief(sender).applied
        miss = off - A @ sender.state
        distance2 = np.einsum("ni,nij,nj->n", miss, W[ours], miss)
        new = gap_s / _SAME_ERROR_S * _novelty(sender, message.instances.instance_id[theirs], gap_s)
        weight = (new / (1.0 + distance2 / _OUTLIER**2))[:, None, None] * W[ours]
        before = inverse(grown)
        information = before + np.einsum("nji,njk,nkl->il", A, weight, A)
        told = before @ sender.state + np.einsum("nji,njk,nk->i", A, weight, off)
        sender.covariance = inverse(information)
        sender.state = sender.covariance @ told

    def _information(self, seen: Instances, T_map_from_ego: Float) -> Float:
        """[N, 2, 2] inverse covariance in the map of how far pairs with these are off without any error of a pose.

        A camera knows well in which direction something is, and badly how far away.
        """
        config = self.config
        distance_m = np.linalg.norm(seen.center_m[:, :2], axis=1)
        ray = rotate_xy(T_map_from_ego, seen.center_m[:, :2] / np.maximum(distance_m, 1e-6)[:, None])
        across = np.stack((-ray[:, 1], ray[:, 0]), axis=1)
        along_var = config.pair_std_m**2 + (config.pair_std_along_per_m * distance_m) ** 2
        across_var = config.pair_std_m**2 + (config.pair_std_across_per_m * distance_m) ** 2
        along_part = ray[:, :, None] * ray[:, None] / along_var[:, None, None]
        return np.asarray(along_part + across[:, :, None] * across[:, None] / across_var[:, None, None], np.float64)


def _novelty(sender: _Sender, instance_id: Int, gap_s: float) -> Float:
    """[P] how much another look at these objects tells, 0 to 1; the look is counted."""
    left = []
    for identity in instance_id.tolist():
        looks = sender.looks.pop(identity, 0.0)
        left.append(1.0 - looks / _LOOKS)
        sender.looks[identity] = looks + gap_s / _SAME_ERROR_S * left[-1]  # the last seen comes last
    while len(sender.looks) > _REMEMBERED:
        del sender.looks[next(iter(sender.looks))]
    return np.array(left)


def _same_objects(ours_m: Float, our_class: Int, W: Float, theirs_m: Float, their_class: Int) -> tuple[Int, Int]:
    """Rows [P] of both sides that are each other's nearest by the information W of ours, within the gate."""
    off = ours_m[:, None] - theirs_m
    distance2 = np.einsum("nmi,nij,nmj->nm", off, W, off)
    distance2 = np.where(our_class[:, None] == their_class, distance2, np.inf)
    distance2[np.linalg.norm(off, axis=-1) > _GATE_M] = np.inf
    best, back = distance2.argmin(axis=1), distance2.argmin(axis=0)
    rows = np.arange(len(ours_m))
    good = (distance2[rows, best] < _GATE**2) & (back[best] == rows)
    return rows[good], best[good]


def _mean_of_still(poses: Sequence[tuple[int, Float]], T_now: Float) -> Float:
    """[4, 4] the mean pose of a sender that does not move; T_now itself of one that does, or is exact."""
    if len(poses) < _FEWEST:
        return T_now
    t_s = np.array([(stamp_ns - poses[-1][0]) / 1e9 for stamp_ns, _ in poses])
    places = np.array([T[:3, 3] for _, T in poses])
    yaws = np.unwrap([yaw_of(T) for _, T in poses])
    if np.ptp(places, axis=0).max() < _EXACT_M and np.ptp(yaws) < _EXACT_RAD:
        return T_now
    speed_mps, error_mps = trend(t_s, places[:, :2])
    if not np.isfinite(error_mps) or speed_mps > max(_MOVES_MPS, _SURE * error_mps):
        return T_now
    turn = Rotation.from_matrix(np.array([T[:3, :3] for _, T in poses])).mean().as_matrix()
    return make_transform(turn, places.mean(axis=0))


__all__ = ["PoseCorrection", "SenderPoses"]
