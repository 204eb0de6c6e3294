"""Label parsing against numbers that the data specification prints."""

from __future__ import annotations

import numpy as np
import pytest

from cooptrack_core.data.labels import parse_labels
from cooptrack_core.geometry.boxes import corners

BOX = {
    "type": "Car", "track_id": "002762", "truncated_state": 0, "occluded_state": 2, "alpha": -1.364216,
    "2d_box": {"xmin": 865.51, "ymin": 567.81, "xmax": 928.40, "ymax": 615.92},
    "3d_dimensions": {"l": 4.251301, "w": 1.8234, "h": 1.570357},
    "3d_location": {"x": 27.07514, "y": 4.712578, "z": -0.922006},
    "rotation": -0.034323, "from_side": "veh",
}  # fmt: skip


def test_public_box_is_gravity_centred_length_width_height_and_counter_clockwise() -> None:
    labels = parse_labels([BOX], "000009.json")
    boxes = labels.instances
    np.testing.assert_array_equal(boxes.center_m, [[27.07514, 4.712578, -0.922006]])
    np.testing.assert_array_equal(boxes.size_m, [[4.251301, 1.8234, 1.570357]])
    np.testing.assert_allclose(boxes.heading_rad, [-0.034323])
    assert (boxes.class_id[0], boxes.instance_id[0]) == (0, 2762)
    assert (labels.from_side, labels.track_id) == (("veh",), ("002762",))
    # The stored observation angle says the same about the meaning of rotation: atan2(y, x) - rotation - pi/2.
    x, y, _ = boxes.center_m[0]
    assert np.arctan2(y, x) - boxes.heading_rad[0] - np.pi / 2 == pytest.approx(BOX["alpha"], abs=2e-3)


def test_corners_in_the_order_of_world_8_points_give_back_the_box() -> None:
    points = corners([2697.0, 1664.7, 20.6], [4.39, 1.775, 1.511], -1.0)[0]
    boxes = parse_labels([{"type": "car", "world_8_points": points.tolist(), "rotation": 0.019}], "x.json").instances
    np.testing.assert_allclose(boxes.center_m, [[2697.0, 1664.7, 20.6]])
    np.testing.assert_allclose(boxes.size_m, [[4.39, 1.775, 1.511]])
    np.testing.assert_allclose(boxes.heading_rad, [-1.0])


def test_file_without_objects_is_an_empty_frame() -> None:
    labels = parse_labels([], "x.json")
    assert (len(labels), labels.instances.center_m.shape, labels.box_2d_px.shape) == (0, (0, 3), (0, 4))


def test_selecting_rows_keeps_all_columns_together() -> None:
    rows = [BOX | {"track_id": f"{i:06d}", "rotation": 0.1 * i} for i in range(4)]
    chosen = parse_labels(rows, "x.json").select([3, 1])
    assert chosen.track_id == ("000003", "000001")
    np.testing.assert_allclose(chosen.instances.heading_rad, [0.3, 0.1])
    assert [row["track_id"] for row in chosen.raw] == ["000003", "000001"]


def test_heading_is_wrapped() -> None:
    assert parse_labels([BOX | {"rotation": 4.0}], "x.json").instances.heading_rad[0] == pytest.approx(4.0 - 2 * np.pi)
