"""Guarantees of the association and tracking figures: places, colours, and runs of which something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figure_recordings import tracks_at
from matplotlib.colors import to_hex
from visualization_recording import FakeWorld

from cooptrack_core.evaluation.plots import save_figure
from cooptrack_core.visualization import print_palette as colors
from cooptrack_core.visualization.association_figure import association_figure
from cooptrack_core.visualization.figures import frame_words
from cooptrack_core.visualization.label_places import LabelPlaces
from cooptrack_core.visualization.scene import build_scene
from cooptrack_core.visualization.track_colors import track_colors
from cooptrack_core.visualization.tracking_figure import tracking_figure


@pytest.fixture(scope="module")
def world() -> FakeWorld:
    return FakeWorld(frames=4, road_users=14)


def no_image(agent: str, stamp_ns: int) -> None:
    return None


def texts(figure: Any) -> list[str]:
    """Everything that is written on a figure."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts] + [
            axes.get_title("left"),
            axes.get_xlabel(),
            axes.get_ylabel(),
        ]
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    return [text for text in found if text]


def outlines(axes: Any, color: str) -> list[Any]:
    """[4, 2] of the boxes outlined in a colour."""
    return [
        patch.get_xy()[:4]
        for patch in axes.patches
        if not patch.get_fill() and to_hex(patch.get_edgecolor()) == color and len(patch.get_xy()) == 5
    ]


def with_frame(world: FakeWorld, **changes: Any) -> dict[str, Any]:
    """A recording of one frame."""
    recording = world.recording()
    return {**recording, "frames": [{**recording["frames"][0], **changes}]}


def associated(world: FakeWorld) -> dict[str, Any]:
    links = {
        "pairs": [
            {
                "agent": "rsu", "ego_index": 0, "instance_index": 0, "affinity": 0.9, "track_id": 3,
                "ego_center_m": [20.0, 5.0, -1.0], "remote_center_m": [21.0, 4.0, -1.0],
            }
        ],
        "unmatched_ego": [{"index": 1, "track_id": 4, "center_m": [10.0, -8.0, -1.0]}],
        "unmatched_remote": [{"agent": "rsu", "instance_index": 1, "track_id": 5, "center_m": [-15.0, 2.0, -1.0]}],
    }  # fmt: skip
    return with_frame(world, associations=links, tracks=[], ground_truth=[])


def line_points(axes: Any, color: str, length: int) -> list[Any]:
    return [
        np.stack(line.get_data(), -1) for line in axes.lines
        if to_hex(line.get_color()) == color and len(line.get_xdata()) == length
    ]  # fmt: skip


def test_a_pair_is_joined_by_a_line_in_the_colour_of_its_id(world: FakeWorld) -> None:
    scene = build_scene(associated(world))
    axes = association_figure(scene, 0).axes[0]
    # The plan has x to the right and y ahead; the lidar frame has x ahead and y to the left.
    joined = line_points(axes, track_colors(scene)[3], 2)
    assert len(joined) == 1
    assert joined[0] == pytest.approx(np.array([[-5.0, 20.0], [-4.0, 21.0]]), abs=1e-6)


def test_unmatched_instances_are_blue_and_green_at_their_places(world: FakeWorld) -> None:
    axes = association_figure(build_scene(associated(world)), 0).axes[0]
    blue, green = line_points(axes, colors.EGO, 1), line_points(axes, colors.REMOTE, 1)
    assert any(point == pytest.approx(np.array([[8.0, 10.0]]), abs=1e-6) for point in blue)
    assert any(point == pytest.approx(np.array([[-2.0, -15.0]]), abs=1e-6) for point in green)


def test_the_legend_counts_what_is_shown(world: FakeWorld) -> None:
    written = texts(association_figure(build_scene(associated(world)), 0))
    assert "unmatched, vehicle: 1" in written and "unmatched, roadside: 1" in written
    assert any(text.startswith("associated") and text.endswith(": 1") for text in written)
    assert "to the right (m)" in written and "ahead (m)" in written and "20 m" in written


