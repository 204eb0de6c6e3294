"""Who lies is quarantined and comes back on good behaviour; who is honest is not, whatever the channel does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hostile_drives import FRAMES, drive, driven, quarantines
from scenarios import STEP_NS, cars, message, yawed
from simulated import UNIT

from cooptrack_core.config import LateFusionConfig, VehicleConfig
from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.cooperation.physics_watch import PhysicsWatch, overlapping
from cooptrack_core.cooperation.trust import WEIGHTS, TrustMonitor
from cooptrack_core.geometry.overlap import box_iou
from cooptrack_core.offline import make_agents, run
from cooptrack_core.trust_config import TrustConfig
from cooptrack_core.types import Instances


def monitor(**values) -> TrustMonitor:
    return TrustMonitor(TrustConfig(**values), LateFusionConfig())


def moving(k: int, ids=(1, 2, 3), speed_mps: float = 8.0, seed: int = 0) -> Instances:
    """Cars at a steady speed, each in its lane, with noise of 0.1 m."""
    rng = np.random.default_rng([seed, k])
    places = [(10.0 + 3.0 * i + 0.1 * k * speed_mps, 4.0 * i) for i in ids]
    noisy = [np.array(place) + 0.1 * rng.standard_normal(2) for place in places]
    velocity = np.tile([speed_mps, 0.0], (len(ids), 1)) + 0.2 * rng.standard_normal((len(ids), 2))
    return cars(*noisy, instance_id=np.array(ids), velocity_mps=velocity, age_frames=np.full(len(ids), k))


def judged(make, frames: int = 40, monitor_: TrustMonitor | None = None) -> tuple[TrustMonitor, list]:
    """Without own sight: what a sender's own messages say about it. make: frame -> instances."""
    made, changes = monitor_ or monitor(), []
    for k in range(frames):
        sent = message(k, make(k))
        changes += made.judge(sent.stamp_ns, np.eye(4), None, [sent])
    return made, changes


def shifted(instances: Instances, rows, way) -> Instances:
    center = instances.center_m.copy()
    center[rows, :2] += way
    return replace(instances, center_m=center)


# The sender's own messages against it.


def test_honest_motion_is_no_evidence():
    made, changes = judged(moving)
    assert changes == [] and not made.standings["rsu"].evidence and made.standings["rsu"].trust > 0.9


