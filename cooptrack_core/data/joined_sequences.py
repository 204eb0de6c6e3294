"""Sequences of several datasets that look at the same traffic, as one: several vehicles and units in one bag."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cooptrack_core.data.bag_messages import tf_message
from cooptrack_core.data.files import problem
from cooptrack_core.data.frame_messages import SequenceOptions, TimedFrame
from cooptrack_core.data.sequence_messages import SequenceMessages, TimedMessage
from cooptrack_core.data.v2x_seq import Dataset

_APART_NS = 1_000_000_000  # sequences of one traffic begin together
_PLACE_M = 200.0  # vehicles farther apart have nothing to tell each other


class JoinedSequences:
    """What SequenceMessages is for one pair, for several. Agents are numbered: vehicle1, rsu1, vehicle2, rsu2, ..."""

    def __init__(self, datasets: Sequence[Dataset], sequence_id: str, options: SequenceOptions) -> None:
        """Raises CooptrackError for an unknown sequence, unreadable metadata, or another time or place."""
        self.parts = [
            SequenceMessages(
                dataset, sequence_id,
                # Noise of its own for the detectors of each pair.
                replace(options, vehicle=f"{options.vehicle}{k}", roadside=f"{options.roadside}{k}",
                        seed=options.seed + 1000 * (k - 1)),
            )
            for k, dataset in enumerate(datasets, start=1)
        ]  # fmt: skip
        for part in self.parts:
            part.look_on_with(self.parts)
            self._check(part)

    @property
    def frames(self) -> list[TimedFrame]:
        """Of all agents."""
        return [frame for part in self.parts for frame in part.frames]

    @property
    def warnings(self) -> list[str]:
        """Of all parts."""
        return [line for part in self.parts for line in part.warnings]

    def declared(self) -> dict[str, str]:
        """Type of the topics that are part of the interface even without a message."""
        return {topic: kind for part in self.parts for topic, kind in part.declared().items()}

    def __call__(self) -> Iterator[TimedMessage]:
        """All messages in log order; one with the static transforms of everybody comes first."""
        streams = [part() for part in self.parts]
        static = [next(stream) for stream in streams]
        transforms = list(itertools.chain.from_iterable(item.message.transforms for item in static))
        first_ns = min(item.log_time_ns for item in static)
        yield TimedMessage("/tf_static", first_ns, tf_message(transforms))
        last_ns = first_ns
        for item in heapq.merge(*streams, key=lambda item: item.log_time_ns):
            last_ns = max(item.log_time_ns, last_ns + 1)  # of two at the same time one comes first for every reader
            yield replace(item, log_time_ns=last_ns)

    def _check(self, part: SequenceMessages) -> None:
        first, root = self.parts[0], part.dataset.root
        if abs(part.frames[0].known_ns - first.frames[0].known_ns) > _APART_NS:
            raise problem(root, "sequence", "is of another time than the first", _REMEDY)
        places = [_place(each) for each in (first, part)]
        if float(np.hypot(*(places[1] - places[0])[:2])) > _PLACE_M:
            raise problem(root, "sequence", "is of another place than the first", _REMEDY)


_REMEDY = "give datasets of the same traffic, as cooptrack synthesize --pairs makes them"


def _place(part: SequenceMessages) -> np.ndarray:
    row = part.vehicle_rows[0]
    return part.dataset.vehicle_calibration(row.frame_id).T_map_from_novatel[:3, 3]


__all__ = ["JoinedSequences"]
