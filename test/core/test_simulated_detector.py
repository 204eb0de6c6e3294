"""The simulated detector: repeatable, errors as its parameters say, no ids."""

from __future__ import annotations

import numpy as np
import pytest

from cooptrack_core.data.labels import Labels, parse_labels
from cooptrack_core.data.simulated_detector import NO_NOISE, NoiseParameters, detect
from cooptrack_core.geometry.boxes import wrap_angle
from cooptrack_core.types import Instances


def labels(n: int = 20, x: float | None = None, occluded: int = 0, raw_type: str = "Car") -> Labels:
    rng = np.random.default_rng(4)
    places = [(float(rng.uniform(1, 50)) if x is None else x, float(rng.uniform(-40, 40))) for _ in range(n)]
    rows = [
        {
            "type": raw_type, "track_id": str(i), "token": str(i), "occluded_state": occluded, "truncated_state": 0,
            "3d_location": {"x": places[i][0], "y": places[i][1], "z": -1.0},
            "3d_dimensions": {"l": 4.4, "w": 1.8, "h": 1.6}, "rotation": float(rng.uniform(-3, 3)),
        }
        for i in range(n)
    ]  # fmt: skip
    return parse_labels(rows, "x.json")


def same(a: Instances, b: Instances) -> bool:
    return len(a) == len(b) and np.array_equal(a.center_m, b.center_m) and np.array_equal(a.score, b.score)


def test_result_depends_on_seed_side_and_frame_only() -> None:
    first = detect(labels(), "vehicle", "000001", seed=7)
    detect(labels(), "infrastructure", "000009", seed=7)
    assert same(detect(labels(), "vehicle", "000001", seed=7), first)
    assert not same(detect(labels(), "vehicle", "000001", seed=8), first)
    assert not same(detect(labels(), "vehicle", "000002", seed=7), first)
    assert not same(detect(labels(), "infrastructure", "000001", seed=7), first)


def test_detections_carry_no_ids_and_no_velocity() -> None:
    found = detect(labels(), "vehicle", "000001", seed=1)
    assert (found.instance_id == 0).all()
    assert np.isnan(found.velocity_mps).all()
    assert np.isnan(found.position_variance_m2).all()


def test_without_noise_every_label_in_range_is_found_where_it_is() -> None:
    truth = labels(30)
    found = detect(truth, "vehicle", "000001", seed=1, noise=NO_NOISE)
    assert len(found) == 30
    order = np.argsort(found.center_m[:, 0])
    expected = truth.instances.select(np.argsort(truth.instances.center_m[:, 0]))
    np.testing.assert_array_equal(found.center_m[order], expected.center_m)
    np.testing.assert_array_equal(found.size_m[order], expected.size_m)
    np.testing.assert_allclose(found.heading_rad[order], expected.heading_rad)


def test_objects_outside_the_range_or_of_unknown_type_are_not_seen() -> None:
    assert len(detect(labels(5, x=-10.0), "infrastructure", "0", seed=1, noise=NO_NOISE)) == 0
    assert len(detect(labels(5, x=60.0), "vehicle", "0", seed=1, noise=NO_NOISE)) == 0
    assert len(detect(labels(5, x=60.0), "infrastructure", "0", seed=1, noise=NO_NOISE)) == 5
    assert len(detect(labels(5, raw_type="UFO"), "vehicle", "0", seed=1, noise=NO_NOISE)) == 0


def test_empty_frame_gives_no_detection_but_false_ones() -> None:
    nothing = parse_labels([], "x.json")
    assert len(detect(nothing, "vehicle", "0", seed=1, noise=NO_NOISE)) == 0
    noise = NoiseParameters(false_per_frame=3.0)
    counts = [len(detect(nothing, "vehicle", str(i), seed=1, noise=noise)) for i in range(300)]
    assert np.mean(counts) == pytest.approx(3.0, abs=0.4)


def test_misses_grow_with_occlusion_and_range() -> None:
    noise = NoiseParameters(false_per_frame=0.0)

    def rate(truth: Labels) -> float:
        return float(np.mean([len(detect(truth, "infrastructure", str(i), 3, noise)) for i in range(100)]) / len(truth))

    near, far, hidden = rate(labels(x=10.0)), rate(labels(x=90.0)), rate(labels(x=10.0, occluded=2))
    assert near > 0.9
    assert near > far + 0.08
    assert near > hidden + 0.2


def test_position_error_follows_range_along_the_line_of_sight() -> None:
    noise = NoiseParameters(miss_probability=0, miss_per_m=0, false_per_frame=0, flip_probability=0)
    truth = labels(1, x=80.0)
    center = truth.instances.center_m[0]
    along = center[:2] / np.linalg.norm(center[:2])
    errors = np.array(
        [detect(truth, "infrastructure", str(i), 5, noise).center_m[0, :2] - center[:2] for i in range(800)]
    )
    expected = noise.radial_sigma_m + noise.radial_sigma_per_m * np.linalg.norm(center[:2])
    assert np.std(errors @ along) == pytest.approx(expected, rel=0.1)
    assert np.std(errors @ [-along[1], along[0]]) < 0.6 * expected


def test_heading_is_sometimes_turned_around() -> None:
    noise = NoiseParameters(flip_probability=0.2, miss_probability=0, miss_per_m=0, false_per_frame=0)
    truth = labels(1, x=10.0)
    headings = [detect(truth, "vehicle", str(i), 5, noise).heading_rad[0] for i in range(500)]
    turned = np.abs(wrap_angle(np.array(headings) - truth.instances.heading_rad[0])) > np.pi / 2
    assert turned.mean() == pytest.approx(0.2, abs=0.06)


def test_score_says_something_about_quality() -> None:
    noise = NoiseParameters(miss_probability=0, miss_per_m=0, false_per_frame=0)
    truth = labels(1, x=30.0)
    found = [detect(truth, "vehicle", str(i), 5, noise) for i in range(400)]
    errors = [float(np.linalg.norm(f.center_m[0, :2] - truth.instances.center_m[0, :2])) for f in found]
    assert np.corrcoef(errors, [f.score[0] for f in found])[0, 1] < -0.3
    nothing = parse_labels([], "x.json")
    false = [detect(nothing, "vehicle", str(i), 5, NoiseParameters(false_per_frame=1)).score for i in range(200)]
    assert np.concatenate(false).mean() < np.mean([f.score[0] for f in found]) - 0.2


def test_best_score_comes_first_and_all_lie_between_0_and_1() -> None:
    found = detect(labels(40), "vehicle", "000003", seed=2)
    assert (np.diff(found.score) <= 0).all()
    assert ((found.score > 0) & (found.score < 1)).all()
