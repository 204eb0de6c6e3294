"""tf2_ros.Buffer: transforms are composed, interpolated, waited for and refused as in tf2."""

from __future__ import annotations

import math
import threading
import time

import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time
from tf2_ros import Buffer, ConnectivityException, ExtrapolationException, LookupException, TransformException

SECOND = 1_000_000_000


def stamped(parent: str, child: str, at_s: float, x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> TransformStamped:
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp = Time(nanoseconds=round(at_s * SECOND)).to_msg()
    message.transform.translation.x, message.transform.translation.y = x, y
    message.transform.rotation.z, message.transform.rotation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


def at(seconds: float) -> Time:
    return Time(nanoseconds=round(seconds * SECOND))


def position(message: TransformStamped) -> tuple[float, float, float]:
    t = message.transform.translation
    return t.x, t.y, t.z


def yaw_of(message: TransformStamped) -> float:
    return 2 * math.atan2(message.transform.rotation.z, message.transform.rotation.w)


@pytest.fixture
def buffer() -> Buffer:
    """map -> car (moving along x, 10 m/s, turning) -> lidar (1 m ahead), and a lone tree."""
    made = Buffer()
    made.set_transform(stamped("map", "car", 100.0, x=0.0), "test")
    made.set_transform(stamped("map", "car", 101.0, x=10.0, yaw=math.pi / 2), "test")
    made.set_transform_static(stamped("car", "lidar", 0.0, x=1.0), "test")
    made.set_transform_static(stamped("other_map", "pole", 0.0), "test")
    return made


def test_chain_is_composed(buffer: Buffer) -> None:
    found = buffer.lookup_transform("map", "lidar", at(101.0))
    assert position(found) == pytest.approx((10.0, 1.0, 0.0))
    assert yaw_of(found) == pytest.approx(math.pi / 2)
    assert (found.header.frame_id, found.child_frame_id) == ("map", "lidar")
    assert found.header.stamp.sec == 101


def test_other_direction_is_the_inverse(buffer: Buffer) -> None:
    found = buffer.lookup_transform("lidar", "map", at(101.0))
    assert position(found) == pytest.approx((-1.0, 10.0, 0.0))


def test_between_two_stamps_is_interpolated(buffer: Buffer) -> None:
    found = buffer.lookup_transform("map", "car", at(100.25))
    assert position(found) == pytest.approx((2.5, 0.0, 0.0))
    assert yaw_of(found) == pytest.approx(math.pi / 8)


def test_time_zero_is_the_latest_and_says_when(buffer: Buffer) -> None:
    found = buffer.lookup_transform("map", "lidar", Time())
    assert position(found) == pytest.approx((10.0, 1.0, 0.0))
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (101, 0)


def test_static_transform_holds_at_all_times(buffer: Buffer) -> None:
    assert position(buffer.lookup_transform("car", "lidar", at(5000.0))) == pytest.approx((1.0, 0.0, 0.0))


@pytest.mark.parametrize("seconds", [99.9, 101.1])
def test_outside_the_history_is_extrapolation(buffer: Buffer, seconds: float) -> None:
    with pytest.raises(ExtrapolationException):
        buffer.lookup_transform("map", "car", at(seconds))


def test_unknown_frame_and_missing_link_are_told_apart(buffer: Buffer) -> None:
    with pytest.raises(LookupException):
        buffer.lookup_transform("map", "nowhere", at(100.5))
    with pytest.raises(ConnectivityException):
        buffer.lookup_transform("map", "pole", at(100.5))
    assert issubclass(LookupException, TransformException) and issubclass(ConnectivityException, TransformException)


def test_waiting_ends_when_the_transform_arrives(buffer: Buffer) -> None:
    later = threading.Timer(0.1, lambda: buffer.set_transform(stamped("map", "car", 102.0, x=20.0), "test"))
    later.start()
    found = buffer.lookup_transform("map", "car", at(101.5), timeout=Duration(seconds=10))
    later.join()
    assert position(found)[0] == pytest.approx(15.0)


def test_waiting_ends_with_the_timeout(buffer: Buffer) -> None:
    started = time.monotonic()
    with pytest.raises(ExtrapolationException):
        buffer.lookup_transform("map", "car", at(105.0), timeout=Duration(seconds=0.1))
    assert time.monotonic() - started >= 0.1


def test_can_transform_answers_without_raising(buffer: Buffer) -> None:
    assert buffer.can_transform("map", "lidar", at(100.5))
    assert not buffer.can_transform("map", "lidar", at(105.0))
    assert not buffer.can_transform("map", "nowhere", at(100.5), timeout=Duration(seconds=0.01))
    possible, reason = buffer.can_transform("map", "nowhere", at(100.5), return_debug_tuple=True)
    assert not possible and "nowhere" in reason


def test_clear_forgets_what_moves_and_keeps_what_is_static(buffer: Buffer) -> None:
    buffer.clear()
    assert not buffer.can_transform("map", "car", at(100.5))
    assert position(buffer.lookup_transform("car", "lidar", at(1.0))) == pytest.approx((1.0, 0.0, 0.0))
    buffer.set_transform(stamped("map", "car", 7.0, x=3.0), "test")  # earlier than before: time has jumped back
    assert position(buffer.lookup_transform("map", "car", at(7.0))) == pytest.approx((3.0, 0.0, 0.0))


def test_history_is_ten_seconds_by_default() -> None:
    buffer = Buffer()
    for second in range(20):
        buffer.set_transform(stamped("map", "car", 100.0 + second, x=float(second)), "test")
    assert buffer.can_transform("map", "car", at(110.0))
    assert not buffer.can_transform("map", "car", at(108.0))


@pytest.mark.parametrize("broken", ["nan", "zero rotation", "self"])
def test_impossible_transform_is_ignored(buffer: Buffer, broken: str) -> None:
    message = stamped("map", "ghost", 100.0)
    if broken == "nan":
        message.transform.translation.x = math.nan
    elif broken == "zero rotation":
        message.transform.rotation.z = message.transform.rotation.w = 0.0
    else:
        message.header.frame_id = "ghost"
    buffer.set_transform(message, "test")
    assert not buffer.can_transform("map", "ghost", at(100.0))
    assert buffer.can_transform("map", "car", at(100.5))


def test_leading_slash_of_a_frame_means_nothing() -> None:
    buffer = Buffer()
    buffer.set_transform(stamped("/map", "/car", 1.0, x=4.0), "test")
    assert position(buffer.lookup_transform("map", "car", at(1.0))) == pytest.approx((4.0, 0.0, 0.0))


def test_broken_transforms_at_full_rate_are_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    for index in range(50):
        Buffer().set_transform(stamped("map", "car", index, x=math.nan), "test")
    assert capfd.readouterr().err.count("ignoring") <= 1
