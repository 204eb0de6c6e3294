"""A network behind the pipeline's seam: frames and messages in, tracks, associations and features out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.cooperation.codebook import PREFIX_BYTES, Codebook
from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.model import outputs
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.image_input import Before, image_input, image_time
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.remote import remote_instances
from cooptrack_core.model.session import NetworkInput, Session, Step
from cooptrack_core.model.track_book import TrackBook
from cooptrack_core.perception import FrameRejected, NetworkOutput
from cooptrack_core.stage_clock import stage
from cooptrack_core.types import SOURCE_EGO, CameraView, Frame, Instances, Message, TrackedObjects

Float = NDArray[np.float64]

_SIGHTED = 0.2  # score of a peak that surely is a road user


@dataclass(frozen=True)
class Identity:
    """What is known of a network's weights."""

    fingerprint: bytes  # SHA-256 of configuration and weights
    roadside_fingerprint: bytes | None  # of the roadside network that a vehicle's was trained with
    trained: bool
    source: str  # file or name of the weights
    codebook: Codebook | None = None  # of the roadside network's features


class PinnedImages:
    """Images on their way to a GPU, through memory that the system does not move, asked for once for each shape."""

    def __init__(self) -> None:
        self._ways: dict[torch.Size, tuple[Tensor, torch.cuda.Event]] = {}

    @torch.inference_mode()
    def __call__(self, image: Tensor, device: torch.device) -> Tensor:
        """A copy on the device, which may still be under way; the image may change."""
        if image.shape not in self._ways:
            self._ways[image.shape] = torch.empty_like(image).pin_memory(), torch.cuda.Event()  # type: ignore[no-untyped-call]
        pinned, sent = self._ways[image.shape]
        sent.synchronize()  # the last image may still be read from there
        copied = torch.empty_like(image, device=device).copy_(pinned.copy_(image), non_blocking=True)
        sent.record()
        return copied


