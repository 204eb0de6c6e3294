"""message_filters: messages of the same stamp come together, in the order of the filters."""

from __future__ import annotations

import threading

from message_filters import SimpleFilter, Subscriber, TimeSynchronizer
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Header, String
from vision_msgs.msg import Detection3DArray


def message(sec: int, frame: str) -> Detection3DArray:
    made = Detection3DArray(header=Header(frame_id=frame))
    made.header.stamp.sec = sec
    return made


def synchronizer(queue_size: int = 5) -> tuple[SimpleFilter, SimpleFilter, list[tuple[str, str, int]]]:
    left, right = SimpleFilter(), SimpleFilter()
    joined = TimeSynchronizer([left, right], queue_size)
    heard: list[tuple[str, str, int]] = []
    joined.registerCallback(lambda a, b: heard.append((a.header.frame_id, b.header.frame_id, a.header.stamp.sec)))
    left.synchronizer = joined  # keeps it alive
    return left, right, heard


def test_pairs_come_in_the_order_of_the_filters() -> None:
    left, right, heard = synchronizer()
    right.signalMessage(message(1, "right"))
    left.signalMessage(message(1, "left"))
    left.signalMessage(message(2, "left"))
    right.signalMessage(message(2, "right"))
    assert heard == [("left", "right", 1), ("left", "right", 2)]


def test_message_without_partner_is_not_passed_on() -> None:
    left, right, heard = synchronizer()
    left.signalMessage(message(1, "left"))
    right.signalMessage(message(2, "right"))
    assert heard == []


def test_only_the_newest_wait_for_a_partner() -> None:
    left, right, heard = synchronizer(queue_size=2)
    for sec in (1, 2, 3):
        left.signalMessage(message(sec, "left"))
    for sec in (1, 2, 3):
        right.signalMessage(message(sec, "right"))
    assert [sec for *_, sec in heard] == [2, 3]


def test_extra_arguments_reach_the_callback() -> None:
    source, heard = SimpleFilter(), []
    source.registerCallback(lambda *everything: heard.append(everything), "more")
    source.signalMessage("news")
    assert heard == [("news", "more")]


def test_subscriber_is_a_source(ros_context: Context) -> None:
    node = Node("listener", context=ros_context)
    subscriber, arrived, heard = Subscriber(node, String, "chatter"), threading.Event(), []
    subscriber.registerCallback(lambda text: (heard.append(text.data), arrived.set()))
    publisher = node.create_publisher(String, "chatter", 10)
    node.create_timer(0.05, lambda: publisher.publish(String(data="hello")))
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin)
    spinning.start()
    assert arrived.wait(20)
    executor.shutdown()
    spinning.join()
    assert heard[0] == "hello"
