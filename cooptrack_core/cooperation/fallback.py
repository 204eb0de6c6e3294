"""Messages whose features a network cannot use: which, why, and how their kinematics join the network's tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.cooperation.late_fusion import Fused
from cooptrack_core.perception import Network
from cooptrack_core.types import SOURCE_REMOTE, Associations, Instances, Message, TrackedObjects

Int = NDArray[np.int64]

_REMEMBERED = 64  # agents; somebody may make up names
MEASURED_STD_M, PREDICTED_STD_M = 0.05, 1.0  # of a network's track


def split(messages: Sequence[Message], network: Network) -> tuple[list[Message], list[Message]]:
    """Messages that the network can take, and the others; that nothing was seen, it can take from anybody."""
    understood = [not len(message.instances) or network.understands(message) for message in messages]
    pairs = list(zip(messages, understood, strict=True))
    return [message for message, known in pairs if known], [message for message, known in pairs if not known]


def reason(message: Message) -> str:
    """Why the features of a message are not used."""
    features = message.instances.features
    if features is None:
        return "the message has no features"
    if features.codes is not None:
        return f"its codes are of codebook {features.codebook.hex()[:8]}, which this vehicle does not have"
    maker = f"{features.preset or 'an unnamed model'} {features.fingerprint.hex()[:8]}"
    return f"they come from {maker}, which this vehicle's network was not trained with"


class Unused:
    """Why the features of each agent are not used. A message without instances says nothing about that."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}

    def reasons(self, used: Sequence[Message], others: Sequence[Message]) -> dict[str, str]:
        """By agent, of the messages that a frame used; others: those of them whose kinematics were fused."""
        if len(self._why) > _REMEMBERED:
            self._why.clear()
        for message in used:
            if len(message.instances):
                self._why.pop(message.agent_id, None)
        self._why |= {message.agent_id: reason(message) for message in others}
        return {m.agent_id: self._why[m.agent_id] for m in used if m.agent_id in self._why}


def as_instances(tracks: TrackedObjects) -> Instances:
    """Tracks as what a detector reports, row by row.

    The network has filtered them: what follows keeps to them, and believes others where the network only guesses.
    """
    std_m = np.where(tracks.sources > 0, MEASURED_STD_M, PREDICTED_STD_M)
    return Instances.create(
        tracks.center_m,
        tracks.size_m,
        tracks.heading_rad,
        tracks.class_id,
        np.clip(tracks.score, 0.0, 1.0),
        velocity_mps=tracks.velocity_mps,
        instance_id=tracks.track_id,
        position_variance_m2=np.stack([std_m**2, std_m**2], axis=-1),
        age_frames=tracks.age_frames,
    )


def with_origin(fused: Fused, tracks: TrackedObjects) -> Fused:
    """Objects whose first rows are the network's tracks, with what the network knows of their origin and motion."""
    n = len(tracks)
    velocity_mps = fused.instances.velocity_mps.copy()
    velocity_mps[:n] = tracks.velocity_mps
    sources = fused.sources.copy()
    sources[:n] = tracks.sources | (sources[:n] & SOURCE_REMOTE)
    agents = [(*first, *more) for first, more in zip(tracks.agents, fused.agents[:n], strict=True)]
    instances = replace(fused.instances, velocity_mps=velocity_mps)
    return replace(fused, instances=instances, sources=sources, agents=(*agents, *fused.agents[n:]))


