"""Transforms travel over /tf and /tf_static."""

from __future__ import annotations

import threading

from geometry_msgs.msg import TransformStamped
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time
from tf2_ros import Buffer, StaticTransformBroadcaster, TransformBroadcaster, TransformListener

PATIENCE = Duration(seconds=20)


def stamped(parent: str, child: str, x: float, sec: int = 0) -> TransformStamped:
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id, message.header.stamp.sec = parent, child, sec
    message.transform.translation.x, message.transform.rotation.w = x, 1.0
    return message


def test_listener_hears_static_transforms_sent_before_it_was_there(ros_context: Context) -> None:
    sender = Node("sender", context=ros_context)
    static = StaticTransformBroadcaster(sender)
    static.sendTransform(stamped("car", "lidar", 1.0))
    static.sendTransform([stamped("lidar", "camera", 2.0), stamped("car", "lidar", 3.0)])  # replaces the first

    receiver = Node("receiver", context=ros_context)
    buffer = Buffer()
    listener = TransformListener(buffer, receiver, spin_thread=True)
    try:
        assert buffer.can_transform("car", "camera", Time(), timeout=PATIENCE)
        assert buffer.lookup_transform("car", "camera", Time()).transform.translation.x == 5.0
    finally:
        listener.unregister()


def test_timed_transforms_arrive_while_a_lookup_waits(ros_context: Context) -> None:
    sender, receiver = Node("sender", context=ros_context), Node("receiver", context=ros_context)
    broadcaster, buffer = TransformBroadcaster(sender), Buffer()
    listener = TransformListener(buffer, receiver)
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(receiver)
    executor.add_node(sender)
    pair = [stamped("map", "car", 0.0, sec=10), stamped("map", "car", 10.0, sec=11)]
    sender.create_timer(0.05, lambda: broadcaster.sendTransform(pair))
    spinning = threading.Thread(target=executor.spin)
    spinning.start()
    try:
        found = buffer.lookup_transform("map", "car", Time(seconds=10.5), timeout=PATIENCE)
        assert found.transform.translation.x == 5.0
    finally:
        executor.shutdown()
        spinning.join()
        listener.unregister()
