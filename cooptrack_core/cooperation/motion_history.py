"""How the objects of other agents move, from what each agent said about them over the last second.

A velocity that a sender's network reads from one image is a guess. Its objects keep their ids, so their positions over
several messages tell it much better. Reports are sorted by their stamps, whenever they arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import LatencyConfig
from cooptrack_core.cooperation.flow import Seen, find_flows
from cooptrack_core.cooperation.latency import reported_motion, standing
from cooptrack_core.cooperation.senders import LastHeard, trend
from cooptrack_core.geometry.transforms import apply, inverse
from cooptrack_core.types import CLASS_ID, Instances, Message, Motion

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_DOUBTFUL_M2PS2 = 4.0  # variance of a velocity from which on trackers are told of it
_REPORTS = 32  # kept of each sender
_LATERAL_STD_MPS2 = 1.0  # acceleration, before anything is known
_MOST_TURN_RADPS = 0.6
_TURNS_FROM_MPS = 2.0  # a turn rate of what is slower than that is noise
_FASTEST_MPS = {CLASS_ID["car"]: 40.0, CLASS_ID["bicycle"]: 15.0, CLASS_ID["pedestrian"]: 4.0}
# A sender moves if its positions over the history have a trend this many times its own error; noise of a pose is none.
_TREND_SIGMAS = 4.0
_SLOWEST_SENDER_MPS = 0.5


@dataclass(frozen=True)
class Report:
    """What a message said of places."""

    stamp_ns: int
    instance_id: Int  # [N] ascending, without 0
    xy_m: Float  # [N, 2] in the sensor frame
    T_map_from_sensor: Float  # [4, 4]

    @staticmethod
    def of(message: Message) -> Report:
        """Of a message with a pose."""
        assert message.T_map_from_sensor is not None, "admission refuses messages without a pose"
        ids, first = np.unique(message.instances.instance_id, return_index=True)
        known = ids != 0
        return Report(
            message.stamp_ns, ids[known], message.instances.center_m[first[known], :2], message.T_map_from_sensor
        )


class MotionHistory:
    """The last reports of every sender, by agent and session."""

    def __init__(self, config: LatencyConfig) -> None:
        self._config = config
        self._flows = find_flows(config.flow) if config.method == "flow" else ()
        self._reports: LastHeard[tuple[str, int], list[Report]] = LastHeard()

    def reset(self) -> None:
        """Forgets all reports."""
        self._reports.clear()

    def with_motion(self, message: Message) -> Message:
        """The message with what the method of the configuration knows of its motion."""
        if self._config.method == "reported":
            return message
        if self._config.method == "none":
            return replace(message, motion=standing(len(message.instances)))
        motion = self._with_flow(message, self.motion(message))
        # A velocity that the reports contradict must not be taken at the usual value by trackers.
        variance = motion.velocity_variance_m2ps2
        doubtful = np.where(variance > _DOUBTFUL_M2PS2, variance, message.instances.velocity_variance_m2ps2)
        instances = replace(
            message.instances, velocity_mps=motion.velocity_mps, velocity_variance_m2ps2=doubtful
        )  # fmt: skip
        return replace(message, instances=instances, motion=motion)

    def _with_flow(self, message: Message, motion: Motion) -> Motion:
        """The motion by the flow that knows the features of the message, if there is one."""
        flow = next((flow for flow in self._flows if flow.knows(message)), None)
        if flow is None:
            return motion
        found = flow.motion(message, motion, self.seen_before(message))
        return replace(found, velocity_mps=_capped(found.velocity_mps, message.instances.class_id))

    def seen_before(self, message: Message) -> Seen:
        """Where the sender saw the instances of a message that has become a report, in the reports before it."""
        reports = self._reports.get((message.agent_id, message.session_id), [])
        return Seen(*_positions(message, [item for item in reports if item.stamp_ns < message.stamp_ns]))

    def motion(self, message: Message) -> Motion:
        """How the instances of a message move, in its sensor frame at its stamp. The message becomes a report."""
        key = message.agent_id, message.session_id
        reports = [item for item in self._reports.get(key, []) if item.stamp_ns != message.stamp_ns] + [
            Report.of(message)
        ]
        newest_ns = max(item.stamp_ns for item in reports)
        oldest_ns = newest_ns - 2 * round(self._config.history_ms * 1e6)  # a late message has a history of its own
        reports = sorted((item for item in reports if item.stamp_ns >= oldest_ns), key=lambda item: item.stamp_ns)
        self._reports.keep(key, reports[-_REPORTS:])
        return motion_of(message, reports, self._config)


def motion_of(message: Message, reports: Sequence[Report], config: LatencyConfig) -> Motion:
    """How the N instances of a message move by the reports of their sender, in its sensor frame at its stamp.

    Least squares of position, velocity and acceleration over the history, the newer reports weigh more; what is not
    known yet is as the sender says, within config.speed_std_mps, and pedestrians are slow. Of the acceleration only
    the turn is used: what is braking now may not brake for long.
    """
    instances = message.instances
    mean_mps, std_mps = _prior(instances, config)
    span_ns = config.history_ms * 1e6
    used = [item for item in reports if abs(item.stamp_ns - message.stamp_ns) <= span_ns]
    dt_s, xy_m, seen = _positions(message, used)  # [K], [K, N, 2], [K, N]
    weight = seen * np.exp(-np.abs(dt_s) / (config.history_ms / 2e3))[:, None] / config.report_std_m**2  # [K, N]
    terms = np.stack([np.ones_like(dt_s), dt_s, dt_s**2 / 2], axis=1)  # [K, 3]
    normal = np.einsum("kn,ki,kj->nij", weight, terms, terms)
    right = np.einsum("kn,ki,kna->nia", weight, terms, xy_m)
    diagonal = np.zeros((len(instances), 3, 2))
    diagonal[:, 0], diagonal[:, 1], diagonal[:, 2] = 1e-6, 1.0 / std_mps**2, 1.0 / _LATERAL_STD_MPS2**2
    right[:, 1] += mean_mps * diagonal[:, 1]
    full = normal + diagonal.transpose(2, 0, 1)[..., None] * np.eye(3)  # [2, N, 3, 3] by axis
    solved = np.linalg.solve(full, right.transpose(2, 0, 1)[..., None])[..., 0].transpose(1, 2, 0)  # [N, 3, 2]
    variance = np.linalg.inv(full)[:, :, 1, 1].T  # [N, 2]
    # Reports that lie off their line by more than they should make the velocity as much less certain.
    off_m = (xy_m - np.einsum("ki,nia->kna", terms, solved)) * seen[..., None]
    count = np.maximum(weight.sum(axis=0), 1e-9)
    misfit = np.einsum("kn,kna->na", weight, off_m**2) / count[:, None] / config.report_std_m**2
    velocity = _capped(solved[:, 1], instances.class_id)
    turn = _turn_rate(velocity, solved[:, 2], instances.class_id)
    return Motion(velocity, turn, variance * np.maximum(misfit, 1.0))


def _prior(instances: Instances, config: LatencyConfig) -> tuple[Float, Float]:
    """[N, 2] velocity and [N, 2] its standard deviation before any history is known, m/s."""
    told = reported_motion(instances, config.speed_std_mps)
    with_variance = np.isfinite(instances.velocity_variance_m2ps2)
    slow = (instances.class_id == CLASS_ID["pedestrian"])[:, None] & ~with_variance
    std = np.where(slow, config.pedestrian_speed_std_mps, np.sqrt(told.velocity_variance_m2ps2))
    return np.where(slow, 0.0, told.velocity_mps), np.maximum(std, 0.05)


def _positions(message: Message, reports: Sequence[Report]) -> tuple[Float, Float, NDArray[np.bool_]]:
    """Times of K reports relative to the message, s; where they saw its N instances [K, N, 2] in its sensor frame,
    and whether [K, N]."""
    ids = message.instances.instance_id
    dt_s = np.array([item.stamp_ns - message.stamp_ns for item in reports]) / 1e9
    xy_m, seen = np.zeros((len(reports), len(ids), 2)), np.zeros((len(reports), len(ids)), bool)
    moves = _sender_moves(reports, dt_s)
    for k, item in enumerate(reports):
        if not len(item.instance_id):
            continue
        row = np.minimum(np.searchsorted(item.instance_id, ids), len(item.instance_id) - 1)
        seen[k] = (item.instance_id[row] == ids) & (ids != 0)
        xy_m[k] = item.xy_m[row]
        if moves and item.stamp_ns != message.stamp_ns:
            assert message.T_map_from_sensor is not None, "admission refuses messages without a pose"
            T = inverse(message.T_map_from_sensor) @ item.T_map_from_sensor
            xy_m[k] = apply(T, np.pad(xy_m[k], ((0, 0), (0, 1))))[:, :2]
    xy_m[~seen] = 0.0
    return dt_s, xy_m, seen


def _sender_moves(reports: Sequence[Report], dt_s: Float) -> bool:
    """Whether the poses of a sender tell of a motion: those of a roadside unit only differ by their noise."""
    places_m = np.array([item.T_map_from_sensor[:2, 3] for item in reports])
    if len(reports) < 2 or not np.ptp(places_m, axis=0).any():
        return False
    speed_mps, error_mps = trend(dt_s, places_m)
    return speed_mps > max(_SLOWEST_SENDER_MPS, _TREND_SIGMAS * error_mps)


def _capped(velocity_mps: Float, class_id: Int) -> Float:
    """[N, 2] not faster than anything of its class is."""
    limit = np.full(len(class_id), max(_FASTEST_MPS.values()))
    for name, fastest in _FASTEST_MPS.items():
        limit[class_id == name] = fastest
    speed = np.linalg.norm(velocity_mps, axis=1)
    return np.asarray(velocity_mps * np.minimum(1.0, limit / np.maximum(speed, 1e-9))[:, None])


def _turn_rate(velocity_mps: Float, acceleration_mps2: Float, class_id: Int) -> Float:
    """[N] rad/s, from the part of the acceleration across the motion."""
    speed = np.linalg.norm(velocity_mps, axis=1)
    across = velocity_mps[:, 0] * acceleration_mps2[:, 1] - velocity_mps[:, 1] * acceleration_mps2[:, 0]
    rate = across / np.maximum(speed, _TURNS_FROM_MPS) ** 2
    turns = (speed >= _TURNS_FROM_MPS) & (class_id != CLASS_ID["pedestrian"])
    return np.where(turns, np.clip(rate, -_MOST_TURN_RADPS, _MOST_TURN_RADPS), 0.0)


__all__ = ["MotionHistory", "Report", "motion_of"]
