"""Training frames of a dataset, decoded once and kept on disk, so that the processor and not the disk is the limit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.model.image_input import Before, decoded_pixels, image_scale, image_time, scaled_camera
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.process_pool import work_through
from cooptrack_core.training.disk import held
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.sequence import LabelledFrame, labelled_frames
from cooptrack_core.types import CameraView, CooptrackError, Frame

Float = NDArray[np.float64]

AGENT_OF_ROLE = {"inf": "rsu", "veh": "vehicle", "coop": "vehicle"}
_SCHEMA = 2


@dataclass(frozen=True)
class Clip:
    """The F consecutive frames of one agent in one sequence, at the size that a network takes in."""

    sequence: str
    agent: str  # vehicle or rsu
    folder: Path
    K: Float  # [F, 3, 3] camera matrix of the kept images
    T_camera_from_sensor: Float  # [F, 4, 4]
    T_map_from_sensor: Float  # [F, 4, 4]
    stamp_s: Float  # [F] since the first frame of the sequence, of whichever agent
    image_delay_s: Float  # [F] from stamp_s until the image was taken
    log_time_ns: NDArray[np.int64]  # [F] when the frame reaches the network
    truths: tuple[GroundTruth, ...]  # [F]
    config: ModelConfig

    def __len__(self) -> int:
        return len(self.stamp_s)

    @cached_property
    def lidar2img(self) -> Float:
        """[F, 4, 4] from the sensor frame to pixels of the kept images, as the network gets it."""
        projection = np.zeros((len(self), 4, 4))
        projection[:, :3, :3], projection[:, 3, 3] = self.K, 1.0
        found = projection @ self.T_camera_from_sensor
        for now in range(1, len(self)):
            before = Before(self.stamp_s[now - 1], self.T_map_from_sensor[now - 1])
            here = self.stamp_s[now], self.T_map_from_sensor[now], self.image_delay_s[now]
            moved = image_time(before, *here, self.config)
            found[now] = found[now] if moved is None else found[now] @ moved
        return np.asarray(found)

    def frame(self, index: int, epoch_ns: int = 0) -> Frame:
        """A frame as it reaches an agent; epoch_ns: when the clip begins."""
        image = np.asarray(self.images[index])
        camera = CameraView(self.K[index], self.T_camera_from_sensor[index], image.shape[1], image.shape[0])
        stamp_ns = epoch_ns + round(self.stamp_s[index] * 1e9)
        taken_ns = stamp_ns + round(self.image_delay_s[index] * 1e9)
        return Frame(stamp_ns, self.T_map_from_sensor[index], image=image, camera=camera, image_stamp_ns=taken_ns)

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """[F, h, w, 3] BGR, on disk until they are looked at; h may be less than the network's, which pads."""
        return np.load(self.folder / f"{self.sequence}_{self.agent}.npy", mmap_mode="r", allow_pickle=False)


@dataclass(frozen=True)
class FrameSet:
    """Clips of some sequences of a dataset."""

    clips: tuple[Clip, ...]

    def of(self, agent: str) -> FrameSet:
        """The clips of an agent, `vehicle` or `rsu`."""
        return FrameSet(tuple(clip for clip in self.clips if clip.agent == agent))

    @property
    def frames(self) -> int:
        """All frames together."""
        return sum(map(len, self.clips))


def load_frames(dataset: Dataset, sequences: Sequence[str], config: ModelConfig, cache: Path) -> FrameSet:
    """Clips of both agents of the sequences; what the cache folder does not have yet is decoded into it.

    The network's image size decides what is kept. Raises CooptrackError for sequences without usable frames.
    """
    folder = cache / _digest(dataset, config)
    folder.mkdir(parents=True, exist_ok=True)
    if _missing(folder, sequences):
        with held(folder / "decoding.lock"):  # two agents may start to train at once
            _decode(dataset.root, _missing(folder, sequences), config, folder)
    clips = [clip for name in sequences for clip in _load(folder, name, config)]
    if not clips:
        raise CooptrackError(
            f"{dataset.root}: no sequence of the split has labelled frames with images; choose another"
        )
    return FrameSet(tuple(clips))


def _missing(folder: Path, sequences: Sequence[str]) -> list[str]:
    return [name for name in sequences if not (folder / f"{name}.json").is_file()]


