"""What a finished roadside network sends about kept frames: made once, as precise as on the air, kept on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cooptrack_core.config import NetworkConfig, RoadsideConfig
from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.loading import load_network
from cooptrack_core.model.remote import remote_instances
from cooptrack_core.model.runtime import Identity, NetworkRuntime
from cooptrack_core.perception import Network
from cooptrack_core.pipeline import RoadsideAgent
from cooptrack_core.process_pool import work_through
from cooptrack_core.training.frames import Clip, FrameSet
from cooptrack_core.types import Features, Instances, Message

Float = NDArray[np.float64]

SESSION = 1
# Messages to learn from hold all there is, whatever is sent later.
WHOLE = RoadsideConfig(detector="network", feature_precision="fp16", feature_streams="all", kinematics_precision="fp32")
FINGERPRINT_BYTES = 32
EPOCH_NS = 10**9  # kept clips begin at 0 s, which messages may not
_COLUMNS = ("center_m", "size_m", "heading_rad", "velocity_mps", "class_id", "score", "instance_id")


def roadside_messages(weights: Path, preset: str, frames: FrameSet, cache: Path) -> dict[str, list[Message]]:
    """Messages of the roadside unit by sequence, one for each frame of its clip."""
    clips = frames.of("rsu").clips
    missing = [clip for clip in clips if not _file(cache, clip).is_file()]
    if missing:
        cache.mkdir(parents=True, exist_ok=True)
        pieces = [(weights, preset, clip, cache) for clip in missing]
        work_through(send, pieces, "messages of the roadside network", "sequence")
    return {clip.sequence: _load(_file(cache, clip), clip) for clip in clips}


def _file(cache: Path, clip: Clip) -> Path:
    return cache / f"{clip.sequence}.npz"


def send(weights: Path, preset: str, clip: Clip, cache: Path) -> None:
    """Runs the agent as the node does, over one clip."""
    torch.set_num_threads(1)
    network = load_network(NetworkConfig(preset=preset.rpartition("_")[0], weights=str(weights), device="cpu"), "inf")
    messages = _messages_of(network, clip)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(m.instances, name) for m in messages]) for name in _COLUMNS
    }
    known = [m.instances.features for m in messages if m.instances.features is not None]
    streams: dict[str, Any] = {
        name: np.concatenate([getattr(features, name) for features in known])
        for name in ("query", "embedding", "motion")
        if known and all(getattr(features, name) is not None for features in known)
    }
    about = {"fingerprint": network.fingerprint.hex(), "preset": preset}
    temporary = _file(cache, clip).with_suffix(".part.npz")
    np.savez(
        temporary, count=np.array([len(m.instances) for m in messages]), about=np.array(json.dumps(about)),
        **columns, **streams,
    )  # fmt: skip
    temporary.replace(_file(cache, clip))


def current_messages(model: AgentModel, clip: Clip) -> list[Message]:
    """What a roadside network that is still being trained sends over one clip."""
    device = next(model.parameters()).device
    identity = Identity(bytes(FINGERPRINT_BYTES), None, True, "training")
    return _messages_of(NetworkRuntime(model, identity, device), clip)


def _messages_of(network: Network, clip: Clip) -> list[Message]:
    agent = RoadsideAgent("rsu", WHOLE, SESSION, network=network)
    messages = []
    for index in range(len(clip)):
        message = agent.step(clip.frame(index, EPOCH_NS)).message
        assert message is not None, "kept frames have image and pose"
        messages.append(over_the_air(message))
    return messages


def _load(path: Path, clip: Clip) -> list[Message]:
    with np.load(path, allow_pickle=False) as data:
        about = json.loads(str(data["about"]))
        ends = np.cumsum(data["count"])
        arrays = {name: data[name] for name in data.files if name not in ("count", "about")}
    messages = []
    for index, (start, end) in enumerate(zip(ends - np.diff(ends, prepend=0), ends, strict=True)):
        part = {name: values[start:end] for name, values in arrays.items()}
        messages.append(_message(part, about, clip, index))
    return messages


def _message(part: dict[str, np.ndarray], about: dict[str, str], clip: Clip, index: int) -> Message:
    query, embedding, motion = (part.pop(name, None) for name in ("query", "embedding", "motion"))
    features = None
    if query is not None and motion is not None:
        features = Features(query, embedding, motion, about["preset"], bytes.fromhex(about["fingerprint"]))
    instances = Instances.create(**part, features=features)
    stamp_ns = EPOCH_NS + round(clip.stamp_s[index] * 1e9)
    return Message("rsu", SESSION, index + 1, stamp_ns, "rsu/lidar", clip.T_map_from_sensor[index], instances)


def newest_before(clip: Clip, roadside: Clip, frame: int, back: int = 0) -> int:
    """Row of the roadside frame that a vehicle has heard by its frame, `back` frames late; -1: none yet."""
    heard = int(np.searchsorted(roadside.log_time_ns, clip.log_time_ns[frame], side="right")) - 1
    return max(heard - back, -1)


@torch.no_grad()
def received(
    model: AgentModel, message: Message, clip: Clip, frame: int, error: Float | None = None
) -> tuple[RemoteInstances, torch.Tensor]:
    """The instances of a message as a vehicle has them at the time of its frame, and T_vehicle_from_infra [4, 4].

    error [4, 4]: of the sender's pose.
    """
    assert message.T_map_from_sensor is not None, "messages of kept frames have a pose"
    T = inverse(clip.T_map_from_sensor[frame]) @ message.T_map_from_sensor
    if error is not None:
        T = T @ error
    dt_s = clip.stamp_s[frame] - (message.perceived_ns - EPOCH_NS) / 1e9
    device = model.reference_points.device
    remote = remote_instances(message, 0, dt_s, T, model.config, lambda points: model.embed(points.to(device)).cpu())
    return remote.to(device), torch.from_numpy(T).float().to(device)


__all__ = ["EPOCH_NS", "newest_before", "received", "roadside_messages", "send"]
