from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import cars, message, yawed

from cooptrack_core.cooperation import wire
from cooptrack_core.cooperation.loopback import as_fields
from cooptrack_core.types import Features


def with_features(n=5, channels=8, embedding=True, seed=0):
    rng = np.random.default_rng(seed)

    def stream():
        return rng.normal(size=(n, channels)).astype(np.float32)

    features = Features(stream(), stream() if embedding else None, stream(), "tiny", bytes(range(32)))
    instances = cars(
        *[(3.0 * i, -i) for i in range(n)], velocity_mps=rng.normal(size=(n, 2)), instance_id=np.arange(1, n + 1),
        position_variance_m2=np.full((n, 2), 0.25), age_frames=np.arange(n), features=features,
    )  # fmt: skip
    return message(3, instances, T=yawed(0.3, 2600.0, 1700.0, 20.0))


@pytest.mark.parametrize("embedding", [True, False])
def test_fp32_features_arrive_bit_equal(embedding):
    sent = with_features(embedding=embedding)
    got = wire.decode(as_fields(sent, "fp32"), size_bytes=1234)
    for name in ("query", "embedding", "motion"):
        np.testing.assert_array_equal(getattr(got.instances.features, name), getattr(sent.instances.features, name))
    assert got.instances.features.fingerprint == bytes(range(32)) and got.instances.features.preset == "tiny"
    assert (got.agent_id, got.session_id, got.sequence, got.stamp_ns) == ("rsu", 7, 4, sent.stamp_ns)
    assert got.size_bytes == 1234 and got.sensor_frame == "rsu/lidar" and got.map_frame == "map"


def test_kinematics_arrive_in_single_precision():
    sent = with_features()
    got = wire.decode(as_fields(sent, "none"))
    assert got.instances.features is None
    for name in ("center_m", "size_m", "heading_rad", "velocity_mps", "score", "position_variance_m2"):
        np.testing.assert_allclose(getattr(got.instances, name), getattr(sent.instances, name), rtol=1e-6)
    np.testing.assert_array_equal(got.instances.instance_id, sent.instances.instance_id)
    np.testing.assert_array_equal(got.instances.age_frames, sent.instances.age_frames)
    np.testing.assert_allclose(got.T_map_from_sensor, sent.T_map_from_sensor, atol=1e-9)


@pytest.mark.parametrize(("precision", "relative", "bytes_per_value"), [("fp16", 1e-3, 2), ("int8", 2e-2, 1)])
def test_short_precisions_lose_only_what_they_state(precision, relative, bytes_per_value):
    sent = with_features()
    fields = as_fields(sent, precision)
    assert len(fields.features) == 3 * 5 * 8 * bytes_per_value
    got = wire.decode(fields).instances.features.query
    reference = sent.instances.features.query
    assert np.abs(got - reference).max() <= relative * np.abs(reference).max()


def test_fp16_clips_instead_of_becoming_infinite():
    features = Features(np.full((1, 2), 1e6, np.float32), None, np.zeros((1, 2), np.float32))
    got = wire.decode(as_fields(message(0, cars((0, 0), features=features)), "fp16"))
    assert np.isfinite(got.instances.features.query).all()


def test_no_instances_is_a_valid_message():
    got = wire.decode(as_fields(message(0, cars())))
    assert len(got.instances) == 0


def test_unknown_velocity_and_variance_stay_unknown():
    got = wire.decode(as_fields(message(0, cars((1, 2)))))
    assert np.isnan(got.instances.velocity_mps).all() and np.isnan(got.instances.position_variance_m2).all()


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("schema_version", 99, "schema_version"),
        ("agent_id", "", "malformed"),
        ("score", [0.5], "malformed"),
        ("score", [2.0] * 5, "malformed"),
        ("center_m", [float("nan")] * 15, "not_finite"),
        ("center_m", [float("inf")] * 15, "not_finite"),
        ("size_m", [0.0] * 15, "malformed"),
        ("velocity_mps", [float("inf")] * 10, "not_finite"),
        ("position_variance_m2", [-1.0] * 10, "malformed"),
        ("instance_count", 65535, "malformed"),
        ("feature_dim", 7, "malformed"),
        ("feature_precision", 9, "malformed"),
        ("feature_streams", 2, "malformed"),
        ("features", b"\x00", "malformed"),
        ("point_range_m", [float("nan")] * 6, "not_finite"),
        ("yaw_rate_radps", [0.1] * 4, "malformed"),
        ("yaw_rate_radps", [float("nan")] * 5, "not_finite"),
        ("pose_covariance", [0.0] * 35, "malformed"),
        ("pose_covariance", [float("inf")] * 36, "not_finite"),
    ],
)
def test_a_broken_field_is_refused_by_name(field, value, reason):
    fields = as_fields(with_features())
    setattr(fields, field, value)
    with pytest.raises(wire.WireError) as refused:
        wire.decode(fields)
    assert refused.value.reason == reason


def test_what_receivers_do_not_use_is_no_objection_where_it_is_right():
    fields = as_fields(with_features())
    fields.yaw_rate_radps, fields.pose_covariance = [0.1] * 5, [0.0] * 36
    assert len(wire.decode(fields).instances) == 5