class TracksOfNetwork:
    """Which object-level tracks a network feeds: it decides what continues what, and what is no longer reported.

    The tracker remembers what the network has ended for a while, so that it keeps its id when it is found again.
    """

    def __init__(self) -> None:
        self._names: dict[int, int] = {}  # object-level id by the network's

    def continued(self, tracks: TrackedObjects, count: int) -> Int:
        """[count] the object-level track that each object of a frame is known to continue, 0: none.

        tracks: the network's, which are the first objects.
        """
        known = [self._names.get(identity, 0) for identity in tracks.track_id.tolist()]
        return np.array(known + [0] * (count - len(known)), np.int64)

    def without_ended(self, objects: TrackedObjects, tracks: TrackedObjects, fed: Int) -> TrackedObjects:
        """The object-level tracks without those that the network fed last and does not report now.

        fed: the id of the track that each object of the frame feeds.
        """
        network, others = fed[: len(tracks)].tolist(), set(fed[len(tracks) :].tolist())
        alive = set(objects.track_id.tolist()) - others - set(network)
        kept = {name: identity for name, identity in self._names.items() if identity in alive}
        self._names = kept | dict(zip(tracks.track_id.tolist(), network, strict=True))
        ended = set(kept.values())
        rows = [row for row, identity in enumerate(objects.track_id.tolist()) if identity not in ended]
        columns = {item.name: getattr(objects, item.name) for item in fields(objects)}
        chosen: dict[str, Any] = {name: x[rows] for name, x in columns.items() if isinstance(x, np.ndarray)}
        return replace(objects, **chosen, agents=[objects.agents[row] for row in rows])


def joined(own: Associations, tracks: TrackedObjects, object_id: Int, others: Associations) -> Associations:
    """The network's associations followed by those of its tracks with the objects of other messages.

    own: with the network's ids; it becomes those of the object-level tracks that its tracks [N] feed,
    object_id [N]. In `others` the tracks are the ego instances; their indices become those of the network's own.
    """
    others = _by_own_index(others, _own_index(own, tracks.track_id))
    alone = ~np.isin(own.unmatched_ego_index, others.pair_ego_index)
    own = _renamed(_select(own, "unmatched_ego_", alone), tracks.track_id, object_id)
    columns: dict[str, Any] = {"messages": (*own.messages, *others.messages)}
    for name in (item.name for item in fields(Associations) if item.name != "messages"):
        a, b = getattr(own, name), getattr(others, name)
        columns[name] = np.concatenate([a, b + len(own.messages) if name.endswith("message_index") else b])
    return Associations(**columns)


def _own_index(own: Associations, track_id: Int) -> Int:
    """[N] index of the network's own instance behind each track; -1: only others see it."""
    ids = np.concatenate([own.pair_track_id, own.unmatched_ego_track_id])
    index = np.concatenate([own.pair_ego_index, own.unmatched_ego_index])
    found = {int(i): int(row) for i, row in zip(ids, index, strict=True) if i > 0}
    return np.array([found.get(int(i), -1) for i in track_id], np.int64)


def _by_own_index(others: Associations, index_of_track: Int) -> Associations:
    """Own instances by their index; what is paired with a track that has none found no partner among ours."""
    index = index_of_track[others.pair_ego_index]
    foreign = _select(others, "pair_", index < 0)
    kept = _select(_select(others, "pair_", index >= 0), "unmatched_ego_", np.zeros(0, np.int64))
    return replace(
        kept,
        pair_ego_index=index[index >= 0],
        unmatched_remote_message_index=np.concatenate(
            [kept.unmatched_remote_message_index, foreign.pair_message_index]
        ),
        unmatched_remote_instance_index=np.concatenate(
            [kept.unmatched_remote_instance_index, foreign.pair_instance_index]
        ),
        unmatched_remote_center_m=np.concatenate([kept.unmatched_remote_center_m, foreign.pair_remote_center_m]),
        unmatched_remote_track_id=np.concatenate([kept.unmatched_remote_track_id, foreign.pair_track_id]),
    )


def _select(associations: Associations, prefix: str, rows: NDArray[Any]) -> Associations:
    """Some rows of the columns whose names begin so."""
    names = [item.name for item in fields(Associations) if item.name.startswith(prefix)]
    return replace(associations, **{name: getattr(associations, name)[rows] for name in names})


def _renamed(associations: Associations, network_id: Int, object_id: Int) -> Associations:
    """Ids of the network replaced by those of the object-level tracks that its tracks [N] feed; others become 0."""
    names = dict(zip(network_id.tolist(), object_id.tolist(), strict=True))
    columns: dict[str, Any] = {
        item.name: np.array([names.get(i, 0) for i in getattr(associations, item.name).tolist()], np.int64)
        for item in fields(Associations)
        if item.name.endswith("track_id")
    }
    return replace(associations, **columns)
