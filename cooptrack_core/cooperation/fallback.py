"""Messages whose features a network cannot use: which, why, and how their kinematics join the network's tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.perception import Network
from cooptrack_core.types import Associations, Instances, Message, TrackedObjects

Int = NDArray[np.int64]


def split(messages: Sequence[Message], network: Network) -> tuple[list[Message], list[Message]]:
    """Messages whose features the network understands, and the others."""
    understood = [message for message in messages if network.understands(message)]
    return understood, [message for message in messages if not network.understands(message)]


def reason(message: Message) -> str:
    """Why the features of a message are not used."""
    features = message.instances.features
    if features is None:
        return "the message has no features"
    maker = f"{features.preset or 'an unnamed model'} {features.fingerprint.hex()[:8]}"
    return f"they come from {maker}, which this vehicle's network was not trained with"


def as_instances(tracks: TrackedObjects) -> Instances:
    """Tracks as what a detector reports, row by row."""
    return Instances.create(
        tracks.center_m,
        tracks.size_m,
        tracks.heading_rad,
        tracks.class_id,
        np.clip(tracks.score, 0.0, 1.0),
        velocity_mps=tracks.velocity_mps,
        instance_id=tracks.track_id,
        age_frames=tracks.age_frames,
    )


def renamed(associations: Associations, network_id: Int, object_id: Int) -> Associations:
    """The network's associations with the ids of the object-level tracks that its tracks feed.

    network_id, object_id: [N] ids of the same tracks; whoever is not among them gets 0.
    """

    def rename(ids: Int) -> Int:
        order = np.argsort(network_id, kind="stable")
        if not len(order):
            return np.zeros_like(ids)
        place = np.minimum(np.searchsorted(network_id[order], ids), len(order) - 1)
        found = network_id[order][place] == ids
        return np.where(found & (ids > 0), object_id[order][place], 0)

    return replace(
        associations,
        pair_track_id=rename(associations.pair_track_id),
        unmatched_ego_track_id=rename(associations.unmatched_ego_track_id),
        unmatched_remote_track_id=rename(associations.unmatched_remote_track_id),
    )


def joined(first: Associations, second: Associations) -> Associations:
    """Rows of both; message indices of the second count on from those of the first."""
    offset = len(first.messages)
    columns: dict[str, Any] = {"messages": (*first.messages, *second.messages)}
    for name in (item.name for item in fields(Associations) if item.name != "messages"):
        a, b = getattr(first, name), getattr(second, name)
        columns[name] = np.concatenate([a, b + offset if name.endswith("message_index") else b])
    return Associations(**columns)
