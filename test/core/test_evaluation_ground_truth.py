"""What counts as ground truth and as prediction: conventions, duplicates, filling, missed frames, poses."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_recordings import START_NS, frame, pose, recording, track, truth

from cooptrack_core.evaluation.conventions import CONVENTIONS, convention_of
from cooptrack_core.evaluation.recordings import evaluation_set
from cooptrack_core.types import VIEW_OCCLUDED, VIEW_OUTSIDE, VIEW_UNKNOWN, CooptrackError

COOPTRACK, UNIV2X = CONVENTIONS["cooptrack"], CONVENTIONS["univ2x"]


def test_boxes_are_in_the_map_through_the_true_pose() -> None:
    row = frame(0, [truth(7, 10.0, 2.0, heading_rad=0.3)], [track(3, 5.0, velocity_mps=[2.0, 0.0])])
    row["T_map_from_lidar_truth"], row["T_map_from_lidar"] = pose(100.0, 50.0, np.pi / 2), pose(777.0)
    data = evaluation_set([recording([row], T_novatel_from_lidar=pose(1.0))], COOPTRACK)
    assert data.truth.center_m == pytest.approx(np.array([[98.0, 60.0, -1.0]]))
    assert data.truth.heading_rad == pytest.approx([0.3 + np.pi / 2])
    assert np.isnan(data.truth.velocity_mps).all() and data.truth.score.tolist() == [1.0]
    assert data.predictions.center_m == pytest.approx(np.array([[100.0, 55.0, -1.0]]))
    assert data.predictions.velocity_mps == pytest.approx(np.array([[0.0, 2.0]]), abs=1e-12)
    assert data.frames.ego_xy_m == pytest.approx(np.array([[100.0, 49.0]]))  # the novatel, not the lidar
    assert data.frames.token == ("000000",) and data.frames.timestamp_us.tolist() == [START_NS // 1000]
    assert (data.class_names, data.class_range_m) == (("car", "bicycle", "pedestrian"), (50.0, 40.0, 40.0))


def test_a_frame_without_tracks_counts_as_one_without_predictions() -> None:
    frames = [
        frame(0, [truth(1, 10.0)], [track(1, 10.0)]),
        frame(1, [truth(1, 11.0)]),
        frame(2, None, [track(1, 12.0)]),
    ]
    data = evaluation_set([recording(frames)], COOPTRACK)
    assert data.frames.token == ("000000", "000001")
    assert data.truth.frame.tolist() == [0, 1] and data.predictions.frame.tolist() == [0]


def test_of_duplicate_ids_in_a_frame_the_first_is_kept() -> None:
    objects = [truth(5, 10.0), truth(6, 20.0), truth(5, 30.0)]
    data = evaluation_set([recording([frame(0, objects, [])])], COOPTRACK)
    assert data.truth.center_m[:, 0].tolist() == [10.0, 20.0]


def test_objects_without_an_id_are_different_ones() -> None:
    frames = [frame(n, [truth(0, 10.0), truth(0, 20.0)], []) for n in range(2)]
    data = evaluation_set([recording(frames)], COOPTRACK)
    assert len(set(data.truth.track.tolist())) == len(data.truth) == 4
    alone = evaluation_set([recording([frame(n, [truth(0, 10.0)], []) for n in range(2)])], COOPTRACK)
    assert alone.truth.track.tolist() == [0, 0]  # 000000 is an id like any other


def test_a_track_is_filled_between_its_sightings_in_the_map() -> None:
    objects = [
        [truth(1, 10.0, heading_rad=3.0, view="occluded"), truth(2, 5.0)], [], [], [truth(1, 7.0, heading_rad=-3.1)],
    ]  # fmt: skip
    frames = [frame(n, rows, [], T=pose(x_m=2.0 * n)) for n, rows in enumerate(objects)]
    data = evaluation_set([recording(frames)], COOPTRACK)
    own = data.truth.track == data.truth.track[0]
    assert data.truth.frame[own].tolist() == [0, 1, 2, 3] and (~own).sum() == 1
    assert data.truth.center_m[own, 0] == pytest.approx([10.0, 11.0, 12.0, 13.0])  # in the map: 10 to 6 + 7
    turn = 2 * np.pi - 6.1  # the shorter way round
    assert np.unwrap(data.truth.heading_rad[own]) == pytest.approx(3.0 + np.arange(4) * turn / 3)
    assert data.truth.velocity_mps[own][1:3] == pytest.approx(np.array([[10.0, 0.0]] * 2))
    assert data.truth.view[own].tolist() == [VIEW_OCCLUDED, VIEW_UNKNOWN, VIEW_UNKNOWN, VIEW_UNKNOWN]
    assert np.all(np.diff(data.truth.frame) >= 0)


def test_filling_follows_the_time_where_frames_are_missing() -> None:
    frames = [frame(0, [truth(1, 0.0)], []), frame(1, [], []), frame(4, [truth(1, 8.0)], [])]
    data = evaluation_set([recording(frames)], COOPTRACK)
    assert data.truth.center_m[:, 0] == pytest.approx([0.0, 2.0, 8.0])


def test_at_2_hz_the_first_frame_of_every_five_frame_numbers_counts() -> None:
    numbers = [9, 11, 12, 15, 16, 21, 23, 24, 30, 34]  # buckets begin at 9, 14, 19, 24, 29, 34
    data = evaluation_set([recording([frame(n, [truth(1, float(n))], []) for n in numbers])], UNIV2X)
    assert data.frames.token == ("000009", "000015", "000021", "000024", "000030", "000034")
    every = evaluation_set([recording([frame(n, [truth(1, float(n))], []) for n in numbers])], COOPTRACK)
    assert len(every.frames) == len(numbers)


def test_tracks_are_filled_over_the_frames_that_count() -> None:
    rows = [frame(n, [truth(1, float(n))] if n in (0, 10) else [truth(2, 1.0)], []) for n in range(11)]
    data = evaluation_set([recording(rows)], UNIV2X)
    first = data.truth.track == data.truth.track[0]
    assert data.truth.frame[first].tolist() == [0, 1, 2] and data.truth.center_m[first, 0].tolist() == [0.0, 5.0, 10.0]


def test_frames_without_numbers_are_counted_by_their_time() -> None:
    rows = [frame(n, [truth(1, 1.0)], []) | {"frame_id": "", "sequence_id": ""} for n in range(11)]
    data = evaluation_set([recording(rows)], UNIV2X)
    assert data.frames.timestamp_us.tolist() == [(START_NS + n * 100_000_000) // 1000 for n in (0, 5, 10)]
    assert len(set(data.frames.token)) == 3 and data.frames.scene_names == ("drive",)


def test_sequences_are_apart_and_ids_of_one_are_not_those_of_another() -> None:
    recordings = [
        recording([frame(0, [truth(1, 1.0)], [track(4, 1.0)], sequence=name)]) for name in ("0002", "0001")
    ]  # fmt: skip
    data = evaluation_set(recordings, COOPTRACK)
    assert data.frames.scene_names == ("0001", "0002") and data.frames.scene.tolist() == [0, 1]
    assert len(set(data.frames.token)) == 2  # the same frame id in both
    assert data.truth.track.tolist() == data.predictions.track.tolist() == [0, 1]


def test_other_classes_do_not_count_and_views_are_kept() -> None:
    objects = [truth(1, 1.0, view="outside"), truth(2, 2.0, **{"class": "traffic_cone"})]
    tracks = [track(1, 1.0, **{"class": "unknown"}), track(2, 2.0, **{"class": "pedestrian"})]
    data = evaluation_set([recording([frame(0, objects, tracks)])], COOPTRACK)
    assert data.truth.view.tolist() == [VIEW_OUTSIDE] and data.predictions.class_index.tolist() == [2]


@pytest.mark.parametrize(
    ("recordings", "says"),
    [
        ([recording([frame(0, None, [])])], "drive: /vehicle/ground_truth: no frame has any"),
        ([recording([frame(0, [], []), frame(0, [], [])])], "frame 000000 was tracked twice: the bag was played more"),
        ([recording([frame(0, [], [])]), recording([frame(0, [], [])])], "0001: two recordings of this sequence"),
        (
            [recording([frame(0, [], []) | {"T_map_from_lidar_truth": None}])],
            "T_map_from_lidar_truth: frame 000000 has ground truth without a pose; make the recording again",
        ),
    ],
)
def test_recordings_that_cannot_be_scored_are_one_line(recordings: list, says: str) -> None:
    with pytest.raises(CooptrackError, match=r"^[^\n]*$") as error:
        evaluation_set(recordings, COOPTRACK)
    assert says in str(error.value)


def test_conventions_say_what_they_are() -> None:
    assert COOPTRACK.describe() == "cooptrack (10 Hz, no label updates, tracks filled)"
    assert UNIV2X.describe("u.json") == "univ2x (2 Hz, label updates with cooperative deletions, tracks filled)"
    assert "without cooperative deletions" in COOPTRACK.describe("u.json")
    assert "the system at the full rate" in UNIV2X.describe(full_rate=True)
    with pytest.raises(CooptrackError, match="'kitti' is unknown; choose one of cooptrack, univ2x, 5hz"):
        convention_of("kitti")
