"""The size of a message is known before it is made, and what does not fit stays behind, the least useful first."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scenarios import STEP_NS, cars

from cooptrack_core.config import RedundancyConfig, RoadsideConfig
from cooptrack_core.cooperation.codebook import fit
from cooptrack_core.cooperation.message_size import size_bytes
from cooptrack_core.cooperation.sender import Sender
from cooptrack_core.data.instance_messages import instances_message
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.types import CooptrackError, Features

PLAIN = RoadsideConfig(detector="simulated", feature_precision="fp16", feature_streams="all")
START_NS = 10**18
N = 40


def street(i, n=N, channels=16):
    rng = np.random.default_rng(3)
    x, y, v = rng.uniform(5, 95, n), rng.uniform(-45, 45, n), rng.normal(size=(n, 2))
    values = np.random.default_rng(i).normal(size=(n, channels)).astype(np.float32)
    features = Features(values, None, values, "tiny_inf", bytes(range(32)))
    score = np.linspace(0.1, 0.95, n)
    jitter = np.random.default_rng(100 + i).normal(0, 1.0, (n, 2))
    return cars(
        *zip(x + jitter[:, 0], y + jitter[:, 1], strict=True), velocity_mps=v, score=score,
        instance_id=np.arange(1, n + 1), features=features,
    )  # fmt: skip


def network(codebook=None, needed_streams=()):
    """What a sender asks of its network."""
    return SimpleNamespace(preset="tiny_inf", codebook=codebook, needed_streams=needed_streams)


def drive(config, count=30, seen=street, **of_network):
    unit = Sender("rsu", config, 7, "rsu/lidar", "map", network(**of_network))
    return [unit.compose(START_NS + i * STEP_NS, seen(i), np.eye(4)) for i in range(count)]


def serialised(message):
    return len(typestore().serialize_cdr(instances_message(message), "cooptrack_msgs/msg/InstanceFeatures"))


@pytest.fixture(scope="module")
def book():
    values = {s: np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32) for s in ("query", "motion")}
    return fit(values, bytes(range(32)), 2, 0)


@pytest.mark.parametrize("precision", ["none", "fp32", "fp16", "int8", "rvq"])
@pytest.mark.parametrize("kinematics", ["fp32", "compact"])
def test_the_size_is_that_of_the_serialised_message(precision, kinematics, book):
    config = replace(
        PLAIN, feature_precision=precision, kinematics_precision=kinematics,
        redundancy=RedundancyConfig(refresh_ms=500.0, position_m=1.5),
    )  # fmt: skip
    for count in (0, 1, 2, 5, 40):
        for message in drive(config, 3, seen=lambda i, n=count: street(i, n), codebook=book):
            assert size_bytes(message) == serialised(message)
    for name in ("r", "rs", "rsu_of_the_crossing"):
        other = replace(message, agent_id=name, sensor_frame=name, map_frame=name)
        assert size_bytes(other) == serialised(other)


def test_no_message_is_larger_than_one_packet():
    sent = drive(replace(PLAIN, max_message_bytes=1398, kinematics_precision="compact"))
    assert max(map(serialised, sent)) <= 1398 and min(len(m.instances) for m in sent) > 3
    assert all(len(m.instances) + m.instances_withheld == N for m in sent)


def test_the_surest_go_first():
    (sent,) = drive(replace(PLAIN, max_message_bytes=1398), 1)
    left = set(range(1, N + 1)) - set(sent.instances.instance_id.tolist())
    assert max(left) < min(sent.instances.instance_id.tolist())


@pytest.mark.parametrize("rate", [5000, 20000])
def test_the_budget_holds_over_time(rate):
    sent = [m for m in drive(replace(PLAIN, budget_bytes_per_s=rate, kinematics_precision="compact"), 100) if m]
    total = sum(map(serialised, sent))
    assert total <= rate * 10 + rate * 0.5 and total > 0.8 * rate * 10
    assert all(m.instances_withheld > 0 for m in sent[10:])


def test_with_redundancy_in_turn_everybody_is_sent():
    config = replace(
        PLAIN, budget_bytes_per_s=8000, kinematics_precision="compact", redundancy=RedundancyConfig(refresh_ms=500.0)
    )
    seen = {key for m in drive(config, 60) if m for key in m.instances.instance_id.tolist()}
    assert len(seen) > 0.7 * N


def test_a_budget_too_small_for_a_header_sends_less_often_and_never_empty_news():
    sent = drive(replace(PLAIN, budget_bytes_per_s=1500, feature_precision="none", kinematics_precision="compact"), 50)
    kept = [m for m in sent if m is not None]
    assert 0 < len(kept) < 50 and sum(map(serialised, kept)) <= 1500 * 5 + 750
    assert [m.sequence for m in kept] == [i + 1 for i, m in enumerate(sent) if m is not None]


def test_no_limit_sends_all():
    assert all(len(m.instances) == N and m.instances_withheld == 0 for m in drive(PLAIN, 3))


def test_codes_without_a_codebook_are_refused_and_auto_does_without():
    with pytest.raises(CooptrackError, match="codebook"):
        Sender("rsu", replace(PLAIN, feature_precision="rvq"), 7, "rsu/lidar", "map", network())
    (sent,) = drive(replace(PLAIN, feature_precision="auto"), 1)
    assert sent.precision == "fp16"


def test_only_needed_streams_are_sent(book):
    (sent,) = drive(replace(PLAIN, feature_streams="needed"), 1, needed_streams=("query",))
    assert sent.instances.features.motion is None and sent.instances.features.query.shape == (N, 16)
    (coded,) = drive(
        replace(PLAIN, feature_streams="needed", feature_precision="auto"), 1, needed_streams=("query",), codebook=book
    )
    assert coded.precision == "rvq" and coded.instances.features.codes.shape == (N, 1, 2)
