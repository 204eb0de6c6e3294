"""A message that contradicts itself is refused by name; doubles here and there, and crowds of people, are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from disturbed_drives import FRAMES, drive, refusals, tracked
from scenarios import cars, message

from cooptrack_core.config import AdmissionConfig
from cooptrack_core.cooperation.admission import Admission
from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.consistency import contradiction
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.types import Instances, Message

ROW = [(10.0 * k, 0.0) for k in range(10)]


def again(instances: Instances, times: int, spread_m: float, ids: bool) -> Instances:
    """Every instance several times, somewhere around its place; ids: each with one of its own."""
    many = instances.select(np.tile(np.arange(len(instances)), times))
    noise = np.random.default_rng(0).normal(0.0, spread_m, many.center_m.shape) * (1.0, 1.0, 0.0)
    number = np.arange(1, len(many) + 1) if ids else many.instance_id
    return replace(many, center_m=many.center_m + noise, instance_id=number)


def test_an_id_that_stands_twice_is_named_and_no_id_may_stand_often() -> None:
    unique = replace(cars(*ROW), instance_id=np.arange(1, 11))
    assert contradiction(unique) is None
    assert contradiction(replace(unique, instance_id=np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 9]))) == "repeated_id"
    assert contradiction(replace(unique, instance_id=np.zeros(10, np.int64))) is None
    assert contradiction(Instances.empty()) is None


@pytest.mark.parametrize("spread_m", [0.0, 0.05, 0.2])
def test_a_road_full_of_vehicles_inside_each_other_is_named(spread_m: float) -> None:
    assert contradiction(again(cars(*ROW), 10, spread_m, ids=True)) == "overlapping"


def test_doubles_here_and_there_dense_traffic_and_crowds_of_people_are_no_contradiction() -> None:
    doubles = cars(*ROW, (10.3, 0.2), (20.3, 0.1), (30.2, 0.0))
    queue = cars(*[(4.6 * k, 2.2 * lane) for k in range(10) for lane in range(4)])
    people = cars(*[(0.1 * k, 0.0) for k in range(30)], class_name="pedestrian")
    people = replace(people, size_m=np.tile((0.6, 0.6, 1.7), (30, 1)))
    assert [contradiction(item) for item in (doubles, queue, people)] == [None] * 3


@pytest.mark.parametrize(("ids", "reason"), [(False, "repeated_id"), (True, "overlapping")])
def test_admission_refuses_a_message_that_has_everything_ten_times(ids: bool, reason: str) -> None:
    admission = Admission(AdmissionConfig())
    whole = replace(cars(*ROW), instance_id=np.arange(1, 11))
    sent = message(0, again(whole, 10, 0.2, ids))
    refusal = admission.receive(sent, sent.stamp_ns)
    assert refusal is not None and refusal.reason == reason and admission.counters == {reason: 1}
    good = message(1, whole)
    assert admission.receive(good, good.stamp_ns) is None


def test_a_sender_that_repeats_every_object_leaves_the_tracks_of_mode_ego() -> None:
    class Repeating(Channel):
        def send(self, message: Message, now_ns: int, data: bytes | None = None) -> None:
            super().send(replace(message, instances=again(message.instances, 10, 0.0, ids=False)), now_ns)

    run = tracked(drive(), channel=Repeating(Disturbance(), "a"))
    ego = tracked(drive(), "ego")
    found = refusals(run)
    used = [index for index, frame in enumerate(run) if frame["messages"]]
    assert set(found) == {"repeated_id"} and found["repeated_id"] + len(used) == FRAMES
    assert len(used) <= 3  # before the sender has ids for what it sees
    assert [len(frame["tracks"]) for frame in run[-20:]] == [len(frame["tracks"]) for frame in ego[-20:]]
