"""The channel does to messages what the disturbance says, with draws that depend on seed, sequence and number alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenarios import STEP_NS, cars, message, yawed

from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.geometry.transforms import yaw_of
from cooptrack_core.types import CooptrackError, Message

NEVER = 4 * 10**18
MANY = 4000


def carried(disturbance: Disturbance, count: int, key: str = "a", instances=None, **channel) -> list[Message]:
    """What arrives in the end of `count` messages that are sent at their stamps."""
    line = Channel(disturbance, key, **channel)
    for index in range(count):
        sent = message(index, instances or cars((1, 0)), T=yawed(0.3, 100.0, 50.0, 2.0))
        line.send(sent, sent.stamp_ns)
    return [item for item, _ in line.due(NEVER, NEVER)]


def fates(disturbance: Disturbance, count: int = MANY, key: str = "a") -> np.ndarray:
    """[count] whether each message gets lost."""
    arrived = [m.sequence for m in carried(disturbance, count, key)]
    return ~np.isin(np.arange(1, count + 1), arrived)


def bursts(lost: np.ndarray) -> np.ndarray:
    """Lengths of the runs of lost messages."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(int), [0]])))
    return edges[1::2] - edges[::2]


def test_without_disturbance_messages_arrive_at_once_unchanged_and_in_order():
    line = Channel(Disturbance(), "a")
    for index in range(5):
        sent = message(index, cars((1, 0)))
        line.send(sent, sent.stamp_ns + 7)
        ((arrived, arrival_ns),) = line.due(sent.stamp_ns + 7, sent.stamp_ns)
        assert arrival_ns == sent.stamp_ns + 7 and arrived.stamp_ns == sent.stamp_ns
        assert arrived.instances is sent.instances and arrived.T_map_from_sensor is sent.T_map_from_sensor
    assert line.counts == {"sent": 5, "arrived": 5}


def test_a_delayed_message_arrives_after_its_delay_and_not_before():
    line = Channel(Disturbance(delay_ms=250.0), "a")
    line.send(message(0, cars()), 1000)
    assert line.due(249_999_999, 0) == []
    ((_, arrival_ns),) = line.due(250_001_000, 0)
    assert arrival_ns == 250_001_000 and line.due(NEVER, 0) == []


@pytest.mark.parametrize("jitter_ms", [50.0, 300.0])
def test_jitter_adds_up_to_its_size_uniformly_and_lets_messages_overtake(jitter_ms):
    line = Channel(Disturbance(delay_ms=100.0, jitter_ms=jitter_ms), "a")
    for index in range(MANY):
        line.send(message(index, cars()), index * STEP_NS)
    arrived = line.due(NEVER, 0)
    late_ms = np.array([(at - (m.sequence - 1) * STEP_NS) / 1e6 for m, at in arrived])
    assert late_ms.min() >= 100.0 and late_ms.max() <= 100.0 + jitter_ms
    assert late_ms.mean() == pytest.approx(100.0 + jitter_ms / 2, abs=0.03 * jitter_ms)
    assert [at for _, at in arrived] == sorted(at for _, at in arrived)
    overtaken = np.diff([m.sequence for m, _ in arrived]).min() < 0
    assert overtaken == (jitter_ms * 1e6 > STEP_NS)


@pytest.mark.parametrize(("loss", "burst"), [(0.1, 0.0), (0.3, 0.0), (0.3, 5.0), (0.3, 20.0), (0.7, 3.0), (0.5, 1.0)])
def test_bursts_keep_the_share_of_lost_messages_and_have_their_mean_length(loss, burst):
    lost = fates(Disturbance(loss=loss, burst=burst), 20_000)
    mean = burst or 1.0 / (1.0 - loss)
    assert lost.mean() == pytest.approx(loss, abs=0.015 + 0.004 * burst)
    assert bursts(lost).mean() == pytest.approx(mean, rel=0.1)


def test_all_messages_get_lost_at_loss_one_and_none_at_zero():
    assert fates(Disturbance(loss=1.0), 50).all() and fates(Disturbance(loss=1.0, burst=3.0), 50).all()
    assert not fates(Disturbance(), 50).any()


def test_what_is_lost_at_a_small_loss_is_lost_at_a_larger_one_too():
    small, large = fates(Disturbance(loss=0.1)), fates(Disturbance(loss=0.3))
    assert (large | ~small).all() and small.sum() < large.sum()


