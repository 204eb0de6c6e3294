"""Synthetic pictures: both renderers see the same geometry, labels enclose what is seen, a missing EGL is named."""

from __future__ import annotations

import dataclasses
import resource
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import renderers
from cooptrack_core.data.synthetic.bodies import PHASES, body
from cooptrack_core.data.synthetic.catalog import KINDS, PALETTES
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.renderers import Picture
from cooptrack_core.data.synthetic.scene import SIDES, Placement, Scene, make_scene
from cooptrack_core.data.synthetic.sensors import View
from cooptrack_core.data.synthetic.visibility import Sight, sights, silhouette_box
from cooptrack_core.types import CooptrackError

OPTIONS = SceneOptions(seed=3, duration_s=2.0, renderer="none", width_px=192, height_px=108)
FRAME = 8


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(OPTIONS, 0)


def look(scene: Scene, name: str, side: str) -> tuple[View, list[Placement], Picture]:
    time_s, view = scene.image_time_s(side, FRAME), scene.view(side, FRAME)
    placements = scene.placements(time_s, without_ego=side == "vehicle") + scene.fixtures(time_s)
    return view, placements, renderers.create(name, scene).look(view, placements, time_s)


@pytest.fixture(scope="module")
def cast(scene: Scene) -> dict[str, tuple[View, list[Placement], Picture]]:
    return {side: look(scene, "rays", side) for side in SIDES}


def test_another_context_in_the_process_does_not_change_a_picture(scene: Scene) -> None:
    if renderers.egl_problem() is not None:
        assert renderers.choose("auto")[0] == "rays"
        return
    time_s, view = scene.image_time_s("vehicle", FRAME), scene.view("vehicle", FRAME)
    placements = scene.placements(time_s, without_ego=True) + scene.fixtures(time_s)
    renderer = renderers.create("egl", scene)
    first = renderer.look(view, placements, time_s)
    renderers.egl_problem()  # makes a context of its own, and lets it go
    second = renderer.look(view, placements, time_s)
    assert first.rgb is not None and second.rgb is not None
    assert np.array_equal(first.ids, second.ids) and np.array_equal(first.rgb, second.rgb)


