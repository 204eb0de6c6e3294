"""What a recorded run tells of its schedule: the frames it processed and the messages that each used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cooptrack_core.cooperation import wire
from cooptrack_core.cooperation.redundancy import ReceivedStates
from cooptrack_core.data.bag import Bag, stamp_of
from cooptrack_core.data.bag_events import BagEvent, matrix_of_pose
from cooptrack_core.data.files import problem
from cooptrack_core.data.track_messages import serialised_tracks, tracks_message
from cooptrack_core.geometry.transforms import to_quaternion
from cooptrack_core.pipeline import VehicleOutput
from cooptrack_core.types import CooptrackError, Frame, Message, MessageKey


@dataclass
class RecordedRun:
    """Tracks of one vehicle by frame stamp (cooptrack_msgs/TrackedObjectArray), and the messages used."""

    path: Path
    tracks: dict[int, Any] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)  # frames that brought nothing usable of their own
    schedule: dict[int, list[Message]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)  # all that were recorded
    equal: int = 0  # frames that came out byte for byte

    @property
    def mode(self) -> str:
        """Of the run."""
        return str(next(iter(self.tracks.values())).mode)

    @property
    def detector(self) -> str:
        """Of the run."""
        return str(next(iter(self.tracks.values())).detector)

    @property
    def first_frame_index(self) -> int:
        """1 if the recording holds the run from its beginning, without which it cannot be repeated."""
        return int(next(iter(self.tracks.values())).frame_index)

    def as_recorded(self, events: Iterable[BagEvent]) -> Iterator[BagEvent]:
        """The events with the frames as the run had them: those it never saw left out, lost ones lost."""
        for event in events:
            if event.frame.stamp_ns in self.tracks:
                yield replace(event, frame=self._frame(event.frame))

    def _frame(self, frame: Frame) -> Frame:
        message = self.tracks[frame.stamp_ns]
        if frame.stamp_ns in self.lost:
            frame = replace(frame, detections=None, image=None, camera=None)
        if not message.pose_known:
            return replace(frame, T_map_from_sensor=None)
        T, p, q = frame.T_map_from_sensor, message.map_from_frame.position, message.map_from_frame.orientation
        published = [p.x, p.y, p.z, q.x, q.y, q.z, q.w]
        if T is None or [*T[:3, 3].tolist(), *to_quaternion(T).tolist()] != published:
            # Another implementation of tf interpolates differently in the last digit, or a pose came late.
            T = matrix_of_pose(message.map_from_frame)
        return replace(frame, T_map_from_sensor=T)

    def compare(self, stamp_ns: int, output: VehicleOutput) -> bool:
        """Whether the tracks are byte for byte those that were published.

        Alignment padding does not count: DDS sends whatever was in memory there.
        """
        then = self.tracks[stamp_ns]
        now = tracks_message(output, then.header.frame_id, then.agent_id, then.mode, then.detector)
        same = serialised_tracks(now) == serialised_tracks(then)
        self.equal += same
        return same


def read_run(path: Path, vehicle: str, roadside: Sequence[str]) -> RecordedRun:
    """Reads a recording. CooptrackError if it has no tracks, a message that was used, or time jumps back in it."""
    run = RecordedRun(path)
    messages: dict[MessageKey, Message] = {}
    used: dict[int, list[MessageKey]] = {}
    admitted: dict[int, list[MessageKey]] = {}
    tracks, associations = f"/{vehicle}/tracks", f"/{vehicle}/associations"
    instances = [f"/{name}/instances" for name in roadside]
    with Bag(path) as bag:
        bag.require(tracks, "record the vehicle's tracks, or name the vehicle with --vehicle")
        bag.require(associations, "record the vehicle's associations too: they name the messages used")
        for item in bag.messages([tracks, associations, *instances], open_topics=instances):
            if item.topic == tracks:
                _add_tracks(run, item.message)
            elif item.topic == associations:
                _add_use(run, used, item.message)
                admitted[stamp_of(item.message)] = _keys(item.message, "admitted")
            else:
                try:
                    message = wire.decode(item.message, item.size_bytes)
                except wire.WireError:  # the vehicle has refused it, too
                    continue
                messages[message.key] = message
    run.messages = list(messages.values())
    messages |= _whole(messages, admitted, path)
    for stamp_ns, keys in used.items():
        for key in keys:
            if key not in messages:
                what = f"message {key[2]} of {key[0]} was used but not recorded"
                raise CooptrackError(f"{path}: {what}; record /{key[0]}/instances too")
        run.schedule[stamp_ns] = [messages[key] for key in keys]
    return run


def _add_tracks(run: RecordedRun, message: Any) -> None:
    stamp_ns = stamp_of(message)
    if run.tracks and stamp_ns <= next(reversed(run.tracks)):
        what = f"frame {int(message.frame_index)} is not later than the one before it: time jumped back"
        raise problem(run.path, "tracks", what, "record one round of a bag")
    run.tracks[stamp_ns] = message
    if message.predicted_only:
        run.lost.add(stamp_ns)


def _whole(
    messages: Mapping[MessageKey, Message], admitted: Mapping[int, list[MessageKey]], path: Path
) -> dict[MessageKey, Message]:
    """The admitted messages with what they hold, as the vehicle had it: by those that it had admitted before.

    Raises CooptrackError if one of these is not in the recording and others hold instances.
    """
    received, found = ReceivedStates(), {}
    holding = any(len(message.held_id) for message in messages.values())
    for stamp_ns in sorted(admitted):
        for key in admitted[stamp_ns]:
            if key in messages:
                found[key] = received.expand(messages[key])
            elif holding:
                what = f"message {key[2]} of {key[0]} was heard but not recorded, and others hold what it sent"
                raise CooptrackError(f"{path}: {what}; record /{key[0]}/instances too")
    return found


def _keys(message: Any, name: str) -> list[MessageKey]:
    columns = (getattr(message, f"{name}_{part}") for part in ("agent", "session", "sequence"))
    return [(str(agent), int(session), int(number)) for agent, session, number in zip(*columns, strict=True)]


def _add_use(run: RecordedRun, used: dict[int, list[MessageKey]], message: Any) -> None:
    used[stamp_of(message)] = _keys(message, "message")
    if message.ego_lost:
        run.lost.add(stamp_of(message))


__all__ = ["RecordedRun", "read_run"]
