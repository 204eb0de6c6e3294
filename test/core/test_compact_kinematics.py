"""Packed kinematics: what comes out is within the documented steps, and nothing that is not written gets in."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.cooperation import compact
from cooptrack_core.types import CLASS_UNKNOWN, Instances

N = 200


def instances(seed=0, n=N, **columns):
    rng = np.random.default_rng(seed)
    given_columns = {
        "velocity_mps": rng.uniform(-40, 40, (n, 2)), "instance_id": np.sort(rng.choice(5000, n, replace=False)),
        "age_frames": rng.integers(0, 60, n), "time_since_update_s": rng.uniform(0, 1.5, n), **columns,
    }  # fmt: skip
    return Instances.create(
        rng.uniform([-120, -120, -20], [120, 120, 20], (n, 3)), rng.uniform(0.2, 20, (n, 3)),
        rng.uniform(-math.pi, math.pi, n), rng.integers(0, 4, n), rng.uniform(0, 1, n), **given_columns,
    )  # fmt: skip


def through(given, held=()):
    return compact.unpack(compact.pack(given, np.array(held, np.int64)), len(given))


def test_every_column_comes_back_within_half_a_step():
    sent = instances(position_variance_m2=np.full((N, 2), 0.25), velocity_variance_m2ps2=np.full((N, 2), 1.5))
    got = through(sent).instances
    assert np.abs(got.center_m - sent.center_m).max(axis=0) == pytest.approx([0.005, 0.005, 0.01], abs=1e-4)
    assert np.abs(np.log2(got.size_m / sent.size_m)).max() <= 0.5 / 25 + 1e-9
    turn = np.abs((got.heading_rad - sent.heading_rad + np.pi) % (2 * np.pi) - np.pi)
    assert turn.max() <= np.pi / 1024 + 1e-9 and np.abs(got.heading_rad).max() <= np.pi
    assert np.abs(got.velocity_mps - sent.velocity_mps).max() <= 0.05 + 1e-9
    assert np.abs(got.score - sent.score).max() <= 0.5 / 255 + 1e-9
    assert np.abs(got.time_since_update_s - sent.time_since_update_s).max() <= 0.05 + 1e-9
    for name in ("class_id", "instance_id", "age_frames"):
        np.testing.assert_array_equal(getattr(got, name), getattr(sent, name))
    np.testing.assert_allclose(got.position_variance_m2, 0.25, rtol=0.05)
    np.testing.assert_allclose(got.velocity_variance_m2ps2, 1.5, rtol=0.05)


def test_what_was_received_can_be_sent_on_without_loss():
    once = through(instances()).instances
    assert compact.pack(once, np.zeros(0, np.int64)) == compact.pack(through(once).instances, np.zeros(0, np.int64))


def test_unknown_stays_unknown():
    sent = instances(n=2, velocity_mps=np.array([[np.nan, 1.0], [2.0, 3.0]]))
    sent.class_id[0] = CLASS_UNKNOWN
    got = through(sent).instances
    assert np.isnan(got.velocity_mps[0]).all() and got.velocity_mps[1].tolist() == pytest.approx([2.0, 3.0])
    assert got.class_id[0] == CLASS_UNKNOWN and np.isnan(got.position_variance_m2).all()


def test_values_beyond_a_range_take_its_end():
    sent = instances(n=1, velocity_mps=np.array([[90.0, -90.0]]), age_frames=np.array([9999]))
    got = through(sent).instances
    assert got.velocity_mps[0].tolist() == pytest.approx([51.1, -51.1]) and got.age_frames[0] == 63
    assert (through(instances(n=1)).instances.size_m > 0).all()


def test_an_instance_takes_fifteen_bytes_and_its_id():
    near = instances(n=3, instance_id=np.array([7, 8, 100]))
    none = compact.pack(instances(n=0), np.zeros(0, np.int64))
    assert compact.RECORD_BYTES == 15 and len(none) == 4
    assert len(compact.pack(near, np.zeros(0, np.int64))) == 4 + 3 * 16
    assert len(compact.pack(near, np.array([3, 4, 90]))) == 4 + 3 * 16 + 3


def test_held_ids_arrive_in_order_whatever_their_size():
    held = [3, 2**40, 2**63 - 1, 5]
    assert through(instances(n=2), held).held_id.tolist() == sorted(held)


def test_a_centre_out_of_reach_is_not_sent():
    far = instances(n=1)
    far.center_m[0, 0] = 400.0
    with pytest.raises(ValueError, match=r"327\.67 m"):
        compact.pack(far, np.zeros(0, np.int64))


@settings(max_examples=400)
@given(st.binary(max_size=120), st.integers(0, 600))
def test_any_bytes_are_read_or_refused(data, count):
    try:
        found = compact.unpack(data, count)
    except compact.Malformed:
        return
    assert len(found.instances) == count and np.isfinite(found.instances.center_m).all()
    assert (found.instances.size_m > 0).all() and (found.held_id >= 0).all()


@settings(max_examples=300)
@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 3))
def test_a_changed_byte_gives_other_values_or_is_refused(place, value, cut):
    good = bytearray(compact.pack(instances(n=6), np.array([1, 9, 300])))
    good[place % len(good)] = value
    try:
        found = compact.unpack(bytes(good[: len(good) - cut]), 6)
    except compact.Malformed:
        return
    score = found.instances.score
    assert cut == 0 and len(score) == 6 and ((score >= 0) & (score <= 1)).all()
