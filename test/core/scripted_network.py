"""Agents with a network that does as it is told, and drives for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scenarios import CAR_SIZE, STEP_NS, cars

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.perception import FrameRejected, NetworkOutput
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent
from cooptrack_core.types import (
    SOURCE_EGO,
    SOURCE_REMOTE,
    Associations,
    Features,
    Frame,
    Instances,
    Message,
    MessageUse,
    TrackedObjects,
)

START_NS = 10**18
FIRST_ROW = 100  # of the network's queries, to tell them from rows of tracks
UNDERSTOOD, FOREIGN = b"\1" * 32, b"\xab" * 32
AHEAD = ((10.0, 0.0), (20.0, 3.0))


class Network:
    """Tracks cars at known places, with ids that start at 41; joins every instance that it is sent as a track."""

    preset, trained, about = "fake", True, {}
    codebook, needed_streams = None, ()

    def __init__(self, role="coop", seen=AHEAD) -> None:
        self.role, self.seen, self.fingerprint = role, seen, UNDERSTOOD
        self.calls, self.resets, self.count = [], 0, 0
        self.last = None

    def understands(self, message):
        features = message.instances.features
        return self.role == "coop" and features is not None and features.fingerprint in (UNDERSTOOD, UNDERSTOOD[:8])

    def step(self, frame, T_map_from_sensor, messages):
        if frame.image == b"bad":
            raise FrameRejected("image: expected a good one, found b'bad'")
        self.calls.append((frame.stamp_ns, [m.agent_id for m in messages]))
        self.count += 1
        own, told = len(self.seen), [(row, m, i) for row, m in enumerate(messages) for i in range(len(m.instances))]
        centers = [(*xy, -0.9) for xy in self.seen] + [tuple(m.instances.center_m[i]) for _, m, i in told]
        sources = [SOURCE_EGO] * own + [SOURCE_REMOTE] * len(told)
        agents = [()] * own + [(m.agent_id,) for _, m, _ in told]
        self.last = tracked(frame.stamp_ns, centers, sources, agents, self.count)
        rows = np.arange(own)
        features = Features(*(np.full((own, 4), float(k), np.float32) for k in (1, 2, 3)), "fake", UNDERSTOOD)
        seen = cars(*self.seen, score=0.7, instance_id=self.last.track_id[:own], features=features)
        detections = cars(*self.seen, (30.0, -5.0), score=np.array([0.7] * own + [0.05]))
        return NetworkOutput(seen, detections, self.last, associated(frame.stamp_ns, messages, told, rows, self.last))

    def predict(self, stamp_ns, T_map_from_sensor):
        if self.last is None:
            return tracked(stamp_ns, [], [], [], 0)
        return replace(self.last, stamp_ns=stamp_ns, sources=np.zeros_like(self.last.sources))

    def reset(self):
        self.resets += 1


def tracked(stamp_ns, centers, sources, agents, hits) -> TrackedObjects:
    n = len(centers)
    unknown, ones = np.full((n, 3, 3), np.nan), np.ones(n, np.int64)
    sources = np.array(sources, np.int64)
    return TrackedObjects(
        stamp_ns, 41 + np.arange(n), 0 * ones, np.full(n, 0.7), np.array(centers, float).reshape(n, 3),
        np.tile(CAR_SIZE, (n, 1)), np.zeros(n), np.zeros((n, 2)), unknown, np.full(n, np.nan), unknown[:, :2, :2],
        sources, sources, agents, hits * ones, hits * ones, np.zeros(n),
    )  # fmt: skip


def associated(stamp_ns, messages, told, rows, tracks) -> Associations:
    none, own = np.zeros(0, np.int64), len(rows)
    return Associations(
        tuple(MessageUse(m.agent_id, m.session_id, m.sequence, (stamp_ns - m.stamp_ns) / 1e6, 0) for m in messages),
        none, none, none, np.zeros(0), np.zeros((0, 3)), np.zeros((0, 3)), FIRST_ROW + rows, tracks.center_m[:own],
        np.array([row for row, _, _ in told], np.int64), np.array([i for _, _, i in told], np.int64),
        tracks.center_m[own:], none, tracks.track_id[:own], tracks.track_id[own:],
    )  # fmt: skip


def frame(index, image=b"good", pose=None) -> Frame:
    return Frame(START_NS + index * STEP_NS, np.eye(4) if pose is None else pose, image=image)


def message(index, *centers_xy, maker=UNDERSTOOD, agent="rsu", T=None) -> Message:
    """From a unit at the origin of the map; maker None: kinematics only."""
    n = len(centers_xy)
    features = None if maker is None else Features(*np.ones((3, n, 4), np.float32), "fake_inf", maker)
    return Message(
        agent, 7, index + 1, START_NS + index * STEP_NS, f"{agent}/lidar", np.eye(4) if T is None else T,
        cars(*centers_xy, features=features) if n else replace(Instances.empty(), features=features), point_range_m=(),
    )  # fmt: skip


def vehicle(mode="learned", network=None) -> VehicleAgent:
    return VehicleAgent("vehicle", VehicleConfig(mode=mode, detector="network"), network=network or Network())


def roadside(network=None, **options) -> RoadsideAgent:
    return RoadsideAgent("rsu", RoadsideConfig(detector="network", **options), 3, network=network or Network("inf"))


def drive(agent, count, messages=lambda i: (), image=lambda i: b"good", start=0) -> list:
    outputs = []
    for i in range(start, start + count):
        for item in messages(i):
            assert agent.receive(item, frame(i).stamp_ns) is None
        outputs.append(agent.step(frame(i, image(i))))
    return outputs


def places(tracks) -> set:
    return {tuple(row) for row in tracks.center_m[:, :2].round(1).tolist()}