@pytest.mark.parametrize(
    ("name", "liar"),
    [
        ("jump", lambda k: shifted(moving(k), [0], (0.0, 6.0 * (k % 2)) if k > 10 else (0.0, 0.0))),
        ("speed", lambda k: replace(moving(k), velocity_mps=(1.0 + 3.0 * (k // 8 % 2)) * moving(k).velocity_mps)),
        ("resize", lambda k: replace(moving(k), size_m=moving(k).size_m * (1.0 + k % 2))),
        ("drift", lambda k: shifted(moving(k), [1], (0.0, max(0.0, 0.5 * (k - 20))))),
        ("bend", lambda k: shifted(moving(k), [1], (0.0, 0.2 * max(0, k - 20) ** 2))),
        ("replay", lambda k: moving(k if k < 20 else k - 15)),
        ("overlap", lambda k: shifted(moving(k), [0], moving(k).center_m[1, :2] - moving(k).center_m[0, :2])),
    ],
)  # fmt: skip
def test_what_no_road_user_does_is_evidence_by_its_name(name, liar):
    made, _ = judged(liar)
    assert made.standings["rsu"].evidence[name] >= 1


@pytest.mark.parametrize("turn_rad", [0.0, 1.0])
def test_pose_noise_of_a_fixed_unit_is_no_evidence_of_its_objects(turn_rad):
    made, rng = monitor(), np.random.default_rng(1)
    for k in range(60):
        T = yawed(turn_rad + np.radians(rng.standard_normal()), *(rng.standard_normal(3)))
        sent = message(k, moving(k), T=T)
        made.judge(sent.stamp_ns, np.eye(4), None, [sent])
    assert not made.standings["rsu"].evidence


def test_what_a_vehicle_sends_while_it_drives_and_turns_is_no_evidence():
    made = monitor()
    for k in range(60):
        T = yawed(0.05 * k, 1.5 * k, 0.0)
        seen = moving(k)
        in_sender = np.linalg.inv(T) @ np.column_stack([seen.center_m, np.ones(3)]).T
        c, s = np.cos(-0.05 * k), np.sin(-0.05 * k)
        velocity = seen.velocity_mps @ np.array([[c, -s], [s, c]]).T
        sent = message(k, replace(seen, center_m=in_sender.T[:, :3], velocity_mps=velocity), T=T)
        made.judge(sent.stamp_ns, np.eye(4), None, [sent])
    assert not made.standings["rsu"].evidence


def test_standing_objects_that_are_reported_the_same_are_no_replay():
    made, _ = judged(lambda k: cars((10, 0), (20, 3), instance_id=np.array([1, 2]), velocity_mps=np.zeros((2, 2))))
    assert made.standings["rsu"].evidence["replay"] == 0


def test_one_switch_of_ids_does_not_cost_the_trust():
    def switched(k):
        made = moving(k)
        return made if k < 20 else replace(made, instance_id=made.instance_id[::-1].copy())

    made, changes = judged(switched, 60)
    assert made.standings["rsu"].evidence["jump"] >= 1 and changes == []


# Own sight against it.


@pytest.mark.parametrize(
    ("attack", "causes"),
    [
        ("insert", {"unseen", "transparent"}),
        ("accelerate", {"speed", "bend", "drift", "jump", "displaced"}),
        ("drift", {"drift", "displaced", "bend", "jump"}),
        ("shift", {"displaced", "drift"}),
        ("replay", {"replay", "speed"}),  # what it claims and where it is do not agree either
    ],
)
def test_an_attack_is_found_and_the_sender_quarantined(attack, causes):
    vehicle, frames = driven(attack)
    (begin, quarantined, cause), *_ = quarantines(frames)
    assert quarantined and cause in causes and 20 <= begin <= 20 + 60
    later = [item for item in frames[begin + 2 :] if item.output.associations.messages]
    back = [k for k, on, _ in quarantines(frames) if not on]
    assert not later or back
    assert vehicle.counters["quarantined"] >= 1


def test_ghosts_are_refused_with_their_sender_and_their_tracks_end():
    _, frames = driven("insert")
    begin = quarantines(frames)[0][0]
    ends = frames[begin + 8].output.tracks
    assert all(agents == () for agents in ends.agents)
    assert len(ends) == 4  # what the vehicle sees itself


def test_old_messages_byte_for_byte_are_refused_and_cost_the_honest_sender_nothing():
    vehicle, frames = driven("resend")
    counters = vehicle.counters
    assert counters.get("stale", 0) + counters.get("out_of_order", 0) == FRAMES - 20
    assert quarantines(frames) == [] and vehicle.guard.monitor.standings["rsu"].trust > 0.9


def test_who_leaves_out_all_that_the_vehicle_sees_is_found():
    """Once it has shown where it sees: the others drive where the first one did."""
    _, frames = driven("remove", drive(150), objects=100, start_s=7.0)
    (begin, quarantined, cause), *_ = quarantines(frames)
    assert quarantined and cause == "omitted" and 70 < begin < 70 + 50


def test_own_tracks_do_not_suffer_from_what_is_left_out():
    _, frames = driven("remove", objects=100)
    own = [sum(sources & 1 for sources in item.output.tracks.sources) for item in frames[10:]]
    assert min(own) == 4


def test_leaving_out_only_what_nobody_else_sees_is_not_found():
    """A limit, not a promise: nobody can tell an object left out from one that is not there."""
    events = drive()
    for k, event in enumerate(events):
        if event.agent_id == "rsu" and k > 40:  # "hidden" and "behind" are the last two
            kept = event.frame.detections.select(slice(0, 4))
            events[k] = replace(event, frame=replace(event.frame, detections=kept))
    _, frames = driven("", events)
    assert quarantines(frames) == []


@pytest.mark.parametrize(
    "disturbance",
    [
        {}, {"position_noise_m": 1.0, "yaw_noise_deg": 1.0}, {"delay_ms": 300.0}, {"loss": 0.3},
        {"jitter_ms": 200.0, "loss": 0.3, "burst": 5.0},
        {"position_noise_m": 1.0, "yaw_noise_deg": 1.0, "delay_ms": 200.0, "loss": 0.3},
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", [0, 1])
def test_an_honest_sender_is_never_quarantined(disturbance, seed):
    vehicle, units = make_agents("vehicle", ("rsu",), VehicleConfig(mode="late", detector="simulated"), UNIT)
    channel = Channel(Disturbance(**disturbance, seed=seed), "0001")
    frames = list(run(drive(seed=seed), vehicle, units, channel=channel))
    assert quarantines(frames) == []
    assert sum(bool(item.output.associations.messages) for item in frames) > FRAMES / 3


def test_a_vehicle_that_sees_nothing_condemns_nobody_for_ghosts():
    blind = []
    for event in drive():
        nothing = replace(event.frame, detections=Instances.empty())
        blind.append(replace(event, frame=nothing) if event.agent_id == "vehicle" else event)
    _, frames = driven("insert", blind)
    assert quarantines(frames) == []


def test_an_own_detector_that_misses_most_condemns_nobody_for_ghosts():
    rng, weak = np.random.default_rng(3), []
    for event in drive():
        if event.agent_id == "vehicle":
            seen = event.frame.detections
            kept = seen.select(rng.random(len(seen)) < 0.35)
            event = replace(event, frame=replace(event.frame, detections=kept))
        weak.append(event)
    vehicle, _ = driven("insert", weak)
    assert vehicle.guard.monitor.standings["rsu"].evidence["unseen"] == 0


# Quarantine and return.


def test_trust_returns_after_seconds_of_good_behaviour_and_not_at_once():
    liar = lambda k: moving(k if k < 20 or k > 40 else k - 15)  # noqa: E731
    made, changes = judged(liar, 160)
    assert [change.quarantined for change in changes] == [True, False]
    assert 3.0 <= (changes[1].stamp_ns - (10**18 + 40 * STEP_NS)) / 1e9 <= 10.0
    assert made.quarantined == frozenset()


def test_silence_does_not_bring_trust_back():
    made, changes = judged(lambda k: moving(k if k < 20 else k - 15), 40)
    late = message(4000, moving(41))
    assert changes[0].quarantined and made.judge(late.stamp_ns, np.eye(4), None, [], [late]) == []
    assert made.quarantined == {"rsu"}


def test_a_new_session_or_a_time_jump_does_not_wipe_the_record():
    made, _ = judged(lambda k: moving(k if k < 20 else k - 15), 40)
    made.reset()
    fresh = message(41, moving(41), session=99)
    made.judge(fresh.stamp_ns, np.eye(4), None, [], [fresh])
    assert made.quarantined == {"rsu"}


def test_made_up_names_do_not_push_a_quarantined_agent_out():
    made, _ = judged(lambda k: moving(k if k < 20 else k - 15), 40)
    for k in range(100):
        sent = message(50 + k, cars(), agent=f"made_up_{k}")
        made.judge(sent.stamp_ns, np.eye(4), None, [sent])
    assert made.quarantined == {"rsu"} and len(made.standings) <= 32


def test_trust_can_be_switched_off():
    vehicle, frames = driven("replay", **{"trust.enabled": False})
    assert vehicle.guard.monitor is None and quarantines(frames) == [] and "quarantined" not in vehicle.counters


# Other agents against it.


def agents_at_a_crossing(k: int, liar: bool) -> list:
    """Three units around the same cars; the first may add one that stands among them."""
    found = []
    poses = {"a": yawed(0.0, -30.0, 0.0), "b": yawed(np.pi / 2, 10.0, -40.0), "c": yawed(np.pi, 60.0, 5.0)}
    for name, T in poses.items():
        places = [(-10.0 + 0.5 * k + 6.0 * i, 2.0 * i - 4.0) for i in range(5)]
        ids = list(range(1, 6))
        if liar and name == "a" and k > 30:
            places.append((12.0, 2.0))
            ids.append(99)
        rng = np.random.default_rng([k, ord(name)])
        seen = [(np.linalg.inv(T) @ (*place, 0.0, 1.0))[:2] + 0.1 * rng.standard_normal(2) for place in places]
        wide = (-200.0, -200.0, -5.0, 200.0, 200.0, 5.0)
        found.append(message(k, cars(*seen, instance_id=np.array(ids)), T=T, agent=name, point_range_m=wide))
    return found


@pytest.mark.parametrize("liar", [False, True])
def test_two_agents_that_must_see_it_too_contradict_a_third(liar):
    made = monitor()
    for k in range(110):
        made.judge(10**18 + k * STEP_NS, np.eye(4), None, agents_at_a_crossing(k, liar))
    evidence = {name: standing.evidence["contradicted"] for name, standing in made.standings.items()}
    assert (evidence["a"] > 0) is liar and evidence["b"] == evidence["c"] == 0


def test_one_word_against_another_decides_nothing():
    made = monitor()
    for k in range(110):
        made.judge(10**18 + k * STEP_NS, np.eye(4), None, agents_at_a_crossing(k, True)[:2])
    assert not any(standing.evidence["contradicted"] for standing in made.standings.values())


def test_the_page_on_trust_lists_every_evidence_with_what_it_costs():
    page = (Path(__file__).parents[2] / "docs" / "trust.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([\d.]+) \|$", page, re.MULTILINE)
    assert {name: float(cost) for name, cost in rows} == WEIGHTS


def test_boxes_that_overlap_are_all_found_though_few_polygons_are_intersected():
    rng, found = np.random.default_rng(3), 0
    for _ in range(30):
        n = 25
        center = np.column_stack((rng.uniform(0, 12, (n, 2)), np.zeros(n)))
        size = np.column_stack((rng.uniform(1, 6, n), rng.uniform(0.5, 3, n), np.full(n, 1.5)))
        center[n // 2 :] = center[: n - n // 2] + 0.2 * rng.standard_normal((n - n // 2, 3))
        size[n // 2 :] = size[: n - n // 2] * rng.uniform(0.8, 1.2, (n - n // 2, 3))
        heading = rng.uniform(-4, 4, n)
        heading[n // 2 :] = heading[: n - n // 2] + rng.choice([0.0, np.pi, 0.1, 1.0], n - n // 2)
        instances = Instances.create(center, size, heading, np.zeros(n, np.int64), np.ones(n))
        a, b = np.triu_indices(n, 1)
        close = np.hypot(*(center[a] - center[b])[:, :2].T) < size[a, :2].max(axis=1) / 2
        share = box_iou(center[a], size[a], heading[a], center[b], size[b], heading[b])[0]
        expected = int(((share > 0.6) & close).sum())
        assert overlapping(instances) == expected
        found += expected
    assert found > 50


def test_what_was_said_is_known_again_for_300_messages_and_no_longer():
    watch = PhysicsWatch()

    def say(k: int, stamp: int) -> dict[str, int]:
        return watch.judge(message(stamp, moving(k, seed=k)))

    stamps = iter(range(1, 10_000))
    for k in range(3):
        assert "replay" not in say(k, next(stamps))
    assert say(0, next(stamps))["replay"] == 3
    for k in range(3, 303):
        assert "replay" not in say(k, next(stamps))
    assert "replay" not in say(0, next(stamps))  # forgotten
    assert say(302, next(stamps))["replay"] == 3
