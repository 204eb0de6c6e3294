"""Images, camera_info and frame_info make frames: each once, in order, in whatever order they come."""

from __future__ import annotations

import itertools

import pytest

from cooptrack_ros.frame_join import FrameJoin, Moment

MS = 1_000_000
LATER = 40  # of an image's stamp


class Joined:
    """A FrameJoin with its outcome and a clock in ms; frame n has perception time 100 n."""

    def __init__(self, announcers: int = 1) -> None:
        self.frames: list = []
        self.unannounced: list = []
        self.announcers = announcers
        self.node_ms, self.wall_ms = 1000.0, 5000.0
        self.join = FrameJoin(
            300.0,
            lambda stamp, pair, missing: self.frames.append((stamp, pair, missing)),
            self.unannounced.append,
            lambda: self.announcers,
        )

    @property
    def now(self) -> Moment:
        return Moment(round(self.node_ms * MS), round(self.wall_ms * MS))

    def info(self, n: int) -> None:
        self.join.on_frame_info(100 * n, 100 * n + LATER, self.now)

    def image(self, n: int) -> None:
        self.join.on_image(100 * n + LATER, self.now)

    def pair(self, n: int) -> None:
        self.image(n)
        self.join.on_pair(100 * n + LATER, f"pair {n}", self.now)

    def wait(self, node_ms: float, wall_ms: float | None = None) -> None:
        self.node_ms += node_ms
        self.wall_ms += node_ms if wall_ms is None else wall_ms
        self.join.tick(self.now)


@pytest.fixture
def joined():
    return Joined()


def whole(*numbers: int) -> list:
    return [(100 * n, f"pair {n}", "") for n in numbers]


def test_a_frame_is_whole_in_either_order(joined):
    joined.info(0)
    joined.pair(0)
    joined.pair(1)
    joined.info(1)
    assert joined.frames == whole(0, 1) and joined.unannounced == []


def test_a_frame_without_an_image_is_given_up_when_a_later_one_is_whole(joined):
    for n in range(3):
        joined.info(n)
    joined.pair(2)
    assert joined.frames == [(0, None, "image"), (100, None, "image"), *whole(2)]


def test_a_frame_without_an_image_is_given_up_after_a_while(joined):
    joined.info(0)
    joined.wait(299)
    assert joined.frames == []
    joined.wait(2)
    assert joined.frames == [(0, None, "image")]
    joined.pair(0)  # too late: it belongs to no frame any more
    joined.wait(400)
    assert len(joined.frames) == 1 and joined.unannounced == [LATER]


def test_camera_info_that_does_not_come_is_named(joined):
    joined.info(0)
    joined.image(0)
    joined.wait(301)
    assert joined.frames == [(0, None, "camera_info")]


def test_nothing_is_given_up_while_the_clock_of_the_replay_stands(joined):
    joined.info(0)
    joined.wait(0, wall_ms=60_000)
    assert joined.frames == []
    joined.pair(0)
    assert joined.frames == whole(0)


def test_an_image_that_nobody_names_is_dropped_where_others_are_named(joined):
    joined.pair(0)
    joined.wait(301)
    assert joined.frames == [] and joined.unannounced == [LATER]


def test_without_any_frame_info_images_are_frames_after_one_wait():
    joined = Joined(announcers=0)
    joined.pair(0)
    assert joined.frames == []
    joined.wait(0, wall_ms=301)  # who publishes is a question of wall time: a replay in lock-step waits for the answer
    assert joined.frames == [(LATER, "pair 0", "")]
    joined.pair(1)
    assert joined.frames[-1] == (100 + LATER, "pair 1", "")


def test_without_frame_info_and_camera_info_an_image_is_a_lost_frame():
    joined = Joined(announcers=0)
    joined.image(0)
    joined.wait(301)
    assert joined.frames == [(LATER, None, "camera_info")]


def test_a_frame_info_that_comes_later_counts_from_then_on():
    joined = Joined(announcers=0)
    joined.pair(0)
    joined.wait(301)
    joined.announcers = 1
    joined.info(1)
    joined.pair(1)
    assert joined.frames[1:] == whole(1)


def test_before_sim_time_begins_the_wall_clock_counts(joined):
    joined.node_ms = 0
    joined.info(0)
    joined.wait(1_700_000_000_000, wall_ms=10)
    assert joined.frames == []
    joined.wait(10, wall_ms=301)
    assert joined.frames == [(0, None, "image")]


def test_what_waits_is_bounded(joined):
    for n in range(100):
        joined.pair(n)
    assert len(joined.unannounced) == 90
    joined.join.clear()
    for n in range(200, 300):
        joined.info(n)
    assert len(joined.frames) == 50 and all(missing == "image" for _, _, missing in joined.frames)


def test_after_a_clear_nothing_is_left(joined):
    joined.info(0)
    joined.pair(1)
    joined.join.clear()
    joined.wait(1000)
    assert joined.frames == [] and joined.unannounced == []


@pytest.mark.parametrize("order", list(itertools.permutations(("info 0", "pair 0", "info 1", "pair 1"))))
def test_every_order_gives_each_frame_once_and_in_the_order_of_announcement(joined, order):
    for what in order:
        kind, n = what.split()
        getattr(joined, kind)(int(n))
    joined.wait(301)
    announced = [int(what[-1]) for what in order if what.startswith("info")]
    assert [stamp for stamp, _, _ in joined.frames] == [100 * n for n in announced]
    assert all(missing == "" or pair is None for _, pair, missing in joined.frames)