def test_no_track_has_a_colour_that_means_something_else() -> None:
    assert len(set(colors.TRACKS)) == len(colors.TRACKS)
    others = {colors.EGO, colors.REMOTE, colors.QUIET_REMOTE, colors.TRUTH, colors.FAINT_TRUTH, colors.MUTED}
    assert not set(colors.TRACKS) & others


def test_a_track_keeps_its_colour_over_frames_and_figures(world: FakeWorld) -> None:
    recording = world.recording()
    for index, row in enumerate(recording["frames"]):
        row["tracks"] = [{**row["tracks"][0], "id": 42, "center_m": [15.0 + index, 0.0, -1.0]}]
        row["ground_truth"] = []
    scene = build_scene(recording)
    color = track_colors(scene)[42]
    for index in range(len(scene.frames)):
        camera, _, plan = tracking_figure(scene, index, world.image).axes
        (outline,) = outlines(plan, color)
        assert outline.mean(axis=0) == pytest.approx([0.0, 15.0 + index], abs=1e-6)
        drawn = {to_hex(c) for item in camera.collections for c in item.get_edgecolor()}
        assert drawn == {color, "#ffffff"}


def test_tracks_that_meet_differ_in_colour_whatever_their_ids(world: FakeWorld) -> None:
    many = len(colors.TRACKS)
    ids = [1 + k * many for k in range(many)]  # all the same modulo the number of colours
    scene = build_scene(tracks_at(world, {k: (3.0 * i, 0.0) for i, k in enumerate(ids)}))
    assert sorted(track_colors(scene).values()) == sorted(colors.TRACKS)