def test_features_that_are_not_finite_are_refused():
    features = Features(np.full((1, 2), np.nan, np.float32), None, np.zeros((1, 2), np.float32))
    with pytest.raises(wire.WireError) as refused:
        wire.decode(as_fields(message(0, cars((0, 0), features=features)), "fp32"))
    assert refused.value.reason == "not_finite"


def test_an_absent_pose_is_no_pose():
    fields = as_fields(with_features())
    fields.pose.orientation.w = fields.pose.orientation.z = 0.0
    assert wire.decode(fields).T_map_from_sensor is None
    fields.pose.position.x = float("nan")
    assert wire.decode(fields).T_map_from_sensor is None


def coded(n=5, streams=1):
    """The same, compact, with codes and held ids."""
    sent = with_features(n)
    codes = np.random.default_rng(1).integers(0, 256, (n, streams, 3)).astype(np.uint8)
    f = replace(
        sent.instances.features, query=np.zeros((n, 0), np.float32), embedding=None, motion=None, codes=codes,
        codebook=bytes(range(40, 72)), channels=8,
    )  # fmt: skip
    instances = replace(sent.instances, features=f)
    return replace(
        sent,
        instances=instances,
        held_id=np.array([2, 77]),
        precision="rvq",
        kinematics="compact",
        instances_withheld=3,
    )


def test_compact_messages_arrive_with_all_that_they_say():
    sent = coded()
    got = wire.decode(as_fields(sent), 99)
    np.testing.assert_allclose(got.instances.center_m, sent.instances.center_m, atol=0.0101)
    np.testing.assert_array_equal(got.instances.instance_id, sent.instances.instance_id)
    np.testing.assert_array_equal(got.instances.features.codes, sent.instances.features.codes)
    assert got.held_id.tolist() == [2, 77] and got.instances_withheld == 3 and got.size_bytes == 99
    assert (got.precision, got.kinematics, got.point_range_m) == ("rvq", "compact", ())
    features = got.instances.features
    assert features.fingerprint == bytes(range(8)) and features.codebook == bytes(range(40, 48))
    np.testing.assert_allclose(got.T_map_from_sensor, sent.T_map_from_sensor, atol=1e-9)


def test_rows_and_features_stay_together_whatever_the_order_of_ids():
    sent = coded()
    ids = np.array([50, 3, 9, 400, 1])
    got = wire.decode(as_fields(replace(sent, instances=replace(sent.instances, instance_id=ids))))
    order = np.argsort(ids)
    assert got.instances.instance_id.tolist() == sorted(ids)
    np.testing.assert_allclose(got.instances.center_m, sent.instances.center_m[order], atol=0.0101)
    np.testing.assert_array_equal(got.instances.features.codes, sent.instances.features.codes[order])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("packed", b"\x01"),
        ("packed", b"\x01\x00\x00\x00" + b"\xff" * 200),
        ("score", [0.5] * 5),
        ("held_id", [1]),
        ("instance_count", 4),
        ("instance_count", 65535),
        ("model_fingerprint", b"\x01" * 7),
        ("codebook_fingerprint", b""),
        ("codebook_fingerprint", b"\x01" * 33),
        ("features", b"\x00" * 14),
        ("features", b""),
        ("feature_streams", 3),
        ("feature_precision", 5),
        ("feature_dim", 0),
        ("point_range_m", [1.0]),
        ("yaw_rate_radps", [0.1] * 5),
        ("pose_covariance", [0.0] * 6),
    ],
)
def test_a_broken_field_of_a_compact_message_is_refused_by_name(field, value):
    fields = as_fields(coded())
    setattr(fields, field, value)
    with pytest.raises(wire.WireError) as refused:
        wire.decode(fields)
    assert refused.value.reason == "malformed"


@settings(max_examples=300)
@given(st.binary(max_size=200), st.binary(max_size=64), st.integers(0, 65535), st.integers(0, 7), st.integers(0, 6))
def test_any_bytes_in_a_compact_message_are_read_or_refused(packed, features, count, streams, precision):
    fields = as_fields(coded())
    fields.packed, fields.features = packed, features
    fields.instance_count, fields.feature_streams, fields.feature_precision = count, streams, precision
    try:
        decoded = wire.decode(fields)
    except wire.WireError as refused:
        assert refused.reason in ("malformed", "not_finite")
        return
    assert len(decoded.instances) == count


NUMERIC = ["score", "center_m", "size_m", "heading_rad", "velocity_mps", "class_id", "instance_id", "age_frames"]


@settings(max_examples=200)
@given(st.sampled_from([*NUMERIC, "features", "feature_scales"]), st.integers(0, 60), st.randoms())
def test_any_wrong_length_is_a_wire_error_never_a_crash(field, length, random):
    fields = as_fields(with_features(), "int8")
    if field == "features":
        setattr(fields, field, bytes(random.randrange(256) for _ in range(length)))
    else:
        setattr(fields, field, [random.randrange(2) for _ in range(length)])
    try:
        decoded = wire.decode(fields)
    except wire.WireError:
        return
    assert len(decoded.instances) == 5 and np.isfinite(decoded.instances.center_m).all()