class NetworkRuntime:
    """Implements perception.Network on an AgentModel."""

    def __init__(
        self,
        model: AgentModel,
        identity: Identity,
        device: torch.device,
        *,
        seed: int = 0,
        matcher: str = "affinity",
        about: Mapping[str, str] | None = None,
        reduced: bool = False,
    ) -> None:
        """matcher: `affinity` or `distance`, how a vehicle pairs its queries with the instances of others.

        about: what else users should know of how it computes. reduced: large JPEGs are decoded at a part of their
        size (`image_input`).
        """
        self.identity, self.device, self._reduced = identity, device, reduced
        self._about = dict(about or {})
        self._model = model.to(device).eval()
        self._session = Session(self._model, seed, matcher)
        self._pinned = PinnedImages()
        self._book = TrackBook()
        self._frame_index = 0
        self._senders: dict[tuple[str, int], int] = {}
        self._epoch_ns: int | None = None

    @property
    def config(self) -> ModelConfig:
        """Sizes and options."""
        return self._model.config

    @property
    def preset(self) -> str:
        """Name of the configuration."""
        return self.config.name

    @property
    def fingerprint(self) -> bytes:
        """Goes into messages."""
        return self.identity.fingerprint

    @property
    def codebook(self) -> Codebook | None:
        """Of the features that it makes or understands."""
        return self.identity.codebook

    @property
    def needed_streams(self) -> tuple[str, ...]:
        """What vehicles of its kind cannot make from the boxes."""
        return self.config.needed_streams

    @property
    def trained(self) -> bool:
        """False: random weights."""
        return self.identity.trained

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self._model.parameters())

    @property
    def about(self) -> dict[str, str]:
        """What users want to know beside that."""
        known = {"device": str(self.device), "weights": self.identity.source, "parameters": f"{self.parameters:,}"}
        return known | self._about

    def understands(self, message: Message) -> bool:
        """Whether the features come from the roadside network that this one was trained with."""
        features, partner = message.instances.features, self.identity.roadside_fingerprint
        return (
            self.config.cooperative
            and features is not None
            and partner is not None
            and len(features.fingerprint) >= PREFIX_BYTES
            and partner.startswith(features.fingerprint)
            and features.query.shape[1] == self.config.embed_dims
            and (features.motion is not None or not self.config.needs_motion)
        )

    def reset(self) -> None:
        """Forgets all tracks and the BEV memory; track ids go on."""
        self._session.reset()
        self._senders.clear()
        self._book.clear()

    def warm_up(self) -> None:
        """Runs two grey frames on the side, so that the first real one does not pay for lazy set-up."""
        height, width = self.config.image_size
        camera = CameraView(
            np.array([[width, 0.0, width / 2], [0.0, width, height / 2], [0.0, 0.0, 1.0]]),
            np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
            width,
            height,
        )
        frame = Frame(0, np.eye(4), image=np.full((height, width, 3), 127, np.uint8), camera=camera)
        scratch = NetworkRuntime(self._model, self.identity, self.device, matcher=self._session.matcher)
        scratch.step(frame, np.eye(4), ())
        scratch.step(replace(frame, stamp_ns=100_000_000), np.eye(4), ())

    def step(self, frame: Frame, T_map_from_sensor: Float, messages: Sequence[Message]) -> NetworkOutput:
        """Processes a frame. Raises FrameRejected before anything is changed."""
        given = self._input(frame, T_map_from_sensor)
        with torch.inference_mode():
            remotes = [self._remote(m, row, frame.stamp_ns, T_map_from_sensor) for row, m in enumerate(messages)]
            done = self._session.step(given, remotes)
            self._frame_index += 1
            with stage("outputs"):
                visible = outputs.in_view(done.refined, given.lidar2img, self.config)
                return self._output(done, visible, frame.stamp_ns, messages)

    def predict(self, stamp_ns: int, T_map_from_sensor: Float) -> TrackedObjects:
        """The live tracks moved to another time and pose; none after a gap that ends them. The state stays as it is."""
        memory = self._session.memory
        if memory is None or not 0.0 <= self._seconds(stamp_ns) - memory.stamp_s <= self.config.max_gap_s:
            return outputs.no_tracks(stamp_ns)
        with torch.inference_mode():
            live = self._session.foretold(self._seconds(stamp_ns), T_map_from_sensor)
            assert live is not None
            return outputs.predicted(live, self._book, self._frame_index, stamp_ns)

    def _seconds(self, stamp_ns: int) -> float:
        """Since the first frame: seconds since 1970 do not fit single precision."""
        if self._epoch_ns is None:
            self._epoch_ns = stamp_ns
        return (stamp_ns - self._epoch_ns) / 1e9

    def _input(self, frame: Frame, T_map_from_sensor: Float) -> NetworkInput:
        if not np.isfinite(T_map_from_sensor).all():
            bad = int((~np.isfinite(T_map_from_sensor)).sum())
            raise FrameRejected(f"pose: expected finite numbers, found {bad} that are not finite")
        stamp_s, memory = self._seconds(frame.stamp_ns), self._session.memory
        before = None if memory is None else Before(memory.stamp_s, memory.T_map_from_sensor)
        T_image = image_time(before, stamp_s, T_map_from_sensor, frame.image_delay_s, self.config)
        made = image_input(frame, self.config, T_image, reduced=self._reduced)
        image = self._uploaded(torch.from_numpy(made.image))
        lidar2img = torch.from_numpy(made.lidar2img.astype(np.float32)).to(self.device)
        return NetworkInput(image, lidar2img, T_map_from_sensor, stamp_s)

    def _uploaded(self, image: Tensor) -> Tensor:
        """The image on the device; from pinned memory the processor need not wait for it."""
        if self.device.type != "cuda":
            return image.to(self.device)
        return self._pinned(image, self.device)

    def _remote(
        self, message: Message, row: int, stamp_ns: int, T_map_from_ego: Float
    ) -> tuple[RemoteInstances, Tensor]:
        assert message.T_map_from_sensor is not None, "admission refuses messages without a pose"
        T_vehicle_from_infra = inverse(T_map_from_ego) @ message.T_map_from_sensor
        dt_s = (stamp_ns - message.perceived_ns) / 1e9
        sender = self._senders.setdefault((message.agent_id, message.session_id), len(self._senders))
        remote = remote_instances(message, row, dt_s, T_vehicle_from_infra, self.config, self._embed, sender)
        return remote.map(lambda x: x.to(self.device)), torch.from_numpy(T_vehicle_from_infra.astype(np.float32)).to(
            self.device
        )

    def _embed(self, ref_pts: Tensor) -> Tensor:
        return self._model.embed(ref_pts.to(self.device)).cpu()

    def _output(
        self, done: Step, visible: NDArray[np.bool_], stamp_ns: int, messages: Sequence[Message]
    ) -> NetworkOutput:
        config, advanced, queries = self.config, done.advanced, done.advanced.queries
        origin = outputs.origin_of(done, config, [message.agent_id for message in messages], visible)
        ids, live, seen = (x.cpu().numpy() for x in (queries.track_id, advanced.live, advanced.reported))
        known = live | seen
        self._book.record(ids[known], np.where(seen, origin.sources, 0)[known], self._frame_index, stamp_ns)
        rows = outputs.reported_rows(queries, advanced.reported, config)
        tracks = outputs.tracks(queries, rows, origin, self._book, self._frame_index, stamp_ns)
        self._book.keep(ids[live])
        active = np.flatnonzero((queries.scores > config.score_threshold).cpu().numpy()[rows])
        return NetworkOutput(
            instances=outputs.instances(tracks, active, queries, rows, self.preset, self.fingerprint),
            detections=outputs.detections(queries, config),
            tracks=tracks,
            associations=outputs.associations(done, origin, messages, stamp_ns, rows),
            sightings=outputs.sightings(done.perception, _SIGHTED),
            measured=lambda: self._measured(done, origin, tracks, rows, active),
        )

    @torch.inference_mode()
    def _measured(
        self, done: Step, origin: outputs.Origin, tracks: TrackedObjects, rows: outputs.Int, active: outputs.Int
    ) -> Instances:
        """What the own image measured of the active objects, before others had their say."""
        own = active[(tracks.sources[active] & SOURCE_EGO) > 0]
        if done.cooperation is None or self.config.fusion != "graph":  # before decoding, others have it already
            return outputs.instances(tracks, own, done.advanced.queries, rows, self.preset, self.fingerprint)
        ego_rows = torch.from_numpy(origin.ego_row[rows[own]]).to(self.device)
        alone = self._model.alone(done.perception.queries.select(0).select(ego_rows))
        return outputs.measured_instances(tracks, own, alone, self.preset, self.fingerprint)
