"""Calibrated scores: what they change in late fusion, and that the fit finds the curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenarios import cars, message

from cooptrack_core.config import LateFusionConfig
from cooptrack_core.cooperation.late_fusion import fuse
from cooptrack_core.cooperation.score_calibration import calibrated
from cooptrack_core.evaluation.calibration import fit, log_loss

STAMP = 10**18
EGO, REMOTE = cars((10, 0), (20, 8), score=0.7), cars((10.4, 0.2), (30, -8), score=0.6)


def fused_scores(**parameters):
    return fuse(EGO, [message(0, REMOTE)], STAMP, np.eye(4), LateFusionConfig(**parameters))[0].instances.score


def test_identity_changes_no_bit():
    score = np.random.default_rng(0).random(1000)
    assert calibrated(score, 1.0, 0.0) is score
    assert fused_scores().tolist() == [1.0 - (1.0 - 0.7) * (1.0 - 0.6), 0.7, 0.6]


def test_each_side_has_its_own_curve():
    # logit(0.7) = 0.8473, logit(0.6) = 0.4055
    ego, remote = 1 / (1 + np.exp(-(2 * np.log(7 / 3) - 1))), 1 / (1 + np.exp(-(0.5 * np.log(1.5) + 0.3)))
    own = fused_scores(ego_score_scale=2.0, ego_score_offset=-1.0)
    np.testing.assert_allclose(own, [1 - (1 - ego) * 0.4, ego, 0.6], rtol=1e-12)
    others = fused_scores(remote_score_scale=0.5, remote_score_offset=0.3)
    np.testing.assert_allclose(others, [1 - 0.3 * (1 - remote), 0.7, remote], rtol=1e-12)


def test_the_smallest_remote_score_is_a_calibrated_one():
    assert len(fused_scores(min_remote_score=0.5)) == 3
    assert len(fused_scores(min_remote_score=0.5, remote_score_offset=-1.0)) == 2


def test_scores_of_0_and_1_stay_finite_and_in_order():
    found = calibrated(np.array([0.0, 1e-9, 0.3, 1.0]), 20.0, 20.0)
    assert np.isfinite(found).all() and (np.diff(found) >= 0).all()
    assert found[0] == pytest.approx(0.0, abs=1e-9) and found[-1] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (2.5, -0.8), (0.4, 1.2)])
def test_the_fit_recovers_the_curve_that_made_the_data(scale, offset):
    rng = np.random.default_rng(3)
    score = rng.uniform(0.02, 0.98, 100_000)
    hit = rng.random(len(score)) < calibrated(score, scale, offset)
    found = fit(score, hit)
    assert found.scale == pytest.approx(scale, rel=0.03) and found.offset == pytest.approx(offset, abs=0.03)
    assert found.samples == 100_000 and found.hits == hit.sum()
    # no worse than the truth on its own sample, to the rounding of the parameters
    assert found.loss_after <= log_loss(calibrated(score, scale, offset), hit) + 1e-8
    np.testing.assert_array_equal(found(score), calibrated(score, found.scale, found.offset))


def test_nothing_reported_leaves_scores_as_they_are():
    found = fit(np.zeros(0), np.zeros(0, bool))
    assert (found.scale, found.offset, found.samples) == (1.0, 0.0, 0)
    assert "stay as they are" in found.describe()


def test_few_data_move_little():
    one = fit(np.array([0.5]), np.array([True]))
    assert one.scale == 1.0 and 0.0 < one.offset < 2.5
    # three sightings against what 3000 of the same kind would say
    few, many = (fit(np.tile([0.3, 0.6, 0.9], n), np.tile([False, True, True], n)) for n in (1, 1000))
    assert abs(np.log(few.scale)) < abs(np.log(many.scale)) and few.scale < 3.0


def test_scores_that_separate_perfectly_give_finite_parameters_in_range():
    score = np.concatenate([np.full(5000, 0.49), np.full(5000, 0.51)])
    found = fit(score, score > 0.5)
    assert 1.0 < found.scale <= 20.0 and abs(found.offset) < 1.0
    assert found.loss_after < found.loss_before


def test_scores_that_mislead_are_flattened_never_turned_round():
    score = np.tile([0.1, 0.9], 5000)
    found = fit(score, score < 0.5)
    assert 0.01 <= found.scale < 0.1 and found(np.array([0.1]))[0] == pytest.approx(0.5, abs=0.05)


def test_all_hits_or_none_stay_in_range():
    score = np.random.default_rng(1).uniform(0.2, 0.8, 20_000)
    for hit in (np.ones(len(score), bool), np.zeros(len(score), bool)):
        found = fit(score, hit)
        assert 0.01 <= found.scale <= 20 and 4 < abs(found.offset) <= 20


def test_calibration_of_the_config_does_not_touch_what_is_sent_or_detected():
    config = LateFusionConfig(ego_score_offset=1.0, remote_score_offset=1.0)
    before = replace(EGO), replace(REMOTE)
    fuse(EGO, [message(0, REMOTE)], STAMP, np.eye(4), config)
    assert EGO.score.tolist() == before[0].score.tolist() == [0.7, 0.7]
    assert REMOTE.score.tolist() == before[1].score.tolist() == [0.6, 0.6]
