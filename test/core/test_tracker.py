import numpy as np
import pytest
from scenarios import STEP_NS, cars

from cooptrack_core.config import TrackerConfig
from cooptrack_core.tracking import kalman
from cooptrack_core.tracking.assignment import assign
from cooptrack_core.tracking.life_cycle import Measurements, Tracker
from cooptrack_core.types import SOURCE_EGO, Instances


def measured(instances, credit=1):
    n = len(instances)
    return Measurements(instances, np.full(n, SOURCE_EGO), ((),) * n, np.full(n, credit))


def run(tracker, frames, start=0):
    """Steps the tracker through one Instances per 100 ms and returns the report after each."""
    reports = []
    for index, instances in enumerate(frames, start):
        tracker.step(10**18 + index * STEP_NS, measured(instances))
        reports.append(tracker.report(np.eye(4)))
    return reports


def test_a_track_is_reported_at_the_third_hit_and_keeps_its_id():
    reports = run(Tracker(TrackerConfig()), [cars((10 + i, 0)) for i in range(6)])
    assert [len(r) for r in reports] == [0, 0, 1, 1, 1, 1]
    assert {int(r.track_id[0]) for r in reports[2:]} == {1}
    assert reports[-1].hits[0] == 6 and reports[-1].age_frames[0] == 6


def test_constant_motion_is_recovered():
    rng = np.random.default_rng(1)
    frames = [cars((10 + 0.8 * i + rng.normal(0, 0.1), 3 + rng.normal(0, 0.1))) for i in range(40)]
    last = run(Tracker(TrackerConfig(measurement_std_m=0.1)), frames)[-1]
    np.testing.assert_allclose(last.velocity_mps[0], [8.0, 0.0], atol=0.5)
    np.testing.assert_allclose(last.center_m[0, :2], [10 + 0.8 * 39, 3.0], atol=0.2)


def test_a_lost_object_coasts_and_then_dies():
    config = TrackerConfig(max_coast_ms=250.0)
    frames = [cars((10.0 + i, 0.0)) for i in range(5)] + [Instances.empty()] * 4
    reports = run(Tracker(config), frames)
    assert [len(r) for r in reports[4:]] == [1, 1, 1, 0, 0]
    assert reports[6].sources[0] == 0 and reports[6].time_since_update_s[0] == pytest.approx(0.2)
    assert reports[6].center_m[0, 0] > reports[4].center_m[0, 0] + 1.0  # it went on moving
    assert reports[6].score[0] < reports[4].score[0]


def test_ids_are_never_reused_not_even_after_reset():
    tracker = Tracker(TrackerConfig())
    first = run(tracker, [cars((0, 0), (20, 0))] * 3)[-1].track_id
    tracker.reset()
    second = run(tracker, [cars((0, 0), (20, 0))] * 3, start=100)[-1].track_id
    assert first.tolist() == [1, 2] and second.tolist() == [3, 4]


def test_classes_are_not_mixed():
    reports = run(Tracker(TrackerConfig()), [cars((5, 0))] * 3 + [cars((5, 0), class_name="pedestrian")] * 3)
    assert sorted(reports[-1].class_id.tolist()) == [0, 2]


def test_time_going_back_starts_anew():
    tracker = Tracker(TrackerConfig())
    run(tracker, [cars((5, 0))] * 4, start=50)
    assert [len(r) for r in run(tracker, [cars((5, 0))] * 3, start=0)] == [0, 0, 1]


def test_front_back_flips_of_the_detector_do_not_turn_the_track():
    headings = [0.1, 0.1, 0.1 + np.pi, 0.1, 0.1 + np.pi, 0.1]
    reports = run(Tracker(TrackerConfig()), [cars((5 + i, 0), heading_rad=h) for i, h in enumerate(headings)])
    np.testing.assert_allclose(reports[-1].heading_rad[0], 0.1, atol=0.05)


def test_a_track_born_backwards_turns_round_once_it_moves():
    reports = run(Tracker(TrackerConfig()), [cars((5 + i, 0), heading_rad=np.pi - 0.01) for i in range(8)])
    np.testing.assert_allclose(np.cos(reports[-1].heading_rad[0]), 1.0, atol=0.01)


def test_order_of_detections_does_not_matter():
    def final(order):
        frames = [cars(*[[(0, 0), (10, 0), (20, 5)][k] for k in order]) for _ in range(5)]
        report = run(Tracker(TrackerConfig()), frames)[-1]
        return sorted(map(tuple, report.center_m.round(9)))

    assert final([0, 1, 2]) == final([2, 0, 1])


def test_credit_of_a_confirming_sender_shortens_birth():
    tracker = Tracker(TrackerConfig())
    for i in range(2):
        tracker.step(10**18 + i * STEP_NS, measured(cars((5, 0)), credit=2))
    assert len(tracker.report(np.eye(4))) == 1


def test_covariances_stay_symmetric_and_positive():
    config = TrackerConfig()
    rng = np.random.default_rng(3)
    boxes = rng.normal(size=(4, 7))
    R = kalman.measurement_noise(np.tile(np.eye(2) * 0.25, (4, 1, 1)), config)
    x, P = kalman.start(boxes, R, np.full((4, 2), np.nan), config)
    for _ in range(200):
        x, P = kalman.predict(x, P, 0.1, config)
        x, P = kalman.update(x, P, boxes + rng.normal(0, 0.3, boxes.shape), R)
        x, P = kalman.update_velocity(x, P, np.zeros((4, 2)), 1.0)
    np.testing.assert_allclose(P, np.swapaxes(P, 1, 2), atol=1e-12)
    assert np.linalg.eigvalsh(P).min() > 0


def test_assignment_never_pairs_what_is_forbidden_and_pairs_as_many_as_possible():
    cost = np.array([[1.0, 2.0], [1.0, 100.0]])
    rows, columns = assign(cost, np.array([[True, True], [True, False]]))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert len(assign(cost, np.zeros((2, 2), bool))[0]) == 0
    assert len(assign(np.zeros((0, 3)), np.zeros((0, 3), bool))[0]) == 0
