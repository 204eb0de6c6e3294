"""A network that checks its input like the real one and always sees the same object: no torch, no weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ros_messages import CAR_M

from cooptrack_core.config import LateFusionConfig
from cooptrack_core.cooperation.late_fusion import fuse
from cooptrack_core.model.image_input import image_input
from cooptrack_core.model.presets import get_preset
from cooptrack_core.perception import NetworkOutput
from cooptrack_core.types import Features, Instances, TrackedObjects

CHANNELS = 8


def fingerprint(role: str) -> bytes:
    """Of the fake network of a role."""
    return role.encode().ljust(32, b"\1")


class FakeNetwork:
    """Sees a car 10 m ahead in every frame; understands messages of the fake roadside network."""

    codebook, needed_streams = None, ()

    def __init__(self, role: str = "coop", trained: bool = True) -> None:
        self.role, self.trained = role, trained
        self.preset, self.fingerprint = f"tiny_{role}", fingerprint(role)
        self.about = {"device": "cpu", "weights": "fake", "parameters": "0"}
        self.frames: list = []  # that it could use
        self.messages: list = []  # of each of them

    def understands(self, message) -> bool:
        features = message.instances.features
        return (
            self.role == "coop"
            and features is not None
            and features.fingerprint in (fingerprint("inf"), fingerprint("inf")[:8])
        )

    def step(self, frame, T_map_from_sensor, messages) -> NetworkOutput:
        image_input(frame, get_preset(self.preset))
        self.frames.append(frame)
        self.messages.append([message.sequence for message in messages])
        rows = np.full((1, CHANNELS), float(len(self.frames)), np.float32)
        features = Features(rows, rows + 1, rows + 2, self.preset, self.fingerprint)
        seen = Instances.create(
            np.array([[10.0, 0.0, 0.0]]), np.array([CAR_M]), np.zeros(1), np.zeros(1, np.int64), np.full(1, 0.8),
            velocity_mps=np.zeros((1, 2)), instance_id=np.ones(1, np.int64), features=features,
        )  # fmt: skip
        nothing = Instances.empty()
        associations = fuse(nothing, messages, frame.stamp_ns, T_map_from_sensor, LateFusionConfig())[1]
        return NetworkOutput(seen, replace(seen, features=None), self._tracks(frame.stamp_ns, 1), associations)

    def predict(self, stamp_ns, T_map_from_sensor) -> TrackedObjects:
        return self._tracks(stamp_ns, 0)

    def reset(self) -> None:
        self.frames.clear()

    def _tracks(self, stamp_ns: int, source: int) -> TrackedObjects:
        n = min(1, len(self.frames))
        ones = np.ones(n, np.int64)
        unknown = np.full((n, 3, 3), np.nan)
        return TrackedObjects(
            stamp_ns=stamp_ns, track_id=ones, class_id=0 * ones, score=np.full(n, 0.8),
            center_m=np.tile([10.0, 0.0, 0.0], (n, 1)), size_m=np.tile(CAR_M, (n, 1)), heading_rad=np.zeros(n),
            velocity_mps=np.zeros((n, 2)), position_covariance_m2=unknown, heading_variance_rad2=np.full(n, np.nan),
            velocity_covariance_m2ps2=unknown[:, :2, :2], sources=source * ones, sources_ever=ones,
            agents=((),) * n, age_frames=ones, hits=ones, time_since_update_s=np.zeros(n),
        )  # fmt: skip
