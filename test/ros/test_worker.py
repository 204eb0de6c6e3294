"""The worker keeps order, loses nothing silently and survives what it calls."""

from __future__ import annotations

import threading

import pytest

from cooptrack_ros.worker import Worker


class Log:
    def __init__(self, **more):
        self.entries, self.errors = [], []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.worker = Worker(self.frame, self.message, self.errors.append, "test", **more)
        self.worker.start()

    def frame(self, frame, lost):
        self.entered.set()
        self.gate.wait()
        if frame == "bad":
            raise RuntimeError("bad frame")
        self.entries.append(("lost" if lost else "frame", frame))

    def message(self, message):
        self.entries.append(("message", message))


@pytest.fixture
def log():
    made = Log()
    yield made
    made.gate.set()
    made.worker.stop()


def busy(log):
    """Lets the worker hang in a first frame."""
    log.gate.clear()
    log.worker.submit_frame(0)
    assert log.entered.wait(10)


def test_only_the_newest_waiting_frame_is_done_in_full_and_all_keep_their_order(log):
    busy(log)
    for frame in (1, 2, 3):
        log.worker.submit_frame(frame)
    log.gate.set()
    assert log.worker.wait_idle(10)
    assert log.entries == [("frame", 0), ("lost", 1), ("lost", 2), ("frame", 3)]


def test_a_frame_is_emptied_as_soon_as_a_newer_one_comes():
    log = Log(emptied=lambda frame: frame / 10)
    busy(log)
    for frame in (1, 2, 3):
        log.worker.submit_frame(frame)
        assert [n for n, lost in log.worker._frames if not lost] == [frame]
    log.gate.set()
    assert log.worker.wait_idle(10)
    assert log.entries == [("frame", 0), ("lost", 0.1), ("lost", 0.2), ("frame", 3)]
    log.worker.stop()


def test_messages_go_before_waiting_frames(log):
    busy(log)
    log.worker.submit_frame(1)
    log.worker.submit_message("m")
    log.gate.set()
    assert log.worker.wait_idle(10)
    assert log.entries == [("frame", 0), ("message", "m"), ("frame", 1)]


def test_an_error_is_reported_and_the_thread_lives_on(log):
    log.worker.submit_frame("bad")
    log.worker.submit_frame(1)
    assert log.worker.wait_idle(10)
    assert [str(error) for error in log.errors] == ["bad frame"]
    assert ("frame", 1) in log.entries


def test_a_restart_drops_what_waits_and_comes_first(log):
    busy(log)
    log.worker.submit_frame(1)
    log.worker.submit_message("old")
    assert log.worker.restart(lambda: log.entries.append("restart")) == 1
    log.worker.submit_frame(2)
    log.gate.set()
    assert log.worker.wait_idle(10)
    assert log.entries == [("frame", 0), "restart", ("frame", 2)]


def test_too_many_messages_push_out_the_oldest_and_are_counted():
    log = Log(max_messages=2)
    busy(log)
    assert [log.worker.submit_message(m) for m in "abc"] == [0, 0, 1]
    log.gate.set()
    assert log.worker.wait_idle(10)
    assert log.entries == [("frame", 0), ("message", "b"), ("message", "c")]
    log.worker.stop()


def test_stopping_ends_the_thread_at_once_and_twice(log):
    log.worker.stop()
    log.worker.stop()
    log.worker.submit_frame(1)
    assert log.entries == []
