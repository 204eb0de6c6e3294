"""A sender that lies is named in log and diagnostics, once when it is quarantined and once when it is heard again."""

from __future__ import annotations

from array import array

from diagnostic_msgs.msg import DiagnosticStatus
from drives import VehicleDrive
from rclpy.serialization import serialize_message
from ros_messages import at, instances_message


def moving(index: int, content: int | None = None):
    """Message of a frame: a car at 10 m/s, or where it was in another frame, as if that were now."""
    k = index if content is None else content
    message = instances_message(index + 1, at(index), [(20.0 + k + 0.03 * (k * 7 % 5), 6.0, 0.0)])
    message.velocity_mps = array("f", [10.0, 0.0])
    return message


def said(drive) -> list[tuple[str, str]]:
    """What the node logs from now on."""
    lines: list[tuple[str, str]] = []
    logger = drive.node.get_logger()
    for level in ("error", "info"):
        setattr(logger, level, lambda text, level=level, **_: lines.append((level, text)))
    return lines


def items_of(status) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


def test_a_replayed_sender_is_quarantined_named_once_and_heard_again_later(graph):
    drive = VehicleDrive(graph, **{"trust.recovery_per_s": 2.0})
    lines = said(drive)
    for index in range(20):
        drive.hear(moving(index, None if index < 10 else index - 8))
        drive.frame(index)
    status = drive.wait_for_status("instances of rsu", "quarantined")
    assert status.level == DiagnosticStatus.ERROR
    assert items_of(status)["quarantined"] == "True" and int(items_of(status)["evidence.replay"]) >= 4
    assert list(drive.associations_of(19).refused_reason) == ["quarantined"]
    assert not drive.associations_of(19).message_agent
    for index in range(20, 60):
        drive.hear(moving(index))
        drive.frame(index)
    assert list(drive.associations_of(59).message_agent) == ["rsu"]
    told = [(level, text) for level, text in lines if "rsu" in text and ("quarantined" in text or "trusted" in text)]
    assert [level for level, _ in told] == ["error", "info"] and "replay" in told[0][1]


def test_refusals_are_told_by_agent_and_in_total(graph):
    drive = VehicleDrive(graph)
    for index in range(6):
        message = moving(index)
        message.schema_version = 200
        drive.hear(message)
        drive.frame(index)
    status = drive.wait_for_status("instances of rsu", "refused")
    assert status.level == DiagnosticStatus.ERROR and "schema_version" in status.message
    assert int(items_of(status)["refused.schema_version"]) >= 1
    status = drive.wait_for_status("admission", "messages are refused: schema_version")
    assert status.level == DiagnosticStatus.ERROR and int(items_of(status)["refused.schema_version"]) >= 1


def test_what_cannot_be_read_is_told_of_the_agent_of_the_topic_whoever_the_message_names(graph):
    drive = VehicleDrive(graph)
    message = moving(0)
    message.schema_version, message.agent_id = 200, "somebody"
    drive.hear(message)
    drive.frame(0)
    status = drive.wait_for_status("instances of rsu", "messages of rsu are refused: schema_version")
    assert status.level == DiagnosticStatus.ERROR and items_of(status)["refused.schema_version"] == "1"
    assert list(drive.associations_of(0).refused_agent) == ["somebody"]


def test_messages_that_nobody_had_time_to_read_are_counted_and_a_warning(graph):
    drive = VehicleDrive(graph)
    drive.hear(moving(0))
    assert drive.wait_for_status("admission", "refused messages").level == DiagnosticStatus.OK
    worker = drive.node._worker
    with worker._condition:  # it takes nothing meanwhile
        for _ in range(300):
            drive.node._receiver("/rsu/instances")(serialize_message(moving(0)))
    status = drive.wait_for_status("admission", "come faster than they are read")
    assert status.level == DiagnosticStatus.WARN and int(items_of(status)["message_overflow"]) > 0
    assert drive.node.health.drops() == {"message_overflow": 300 - 256}
