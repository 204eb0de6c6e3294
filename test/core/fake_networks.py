"""Networks for tests: what they see follows from the bytes of the image, what came before and the messages."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cooptrack_core.config import LateFusionConfig, RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.late_fusion import fuse
from cooptrack_core.data.images import decode_bgr
from cooptrack_core.geometry.transforms import apply, inverse
from cooptrack_core.perception import FrameRejected, NetworkOutput
from cooptrack_core.types import SOURCE_EGO, SOURCE_REMOTE, Features, Frame, Instances, Message, TrackedObjects

CAR_M = (4.4, 1.8, 1.5)


def fingerprint(role: str) -> bytes:
    return role.encode().ljust(32, b"\1")


class FakeNetwork:
    """Sees one to three cars; a vehicle's also tracks every instance that it is sent."""

    trained, codebook, needed_streams = False, None, ()

    def __init__(self, role: str) -> None:
        self.role, self.preset, self.fingerprint = role, f"tiny_{role}", fingerprint(role)
        self.memory = 0  # of all frames and messages so far
        self.frames: list[Frame] = []
        self._last = self._tracks(0, Instances.empty(), [])

    def understands(self, message: Message) -> bool:
        features = message.instances.features
        return (
            self.role == "coop"
            and features is not None
            and features.fingerprint in (fingerprint("inf"), fingerprint("inf")[:8])
        )

    def step(self, frame: Frame, T_map_from_sensor: np.ndarray, messages: Sequence[Message]) -> NetworkOutput:
        seen = self._see(frame)
        self.frames.append(frame)
        heard = []
        for message in messages:
            assert message.T_map_from_sensor is not None
            self.memory = zlib.crc32(message.instances.features.query.tobytes(), self.memory)
            T = inverse(T_map_from_sensor) @ message.T_map_from_sensor
            heard.append((message.agent_id, apply(T, message.instances.center_m)))
        self._last = self._tracks(frame.stamp_ns, seen, heard)
        associations = fuse(Instances.empty(), messages, frame.stamp_ns, T_map_from_sensor, LateFusionConfig())[1]
        rows = associations.unmatched_remote_instance_index
        associations = replace(associations, unmatched_remote_track_id=rows + 11)
        return NetworkOutput(seen, replace(seen, features=None), self._last, associations)

    def _see(self, frame: Frame) -> Instances:
        """Changes nothing for a frame that it rejects."""
        assert frame.image is not None and frame.camera is not None
        pixels = decode_bgr(frame.image) if isinstance(frame.image, bytes) else frame.image
        if pixels is None:
            raise FrameRejected(f"image: {len(frame.image)} bytes cannot be decoded")
        if pixels.shape[1::-1] != (frame.camera.width, frame.camera.height):
            raise FrameRejected(f"image size: {pixels.shape[1]}x{pixels.shape[0]}, expected {frame.camera.width}")
        data = pixels.tobytes() + frame.camera.K.tobytes() + frame.camera.T_camera_from_sensor.tobytes()
        self.memory = zlib.crc32(data, self.memory)
        n = 1 + self.memory % 3
        centers = np.column_stack([10.0 + np.arange(n) * 8 + self.memory % 997 / 997, np.zeros(n), np.zeros(n)])
        rows = np.full((n, 4), self.memory % 64, np.float32)
        features = Features(rows, rows + 1, rows + 2, self.preset, self.fingerprint)
        return Instances.create(
            centers, np.tile(CAR_M, (n, 1)), np.zeros(n), np.zeros(n, np.int64), np.full(n, 0.8),
            velocity_mps=np.zeros((n, 2)), instance_id=np.arange(1, n + 1), features=features,
        )  # fmt: skip

    def predict(self, stamp_ns: int, T_map_from_sensor: np.ndarray) -> TrackedObjects:
        return replace(self._last, stamp_ns=stamp_ns, sources=0 * self._last.sources)

    def reset(self) -> None:
        self.memory = 0

    def _tracks(self, stamp_ns: int, seen: Instances, heard: list[tuple[str, np.ndarray]]) -> TrackedObjects:
        others = [(agent, center) for agent, centers in heard for center in centers]
        center = np.array([*seen.center_m, *(c for _, c in others)]).reshape(-1, 3)
        n, own = len(center), len(seen)
        sources = np.array([SOURCE_EGO] * own + [SOURCE_REMOTE] * len(others), np.int64)
        unknown = np.full((n, 3, 3), np.nan)
        return TrackedObjects(
            stamp_ns=stamp_ns, track_id=np.array([*range(1, own + 1), *range(11, 11 + len(others))], np.int64),
            class_id=np.zeros(n, np.int64), score=np.full(n, 0.8), center_m=center, size_m=np.tile(CAR_M, (n, 1)),
            heading_rad=np.full(n, self.memory % 3 - 1.0), velocity_mps=np.zeros((n, 2)),
            position_covariance_m2=unknown, heading_variance_rad2=np.full(n, np.nan),
            velocity_covariance_m2ps2=unknown[:, :2, :2], sources=sources, sources_ever=sources,
            agents=[()] * own + [(agent,) for agent, _ in others], age_frames=np.ones(n, np.int64),
            hits=np.ones(n, np.int64), time_since_update_s=np.zeros(n),
        )  # fmt: skip


def fake_networks(config: RoadsideConfig | VehicleConfig) -> FakeNetwork | None:
    """In place of cooptrack_core.networks.network_of."""
    if config.detector != "network":
        return None
    return FakeNetwork("inf" if isinstance(config, RoadsideConfig) else "coop")