def resident_mb() -> float:
    """Of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def test_drawing_sequence_after_sequence_takes_no_more_memory(scene: Scene) -> None:
    """Shadow maps and targets of a sequence, 60 MB, go before the next one: a benchmark has hundreds of them."""
    if renderers.egl_problem() is not None:
        assert renderers.choose("auto")[0] == "rays"
        return
    for _ in range(3):
        renderers.create("egl", scene)
    before_mb = resident_mb()
    for _ in range(5):
        renderers.create("egl", scene)
    assert resident_mb() < before_mb + 100.0


def test_renderers_agree_on_what_is_where(scene: Scene, cast: dict[str, tuple[View, list[Placement], Picture]]) -> None:
    if renderers.egl_problem() is not None:  # this machine draws with rays, and says so
        name, line = renderers.choose("auto")
        assert name == "rays"
        assert renderers.EGL_LINE in line
        return
    for side in SIDES:
        rays, drawn = cast[side][2], look(scene, "egl", side)[2]
        assert (rays.ids == drawn.ids).mean() > 0.995
        for index, count in drawn.visible_px.items():
            if count > 60:
                a, b = rays.ids == index + 1, drawn.ids == index + 1
                assert (a & b).sum() / (a | b).sum() > 0.93
        for index, count in drawn.unoccluded_px.items():
            assert rays.unoccluded_px.get(index, 0) == pytest.approx(count, abs=3 + 0.03 * count)
        assert drawn.rgb is not None
        assert drawn.rgb.shape == (108, 192, 3)
        assert drawn.rgb.std() > 25


@pytest.mark.parametrize("side", SIDES)
def test_box_of_a_label_encloses_the_pixels_of_its_road_user(
    side: str, cast: dict[str, tuple[View, list[Placement], Picture]]
) -> None:
    view, placements, picture = cast[side]
    found = sights(view, placements, picture)
    checked = 0
    for index, sight in found.items():
        rows, columns = np.nonzero(picture.ids == index + 1)
        if len(rows):
            checked += 1
            x0, y0, x1, y1 = sight.box_px
            assert x0 <= columns.min()
            assert columns.max() <= x1
            assert y0 <= rows.min()
            assert rows.max() <= y1
        assert sight.visible_px == len(rows)
        assert sight.visible_px <= sight.unoccluded_px
    assert checked >= 5


def test_boxes_are_tight_around_what_is_not_hidden(cast: dict[str, tuple[View, list[Placement], Picture]]) -> None:
    view, placements, picture = cast["infrastructure"]
    for index, sight in sights(view, placements, picture).items():
        if sight.fraction == 1.0 and sight.truncated_state == 0 and sight.visible_px > 80:
            rows, columns = np.nonzero(picture.ids == index + 1)
            edges = (columns.min(), rows.min(), columns.max(), rows.max())
            assert np.abs(np.array(sight.box_px) - edges).max() <= 1.6


def test_something_hides_something(cast: dict[str, tuple[View, list[Placement], Picture]]) -> None:
    view, placements, picture = cast["vehicle"]
    views = [s.view for s in sights(view, placements, picture).values()]
    assert "visible" in views
    assert "occluded" in views


def test_view_and_states_follow_the_pixel_counts() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    assert Sight(0, 0, box, 0).view == "outside"
    assert Sight(9, 100, box, 0).view == "occluded"
    assert Sight(10, 100, box, 0).view == "visible"
    assert [Sight(n, 100, box, 0).occluded_state for n in (100, 96, 95, 50, 49, 12)] == [0, 0, 1, 1, 2, 2]


def test_road_user_cut_by_the_border_is_truncated(scene: Scene) -> None:
    view = scene.view("infrastructure", 0)

    def state(x_px: float, y_px: float) -> int:
        """Of a sedan 25 m from the camera whose middle projects there."""
        ray = np.linalg.inv(view.K) @ [x_px, y_px, 1.0] * 25.0
        T_scene_from_camera = np.linalg.inv(view.T_camera_from_scene)
        T = np.eye(4)
        T[:3, 3] = T_scene_from_camera[:3, :3] @ ray + T_scene_from_camera[:3, 3]
        return silhouette_box(view, Placement(0, "sedan", 0, T, (1.0, 1.0, 1.0), False))[1]

    assert state(96, 54) == 0
    assert state(0, 54) == state(191, 54) == 1
    assert state(96, 107) == 2


def test_every_kind_has_a_mesh_of_its_size_and_the_kinds_differ() -> None:
    for name, kind in KINDS.items():
        points: list[NDArray[np.float64]] = [body(name, phase).points_m for phase in range(PHASES)]
        low, high = np.min([p.min(axis=0) for p in points], axis=0), np.max([p.max(axis=0) for p in points], axis=0)
        assert high - low == pytest.approx(kind.size_m, abs=1e-4)
        assert low[2] == pytest.approx(0.0, abs=1e-5)
        assert kind.colours in PALETTES
    assert len({len(body(name).vertices) for name in KINDS}) >= len(KINDS) - 4


def test_walkers_move_their_legs() -> None:
    assert not np.array_equal(body("adult", 0).vertices, body("adult", 2).vertices)


def test_visibility_without_pictures_counts_in_pixels_of_the_full_image(scene: Scene) -> None:
    large = dataclasses.replace(OPTIONS, width_px=1280, height_px=720)
    wide = dataclasses.replace(scene, options=large, rig=make_scene(large, 0).rig)
    fine, coarse = look(wide, "rays", "infrastructure")[2], look(wide, "none", "infrastructure")[2]
    assert coarse.rgb is None
    big = {i: n for i, n in fine.visible_px.items() if n > 2000}
    assert big
    for index, count in big.items():
        assert coarse.visible_px[index] == pytest.approx(count, rel=0.05)


def test_asking_for_egl_where_it_is_missing_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderers, "egl_problem", lambda: "EGL does not start (no libEGL.so)")
    with pytest.raises(CooptrackError, match="sudo apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri"):
        renderers.choose("egl")
    name, line = renderers.choose("auto")
    assert name == "rays"
    assert "no libEGL.so" in line
    assert "sudo apt-get install" in line
    assert "\n" not in line