def test_with_more_tracks_than_colours_only_distant_ones_share_one(world: FakeWorld) -> None:
    at = {k: (4.0 * (k % 6), 5.0 * (k // 6)) for k in range(1, 31)}
    chosen = track_colors(build_scene(tracks_at(world, at)))
    alike = [np.hypot(*np.subtract(at[a], at[b])) for a in at for b in at if a < b and chosen[a] == chosen[b]]
    assert alike and min(alike) > 8.0


def test_a_later_frame_does_not_change_the_colours_of_earlier_tracks(world: FakeWorld) -> None:
    first, second = {1: (10.0, 0.0), 2: (14.0, 0.0)}, {3: (10.0, 3.0), 2: (15.0, 0.0)}
    short, long = (track_colors(build_scene(tracks_at(world, *f))) for f in ([first], [first, second]))
    assert long | short == long and set(long) == {1, 2, 3}
    assert track_colors(build_scene(tracks_at(world, first, second))) == long


def test_ground_truth_is_outlined_in_green_where_it_is(world: FakeWorld) -> None:
    box = {**world.recording()["frames"][0]["ground_truth"][0], "center_m": [12.0, -7.0, -1.0], "heading_rad": 0.0}
    scene = build_scene(with_frame(world, tracks=[], ground_truth=[box]))
    (outline,) = outlines(tracking_figure(scene, 0, world.image).axes[-1], colors.TRUTH)
    assert outline.mean(axis=0) == pytest.approx([7.0, 12.0], abs=1e-6)
    length, width = box["size_m"][:2]
    assert np.ptp(outline, axis=0) == pytest.approx([width, length], abs=1e-6)


def test_nothing_but_ground_truth_is_green_in_tracking_figures(world: FakeWorld) -> None:
    plan = tracking_figure(build_scene(with_frame(world, ground_truth=[])), 0, None).axes[0]
    drawn = [to_hex(patch.get_edgecolor()) for patch in plan.patches] + [
        to_hex(line.get_color()) for line in plan.lines
    ]
    assert colors.TRUTH not in drawn and colors.QUIET_REMOTE in drawn


def test_numbers_of_unmatched_tracks_are_those_of_the_tracking_figure(world: FakeWorld) -> None:
    scene = build_scene(associated(world))
    written = [text for text in association_figure(scene, 0).axes[0].texts if text.get_text() in {"3", "4", "5"}]
    assert {text.get_text(): to_hex(text.get_color()) for text in written} == {
        "3": track_colors(scene)[3], "4": colors.MUTED, "5": colors.MUTED,
    }  # fmt: skip


def test_an_instance_without_a_track_has_neither_number_nor_box(world: FakeWorld) -> None:
    recording = associated(world)
    links = recording["frames"][0]["associations"]
    for row in (*links["pairs"], *links["unmatched_ego"], *links["unmatched_remote"]):
        row["track_id"] = 0
    axes = association_figure(build_scene(recording), 0).axes[0]
    assert "0" not in [text.get_text() for text in axes.texts]
    assert not [patch for patch in axes.patches if len(patch.get_xy()) == 5]


def test_the_field_of_view_begins_at_the_camera(world: FakeWorld) -> None:
    scene = build_scene(world.recording())
    axes = association_figure(scene, 0, range_m=100.0).axes[0]
    views = {to_hex(p.get_edgecolor()): p.get_xy() for p in axes.patches if not p.get_fill() and len(p.get_xy()) > 5}
    x, y = scene.roadside_position("rsu")[:2] - scene.frames[0].T_world_from_lidar[:2, 3]
    # The vehicle heads north, so x is to its right; its image is taken 0.1 s later, 0.5 m further.
    for color, camera in ((colors.EGO, (0.0, 0.5)), (colors.REMOTE, (x, y))):
        assert np.hypot(*(views[color] - camera).T).min() < 0.01


def test_a_vehicle_alone_is_shown_without_the_roadside(world: FakeWorld) -> None:
    scene = build_scene({**world.recording(), "mode": "ego"})
    figure = tracking_figure(scene, 0, world.image)
    assert len(figure.axes) == 2  # its own image and the plan
    assert not [text for text in texts(figure) if "roadside" in text or "rsu" in text]


def test_a_track_cut_off_by_the_edge_is_numbered_inside(world: FakeWorld) -> None:
    scene = build_scene(tracks_at(world, {77: (31.0, 0.0), 78: (40.0, 0.0)}))
    axes = tracking_figure(scene, 0, None, range_m=30.0).axes[0]
    (number,) = [text for text in axes.texts if text.get_text() in {"77", "78"}]
    assert number.get_text() == "77" and max(np.abs(number.get_position())) < 30.0


def test_range_and_roadside_signs_cover_no_box(world: FakeWorld) -> None:
    scene = build_scene(world.recording())
    roadside = scene.roadside_position("rsu")[:2] - scene.frames[0].T_world_from_lidar[:2, 3]
    x, y = 29.0 * roadside / np.abs(roadside).max()
    diagonal = 20.0 * np.sqrt(0.5)
    scene = build_scene(tracks_at(world, {1: (-diagonal, diagonal), 2: (y, -x)}))  # where the signs would be
    axes = tracking_figure(scene, 0, None, range_m=30.0).axes[0]
    boxes = [p.get_xy()[:4] for p in axes.patches if not p.get_fill() and to_hex(p.get_edgecolor()) in colors.TRACKS]
    (ring,) = [np.array(text.get_position()) for text in axes.texts if text.get_text() == "20 m"]
    (marker,) = line_points(axes, colors.QUIET_REMOTE, 1)
    assert len(boxes) == 2
    for box in boxes:
        for sign in (ring, marker[0]):
            assert np.any((sign < box.min(axis=0)) | (sign > box.max(axis=0)))


def test_a_run_without_ground_truth_shows_none(world: FakeWorld) -> None:
    scene = build_scene(with_frame(world, ground_truth=[], has_ground_truth=False))
    assert not outlines(tracking_figure(scene, 0, world.image).axes[-1], colors.TRUTH)
    assert not outlines(association_figure(scene, 0).axes[0], colors.FAINT_TRUTH)


def test_an_empty_frame_is_drawn(world: FakeWorld) -> None:
    nothing: dict[str, Any] = {"pairs": [], "unmatched_ego": [], "unmatched_remote": []}
    recording = with_frame(world, tracks=[], ground_truth=[], associations=nothing, messages=[], images={})
    scene = build_scene(recording)
    assert "unmatched, roadside: 0" in texts(association_figure(scene, 0))
    written = texts(tracking_figure(scene, 0, no_image))
    assert written.count("no image of this frame") == 2
    assert "no message used" in frame_words(recording, scene, 0)


def test_the_heading_says_what_run_and_frame_it_is(world: FakeWorld) -> None:
    recording = {**world.recording(), "channel": {"disturbance": "delay 200 ms, seed 0"}}
    words = frame_words(recording, build_scene(recording), 2, "synthetic data")
    assert words == (
        "sequence 0000, frame 000002, t = 0.2 s; late fusion, simulated detector; disturbed: delay 200 ms, seed 0; "
        "synthetic data; roadside 47 ms older"
    )


def test_a_frame_whose_image_is_missing_says_so_in_its_place(world: FakeWorld) -> None:
    scene = build_scene(world.recording())
    only_roadside = tracking_figure(
        scene, 0, lambda agent, stamp: world.image(agent, stamp) if agent == "rsu" else None
    )
    assert len(only_roadside.axes) == 3
    assert texts(only_roadside).count("no image of this frame") == 1


def test_a_run_without_images_is_drawn_as_a_plan_alone(world: FakeWorld) -> None:
    figure = tracking_figure(build_scene(world.recording()), 0, None)
    assert len(figure.axes) == 1 and figure.axes[0].get_xlabel() == "to the right (m)"
    without_cameras = {**world.recording(), "cameras": {}}
    assert len(tracking_figure(build_scene(without_cameras), 0, no_image).axes) == 1
    assert len(association_figure(build_scene(without_cameras), 0).axes) == 1


def test_a_roadside_unit_out_of_reach_is_shown_at_the_edge_with_its_distance(world: FakeWorld) -> None:
    scene = build_scene(world.recording())
    near, far = (texts(association_figure(scene, 0, range_m=reach)) for reach in (100.0, 20.0))
    assert "rsu" in near and not any("away" in text for text in near)
    offset = scene.roadside_position("rsu")[:2] - scene.frames[0].T_world_from_lidar[:2, 3]
    assert f"rsu, {np.hypot(*offset):.0f} m away" in far


def test_the_same_frame_gives_the_same_file(world: FakeWorld, tmp_path: Path) -> None:
    scene = build_scene(world.recording())
    paths = [save_figure(tracking_figure(scene, 1, world.image, "x"), tmp_path / f"{k}.png") for k in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_labels_do_not_cover_each_other_or_what_they_name() -> None:
    places = LabelPlaces((-50.0, -50.0, 50.0, 50.0), 0.8)
    points = np.array([[3.0 * (k % 3), 8.0 * (k // 3)] for k in range(12)])
    places.occupy(points, 0.5)
    centers = np.array([places.place(point, (2.0, 1.5))[0] for point in points])
    for k, center in enumerate(centers):
        assert not np.any(np.all(np.abs(center - points) < [1.5 - 1e-9, 1.25 - 1e-9], axis=1))
        others = np.delete(centers, k, axis=0)
        assert not np.any(np.all(np.abs(center - others) < [2.0 - 1e-9, 1.5 - 1e-9], axis=1))


def test_labels_stay_inside() -> None:
    places = LabelPlaces((0.0, 0.0, 100.0, 60.0), 1.0)
    for corner in ((0, 0), (100, 0), (0, 60), (100, 60), (150, -20)):
        center, _ = places.place(corner, (10.0, 4.0))
        assert np.all(center >= [5, 2]) and np.all(center <= [95, 58])