def _digest(dataset: Dataset, config: ModelConfig) -> str:
    """Changes with the place and the lists of the dataset and with the size of the image."""
    lists = [dataset.root / side / "data_info.json" for side in ("vehicle-side", "infrastructure-side", "cooperative")]
    stamps = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in lists if path.is_file()]
    what = [_SCHEMA, str(dataset.root.resolve()), stamps, config.image_size]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def _decode(root: Path, names: Sequence[str], config: ModelConfig, folder: Path) -> None:
    if names:
        work_through(decode_sequence, [(root, name, config, folder) for name in names], "decoding images", "sequence")


@lru_cache(maxsize=1)
def _dataset(root: Path) -> Dataset:
    """Its lists are read once in a process, not for every sequence."""
    return Dataset(root)


def decode_sequence(root: Path, name: str, config: ModelConfig, folder: Path) -> None:
    """Writes the clips of a sequence; its .json comes last and says that all is there."""
    cv2.setNumThreads(1)
    frames = labelled_frames(_dataset(root), name)
    first_ns = min((frame.event.frame.stamp_ns for frame in frames), default=0)
    agents = []
    for agent in ("vehicle", "rsu"):
        own = [frame for frame in frames if frame.event.agent_id == agent]
        if own:
            _write_clip(folder, name, agent, own, config, first_ns)
            agents.append(agent)
    temporary = folder / f"{name}.json.part"
    temporary.write_text(json.dumps({"agents": agents}))
    temporary.replace(folder / f"{name}.json")


def _write_clip(
    folder: Path, name: str, agent: str, frames: Sequence[LabelledFrame], config: ModelConfig, first_ns: int
) -> None:
    images, columns = [], []
    for item in frames:
        frame = item.event.frame
        assert frame.image is not None and frame.camera is not None and frame.T_map_from_sensor is not None
        pixels = decoded_pixels(frame.image)
        scale = image_scale(pixels.shape[1], pixels.shape[0], config)
        size = (config.image_size[1], round(pixels.shape[0] * scale))
        same = pixels.shape[1::-1] == size
        images.append(pixels if same else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
        K, T_camera = scaled_camera(frame.camera.K, scale, config), frame.camera.T_camera_from_sensor
        stamp_s = (frame.stamp_ns - first_ns) / 1e9
        column = (K, T_camera, frame.T_map_from_sensor, stamp_s, frame.image_delay_s, item.event.log_time_ns)
        columns.append(tuple(map(np.asarray, column)))
    truths = [item.truth for item in frames]
    seen = [torch.ones(len(t), dtype=torch.bool) if t.seen is None else t.seen for t in truths]
    K, T_camera, T_map, stamps, delays, log_time_ns = (np.stack(rows) for rows in zip(*columns, strict=True))
    np.save(folder / f"{name}_{agent}.npy", np.stack(images))
    np.savez(
        folder / f"{name}_{agent}.npz",
        K=K, T_camera_from_sensor=T_camera, T_map_from_sensor=T_map, stamp_s=stamps, image_delay_s=delays,
        log_time_ns=log_time_ns,
        count=np.array([len(t) for t in truths]),
        boxes=torch.cat([t.boxes for t in truths]).numpy(), labels=torch.cat([t.labels for t in truths]).numpy(),
        ids=torch.cat([t.ids for t in truths]).numpy(), seen=torch.cat(seen).numpy(),
    )  # fmt: skip


def _load(folder: Path, name: str, config: ModelConfig) -> list[Clip]:
    agents = json.loads((folder / f"{name}.json").read_text())["agents"]
    return [_load_clip(folder, name, agent, config) for agent in agents]


def _load_clip(folder: Path, name: str, agent: str, config: ModelConfig) -> Clip:
    with np.load(folder / f"{name}_{agent}.npz", allow_pickle=False) as data:
        counts = data["count"].tolist()
        columns = [torch.split(torch.from_numpy(data[key]), counts) for key in ("boxes", "labels", "ids", "seen")]
        truths = tuple(GroundTruth(*row) for row in zip(*columns, strict=True))
        return Clip(
            name, agent, folder, data["K"], data["T_camera_from_sensor"], data["T_map_from_sensor"], data["stamp_s"],
            data["image_delay_s"], data["log_time_ns"], truths, config,
        )  # fmt: skip


__all__ = ["AGENT_OF_ROLE", "Clip", "FrameSet", "decode_sequence", "load_frames"]