def test_draws_depend_on_seed_sequence_and_sender_and_on_nothing_else():
    same = [fates(Disturbance(loss=0.5, seed=1), 200) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert (same[0] != fates(Disturbance(loss=0.5, seed=2), 200)).any()
    assert (same[0] != fates(Disturbance(loss=0.5, seed=1), 200, key="b")).any()
    also = Disturbance(loss=0.5, seed=1, jitter_ms=300.0, position_noise_m=1.0, instance_loss=0.5, delay_ms=50.0)
    np.testing.assert_array_equal(same[0], fates(also, 200))
    shared = Channel(Disturbance(loss=0.5, seed=1), "a")
    for index in range(200):
        for agent in ("other", "rsu"):
            shared.send(message(index, cars(), agent=agent), 0)
    arrived = shared.due(NEVER, 0)
    of = {a: {m.sequence for m, _ in arrived if m.agent_id == a} for a in ("other", "rsu")}
    assert of["rsu"] == set((np.flatnonzero(~same[0]) + 1).tolist()) and of["other"] != of["rsu"]


def test_instances_get_lost_each_on_its_own_but_the_message_arrives_with_the_size_that_was_sent():
    instances = cars(*[(i, 0) for i in range(40)], instance_id=np.arange(40))
    line = Channel(Disturbance(instance_loss=0.3), "a")
    for index in range(200):
        line.send(message(index, instances, size_bytes=777), 0)
    arrived = [m for m, _ in line.due(NEVER, 0)]
    kept = np.array([np.isin(np.arange(40), m.instances.instance_id) for m in arrived])
    assert len(arrived) == 200 and {m.size_bytes for m in arrived} == {777}
    assert kept.mean() == pytest.approx(0.7, abs=0.02)
    assert np.abs(kept.mean(axis=0) - 0.7).max() < 0.15 and 4 < kept.sum(axis=1).var() < 14  # binomial: 8.4
    assert line.counts["instances_lost"] == (~kept).sum() and line.counts["instances_sent"] == kept.size
    none = carried(Disturbance(instance_loss=1.0), 3)
    assert [len(m.instances) for m in none] == [0, 0, 0]  # "nothing seen" is still news


def test_pose_noise_has_the_standard_deviations_asked_for_and_no_more():
    arrived = carried(Disturbance(position_noise_m=1.5, yaw_noise_deg=2.0), MANY)
    moved = np.array([m.T_map_from_sensor[:3, 3] - (100.0, 50.0, 2.0) for m in arrived])
    turned = np.degrees([yaw_of(m.T_map_from_sensor) - 0.3 for m in arrived])
    np.testing.assert_allclose(moved.std(axis=0), 1.5, rtol=0.05)
    assert turned.std() == pytest.approx(2.0, rel=0.05)
    assert np.abs(moved.mean(axis=0)).max() < 0.1 and abs(turned.mean()) < 0.1
    assert np.abs(np.corrcoef(np.column_stack([moved, turned]).T) - np.eye(4)).max() < 0.06
    assert abs(np.corrcoef(moved[:-1, 0], moved[1:, 0])[0, 1]) < 0.06
    for m in arrived[:50]:
        R = m.T_map_from_sensor[:3, :3]
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(R[2], (0, 0, 1), atol=1e-12)  # only the yaw


def test_yaw_noise_turns_the_sender_on_its_place():
    (clean,), (turned,) = carried(Disturbance(), 1), carried(Disturbance(yaw_noise_deg=5.0), 1)
    np.testing.assert_array_equal(clean.T_map_from_sensor[:3, 3], turned.T_map_from_sensor[:3, 3])
    assert np.abs(clean.T_map_from_sensor - turned.T_map_from_sensor).max() > 1e-3


def test_correlated_noise_keeps_its_size_and_fades_with_its_time_constant():
    arrived = carried(Disturbance(position_noise_m=2.0, noise_correlation_s=0.5), 20_000)
    x = np.array([m.T_map_from_sensor[0, 3] - 100.0 for m in arrived])
    assert x.std() == pytest.approx(2.0, rel=0.08)
    for steps in (1, 5):
        assert np.corrcoef(x[:-steps], x[steps:])[0, 1] == pytest.approx(np.exp(-0.1 * steps / 0.5), abs=0.05)


def test_noise_of_twice_the_size_is_the_same_noise_twice():
    one, two = (carried(Disturbance(position_noise_m=sigma), 20) for sigma in (0.5, 1.0))
    for a, b in zip(one, two, strict=True):
        offset = a.T_map_from_sensor[:3, 3] - (100.0, 50.0, 2.0)
        np.testing.assert_allclose(2 * offset, b.T_map_from_sensor[:3, 3] - (100.0, 50.0, 2.0), rtol=1e-12, atol=1e-9)


def test_a_clock_ahead_makes_stamps_later_and_nothing_else():
    (clean,), (ahead,) = carried(Disturbance(), 1), carried(Disturbance(clock_offset_ms=-150.0), 1)
    assert ahead == replace(clean, stamp_ns=clean.stamp_ns - 150_000_000, instances=ahead.instances,
                            T_map_from_sensor=ahead.T_map_from_sensor)  # fmt: skip
    np.testing.assert_array_equal(ahead.T_map_from_sensor, clean.T_map_from_sensor)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_an_outage_is_one_piece_of_the_sequence_of_the_size_asked_for(share):
    count = 200
    span = message(0, cars()).stamp_ns, message(count - 1, cars()).stamp_ns
    starts = set()
    for seed in range(5):
        arrived = {m.sequence for m in carried(Disturbance(drop_roadside=share, seed=seed), count, span_ns=span)}
        gone = np.array([n not in arrived for n in range(1, count + 1)])
        assert gone.mean() == pytest.approx(share, abs=0.01) and len(bursts(gone)) == 1
        starts.add(int(np.flatnonzero(gone)[0]))
    assert (len(starts) > 1) == (share < 1.0)


def test_an_outage_of_a_part_without_a_length_is_an_error_of_one_line():
    with pytest.raises(CooptrackError, match=r"^disturbance --drop-roadside: [^\n]*$"):
        carried(Disturbance(drop_roadside=0.5), 1)


@pytest.mark.parametrize("frames", [1, 3])
def test_async_gives_each_frame_the_message_so_many_before_its_partner(frames):
    line, used = Channel(Disturbance(async_frames=frames), "a"), []
    for index in range(10):
        sent = message(index, cars())
        line.send(sent, sent.stamp_ns + 20_000_000)
        used.append([m.sequence for m, _ in line.due(sent.stamp_ns + 60_000_000, sent.stamp_ns - 30_000_000)])
    assert used == [[]] * frames + [[n] for n in range(1, 11 - frames)]


def test_async_counts_from_the_partner_even_where_the_next_message_is_there_already():
    line, used = Channel(Disturbance(async_frames=1), "a"), []
    for index in range(6):
        sent = message(index, cars())
        line.send(sent, sent.stamp_ns)
        used.append([m.sequence for m, _ in line.due(sent.stamp_ns, sent.stamp_ns - STEP_NS)])
    assert used == [[], [], [1], [2], [3], [4]]
