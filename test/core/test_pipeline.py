from dataclasses import replace

import numpy as np
import pytest
from scenarios import cars, frame, message, yawed

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent
from cooptrack_core.types import SOURCE_EGO, SOURCE_REMOTE, Features, Instances


def vehicle(mode="late"):
    return VehicleAgent("vehicle", VehicleConfig(mode=mode, detector="simulated"))


def drive(agent, count, detections=lambda i: cars((10, 0)), start=0, pose=lambda i: None, messages=None):
    """Runs `count` frames; `messages(i)` are received just before frame i."""
    outputs = []
    for i in range(start, start + count):
        current = frame(i, detections(i), pose(i))
        for item in messages(i) if messages else ():
            agent.receive(item, current.stamp_ns)
        outputs.append(agent.step(current))
    return outputs


def test_roadside_only_objects_become_tracks_of_the_vehicle():
    last = drive(vehicle(), 4, messages=lambda i: [message(i, cars((30, 5), age_frames=np.array([9])))])[-1]
    assert last.tracks.sources_ever.tolist() in ([SOURCE_EGO, SOURCE_REMOTE], [SOURCE_REMOTE, SOURCE_EGO])
    assert ("rsu",) in last.tracks.agents
    hidden = last.tracks.sources_ever == SOURCE_REMOTE
    np.testing.assert_allclose(last.tracks.center_m[hidden][0, :2], [30, 5], atol=0.2)
    assert last.associations.unmatched_remote_track_id.tolist() == last.tracks.track_id[hidden].tolist()
    assert last.associations.unmatched_ego_track_id.tolist() == last.tracks.track_id[~hidden].tolist()


def test_a_pair_names_the_track_that_it_feeds():
    last = drive(vehicle(), 4, messages=lambda i: [message(i, cars((10.2, 0)))])[-1]
    assert last.associations.pair_track_id.tolist() == last.tracks.track_id.tolist() == [1]
    assert last.tracks.sources.tolist() == [SOURCE_EGO | SOURCE_REMOTE]


def test_ego_mode_ignores_messages():
    last = drive(vehicle("ego"), 4, messages=lambda i: [message(i, cars((30, 5)))])[-1]
    assert len(last.tracks) == 1 and last.associations.messages == ()


@pytest.mark.parametrize("sent", [lambda i: [], lambda i: [message(i, cars())]])
def test_empty_or_absent_messages_keep_ego_tracks_exactly(sent):
    with_radio, alone = drive(vehicle(), 6, messages=sent), drive(vehicle("ego"), 6)
    for a, b in zip(with_radio, alone, strict=True):
        np.testing.assert_array_equal(a.tracks.center_m, b.tracks.center_m)
        np.testing.assert_array_equal(a.tracks.track_id, b.tracks.track_id)


def test_refused_messages_are_reported_once_and_ego_tracks_go_on():
    agent = vehicle()
    drive(agent, 4)
    agent.refuse("rsu", 5, "malformed")
    first, second = drive(agent, 2, start=4)
    assert [r.reason for r in first.refusals] == ["malformed"] and second.refusals == []
    assert agent.counters == {"malformed": 1} and len(second.tracks) == 1


def test_a_lost_frame_gives_predicted_tracks_and_says_so():
    moving = drive(vehicle(), 7, detections=lambda i: None if i == 5 else cars((10 + i, 0)))
    assert [o.predicted_only for o in moving] == [False] * 5 + [True, False]
    assert moving[5].tracks.sources.tolist() == [0]
    np.testing.assert_allclose(moving[5].tracks.center_m[0, 0], 15.0, atol=0.6)
    assert moving[6].tracks.track_id.tolist() == moving[4].tracks.track_id.tolist()


def test_a_blind_vehicle_still_tracks_what_the_roadside_sees():
    outputs = drive(vehicle(), 4, detections=lambda i: None, messages=lambda i: [message(i, cars((20, 0)))])
    assert len(outputs[-1].tracks) == 1 and not outputs[-1].predicted_only


def test_a_lost_frame_in_which_a_message_was_used_is_flagged_by_ego_lost_alone():
    agent = vehicle()
    drive(agent, 5, messages=lambda i: [message(i, cars((40, 0)))])
    lost = drive(agent, 1, start=5, detections=lambda i: None, messages=lambda i: [message(i, cars((40, 0)))])[0]
    assert lost.ego_lost and not lost.predicted_only and len(lost.associations.messages) == 1
    assert sorted(zip(lost.tracks.center_m[:, 0].round(), lost.tracks.sources, strict=True)) == [
        (10.0, 0), (40.0, SOURCE_REMOTE)
    ]  # fmt: skip


def test_a_parked_car_stays_put_in_the_map_while_the_vehicle_drives_past():
    def pose(i):
        return yawed(0.02 * i, 2600.0 + 1.0 * i, 1700.0)

    def seen(i):
        local = np.linalg.inv(pose(i)) @ np.array([2630.0, 1704.0, -0.9, 1.0])
        return cars(tuple(local[:2]))

    last = drive(vehicle(), 15, detections=seen, pose=pose)[-1]
    assert np.hypot(*last.tracks.velocity_mps[0]) < 0.3
    np.testing.assert_allclose((pose(14) @ [*last.tracks.center_m[0], 1.0])[:2], [2630.0, 1704.0], atol=0.1)


