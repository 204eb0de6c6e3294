"""A network slower than its camera: old images are dropped and counted, nothing queues up, every image gets tracks."""

from __future__ import annotations

import gc
import threading

import pytest
from image_drives import CameraRoadside, CameraVehicle, jpeg
from ros_messages import at
from sensor_msgs.msg import CompressedImage

from cooptrack_core.model import image_input
from cooptrack_ros.conversions import stamp_ns
from cooptrack_ros.trigger import Arrival

DRIVES = [CameraVehicle, CameraRoadside]
IMAGES_PER_STEP = 4


class SlowNetwork:
    """Holds the steps of a drive's network until they are let go, one at a time."""

    def __init__(self, drive) -> None:
        self.begun: list[int] = []  # perception stamps, in the order of the steps
        self._go, self._step = threading.Semaphore(0), drive.network.step
        drive.network.step = self._held

    def _held(self, frame, *arguments):
        self.begun.append(frame.stamp_ns)
        self._go.acquire()
        return self._step(frame, *arguments)

    def finish_one(self) -> None:
        self._go.release()


def whole(worker) -> list[Arrival]:
    """Waiting frames that still hold their image."""
    return [arrival for arrival, _ in list(worker._frames) if arrival.image is not None]


@pytest.mark.parametrize("drive_class", DRIVES)
def test_old_images_are_dropped_and_counted_and_every_image_gets_tracks(graph, monkeypatch, drive_class):
    drive = drive_class(graph, monkeypatch, mode="ego")
    drive.frame(0)
    slow, worker, newest, steps = SlowNetwork(drive), drive.node._worker, 1, 3
    drive.send(newest)
    graph.wait_for(lambda: slow.begun == [at(1)])
    for step in range(1, steps + 1):
        for _ in range(IMAGES_PER_STEP):
            newest += 1
            drive.send(newest)
            graph.wait_for(lambda newest=newest: worker._frames and worker._frames[-1][0].stamp_ns == at(newest))
            assert [arrival.stamp_ns for arrival in whole(worker)] == [at(newest)]
        slow.finish_one()
        # What comes next is the newest image, however many have come: none is older than one step.
        graph.wait_for(lambda step=step, newest=newest: slow.begun[step:] == [at(newest)])
        assert not worker._frames
    slow.finish_one()
    graph.wait_for(lambda: len(drive.tracks) == newest + 1)
    assert [stamp_ns(t.header.stamp) for t in drive.tracks] == [at(index) for index in range(newest + 1)]
    done = {at(0), at(1), *(at(1 + step * IMAGES_PER_STEP) for step in range(1, steps + 1))}
    assert {stamp_ns(t.header.stamp) for t in drive.tracks if not t.predicted_only} == done
    assert all([o.track_id for o in t.objects] == [1] for t in drive.tracks)
    assert drive.node.health.drops() == {"overload": newest + 1 - len(done)}
    drive.wait_for_status("frames", f"dropped: overload {newest + 1 - len(done)}")


def test_images_that_are_lost_are_let_go_at_once(graph, monkeypatch):
    drive = CameraVehicle(graph, monkeypatch, mode="ego")
    slow = SlowNetwork(drive)
    drive.send(0)
    graph.wait_for(lambda: slow.begun == [at(0)])
    for index in range(1, 9):
        drive.send(index)
    graph.wait_for(lambda: len(drive.node._worker._frames) == 8)
    sizes = {len(jpeg(index)) for index in range(9)}

    def alive() -> int:
        gc.collect()
        return sum(isinstance(o, CompressedImage) and len(o.data) in sizes for o in gc.get_objects())

    graph.wait_for(lambda: alive() <= 2)  # the one in work and the newest
    slow.finish_one()
    slow.finish_one()
    graph.wait_for(lambda: len(drive.tracks) == 9)
    graph.wait_for(lambda: alive() == 0)


def test_images_are_decoded_in_the_worker_thread_and_only_those_that_are_used(graph, monkeypatch):
    decoded_in: list[str] = []
    decode = image_input.decode_bgr
    monkeypatch.setattr(
        image_input, "decode_bgr", lambda *a: (decoded_in.append(threading.current_thread().name), decode(*a))[1]
    )
    drive = CameraVehicle(graph, monkeypatch, mode="ego")
    drive.frame(0)
    drive.pile_up(1, 2, 3)
    graph.wait_for(lambda: len(drive.tracks) == 4)
    assert decoded_in == ["vehicle_node worker"] * 3