def test_an_unknown_pose_switches_cooperation_off_and_continues_the_motion():
    def pose(i):
        return False if i in (6, 7) else yawed(0.0, 100.0 + i)

    outputs = drive(
        vehicle(), 9, detections=lambda i: cars((30.0 - i, 0)), pose=pose,
        messages=lambda i: [message(i, cars((20, 8)), T=yawed(0.0, 100.0))],
    )  # fmt: skip
    assert [o.pose_known for o in outputs] == [True] * 6 + [False, False, True]
    assert outputs[6].associations.messages == () and outputs[8].associations.messages != ()
    np.testing.assert_allclose(outputs[7].T_map_from_sensor, yawed(0.0, 107.0), atol=1e-9)
    assert outputs[8].tracks.track_id[0] == outputs[5].tracks.track_id[0] == 1


def test_without_any_pose_the_vehicle_tracks_alone():
    outputs = drive(vehicle(), 4, pose=lambda i: False, messages=lambda i: [message(i, cars((20, 8)))])
    assert len(outputs[-1].tracks) == 1 and not outputs[-1].pose_known


def test_time_jumping_back_needs_a_reset_and_then_works_again():
    agent = vehicle()
    drive(agent, 4, start=50, messages=lambda i: [message(i, cars((20, 0)))])
    agent.reset()
    outputs = drive(agent, 4, start=0, messages=lambda i: [message(i, cars((20, 0)))])
    assert outputs[-1].associations.messages[0].sequence == 4
    assert outputs[-1].tracks.track_id.min() > 2


def test_a_nan_pose_and_broken_detections_do_no_harm():
    broken = cars((10, 0), (np.nan, 3))
    outputs = drive(vehicle(), 5, detections=lambda i: broken, pose=lambda i: np.full((4, 4), np.nan))
    assert np.isfinite(outputs[-1].tracks.center_m).all() and len(outputs[-1].tracks) == 1


def test_two_runs_are_identical():
    rng_a, rng_b = np.random.default_rng(5), np.random.default_rng(5)

    def noisy(rng):
        return lambda i: cars((10 + i + rng.normal(), rng.normal()), (20 + rng.normal(), 5))

    for a, b in zip(drive(vehicle(), 10, noisy(rng_a)), drive(vehicle(), 10, noisy(rng_b)), strict=True):
        np.testing.assert_array_equal(a.tracks.center_m, b.tracks.center_m)
        np.testing.assert_array_equal(a.tracks.track_id, b.tracks.track_id)


def test_repeating_a_schedule_gives_the_same_tracks():
    sent = {i: message(i, cars((20, 0.1 * i), (30, 5))) for i in range(8)}
    free = drive(vehicle(), 8, messages=lambda i: [sent[i]] if i % 2 else [])
    repeat = vehicle()
    for i, expected in enumerate(free):
        used = [sent[m.sequence - 1] for m in expected.associations.messages]
        got = repeat.step(frame(i, cars((10, 0))), used)
        np.testing.assert_array_equal(got.tracks.center_m, expected.tracks.center_m)


def roadside():
    return RoadsideAgent("rsu", RoadsideConfig(detector="simulated", max_instances=2), session_id=3)


def test_roadside_sends_confirmed_tracks_with_velocity_and_features():
    agent = roadside()
    rng = np.random.default_rng(0)
    for i in range(6):
        query = rng.normal(size=(2, 4)).astype(np.float32)
        seen = cars((40, 0), (20 + i, 5), features=Features(query, None, query + 1))
        if i % 2:
            seen = seen.select(np.array([1, 0]))  # detectors report in any order
        output = agent.step(frame(i, seen))
    sent = output.message.instances
    assert output.message.sequence == 6 and len(sent) == 2
    for row in range(2):
        source = int(np.argmin(np.abs(seen.center_m[:, 0] - sent.center_m[row, 0])))
        np.testing.assert_array_equal(sent.features.query[row], seen.features.query[source])
        np.testing.assert_array_equal(sent.features.motion[row], seen.features.motion[source])
    moving = sent.velocity_mps[np.argmin(sent.center_m[:, 0])]
    np.testing.assert_allclose(moving, [10.0, 0.0], atol=2.0)


def test_roadside_says_when_it_sees_nothing_and_what_it_withheld():
    agent = roadside()
    empty = agent.step(frame(0, Instances.empty()))
    assert empty.message is not None and len(empty.message.instances) == 0
    for i in range(1, 5):
        full = agent.step(frame(i, cars((10, 0), (20, 0), (30, 0))))
    assert len(full.message.instances) == 2 and full.message.instances_withheld == 1


def test_roadside_stays_silent_without_a_pose_or_a_frame():
    agent = roadside()
    assert agent.step(frame(0, cars((10, 0)), False)).message is None
    assert agent.step(frame(1, None)).message is None


def test_both_agents_together_over_the_wire():
    rsu, car = roadside(), vehicle()
    T_map_from_rsu = yawed(np.pi / 2, 2650.0, 1700.0, 6.0)
    T_map_from_vehicle = yawed(0.1, 2620.0, 1710.0, 1.8)
    at_map = np.array([2640.0, 1720.0, 5.0, 1.0])
    in_rsu = (np.linalg.inv(T_map_from_rsu) @ at_map)[:2]
    in_vehicle = (np.linalg.inv(T_map_from_vehicle) @ at_map)[:2]
    for i in range(8):
        sent = rsu.step(replace(frame(i, cars(tuple(in_rsu))), T_map_from_sensor=T_map_from_rsu)).message
        car.receive(over_the_air(sent), sent.stamp_ns)
        output = car.step(frame(i, Instances.empty(), T_map_from_vehicle))
    np.testing.assert_allclose(output.tracks.center_m[0, :2], in_vehicle, atol=1e-3)
    assert output.tracks.sources_ever.tolist() == [SOURCE_REMOTE]
