"""CoopSynth: sound recordings, val sites unlike train sites, the same dataset from parts as from one call."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cooptrack_core.cli import main
from cooptrack_core.data.synthetic.catalog import KINDS, WALKERS
from cooptrack_core.data.synthetic.coopsynth import plan
from cooptrack_core.data.synthetic.coopsynth.ground import clip_ears
from cooptrack_core.data.synthetic.coopsynth.site import (
    SIDEWALK,
    Site,
    load_site,
    load_window,
    pack_motion,
    unpack_motion,
)
from cooptrack_core.data.synthetic.coopsynth.weather import MIX, develop, kind_of, weather_of
from cooptrack_core.data.synthetic.generate import MARKER, generate
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.scene import make_scene
from cooptrack_core.data.synthetic.selection import overlap_count
from cooptrack_core.data.synthetic.statistics import table
from cooptrack_core.data.synthetic.visibility import may_appear, near_view
from cooptrack_core.data.synthetic.writer import split_of_sequences
from cooptrack_core.data.validate import validate

SITES = range(plan.SITES)
VAL = range(plan.TRAIN_SITES, plan.TRAIN_SITES + plan.VAL_SITES)
TEST = range(plan.V1_SITES - plan.TEST_SITES, plan.V1_SITES)
MORE = range(plan.V1_SITES, plan.SITES)
SLICE = SceneOptions(
    seed=1, benchmark="coopsynth-v1", every=120, renderer="none", width_px=320, height_px=180, point_clouds="none"
)


def digests(root: Path) -> dict[str, str]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def load(path: Path) -> Any:
    return json.loads(path.read_bytes())


@pytest.fixture(scope="module", autouse=True)
def short_sequences() -> Iterator[None]:
    """Sequences of three pairs, which need no other recordings than the long ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "TRAIN_S", 0.3)
        patch.setattr(plan, "VAL_S", 0.3)
        patch.setattr(plan, "TEST_S", 0.3)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "coopsynth"
    assert generate(root, SLICE, jobs=1) is not None
    return root


def test_every_n_th_sequence_is_a_valid_dataset_with_both_splits(whole: Path) -> None:
    assert validate(whole, metadata_only=True).defects == []
    split = load(whole / "cooperative-split-data-spd.json")["batch_split"]
    assert (len(split["train"]), len(split["val"])) == (2, 1)
    assert not set(split["train"]) & set(split["val"])
    assert [s["split"] for s in load(whole / MARKER)["sequences"]] == ["train", "train", "val"]


def test_parts_in_any_order_give_the_same_bytes_as_one_call(whole: Path, tmp_path: Path) -> None:
    root = tmp_path / "parts"
    for part in ((3, 3), (1, 3)):
        assert generate(root, SLICE, jobs=1, shard=part) is None
        assert not (root / MARKER).exists()
    assert generate(root, SLICE, jobs=1, shard=(2, 3)) is not None
    assert digests(root) == digests(whole)


def test_ids_do_not_depend_on_how_many_sequences_are_made() -> None:
    assert [SLICE.first_frame_of(n) for n in SLICE.numbers] == [0, 360, 720]
    assert replace(SLICE, every=1).first_frame_of(240) == 720
    assert len(replace(SLICE, every=1).numbers) == 255
    fewer = replace(SLICE, every=1, train_every=4).numbers
    assert list(fewer) == [*range(0, 240, 4), *range(240, 255)]


def test_test_sequences_are_a_dataset_of_their_own_at_sites_of_their_own(tmp_path: Path) -> None:
    options = replace(SLICE, benchmark="coopsynth-v1-test", every=10)
    assert generate(tmp_path / "test", options, jobs=1) is not None
    assert validate(tmp_path / "test", metadata_only=True).defects == []
    split = load(tmp_path / "test" / "cooperative-split-data-spd.json")["batch_split"]
    assert len(split["test"]) == 3 and split["train"] == split["val"] == []
    rows = load(tmp_path / "test" / MARKER)["sequences"]
    assert [(row["split"], int(row["site"])) for row in rows] == [("test", 21), ("test", 24), ("test", 27)]
    everything = replace(options, every=1).numbers
    assert list(everything) == list(range(255, 285))
    assert options.first_frame_of(255) == 255 * 3 and options.first_frame_of(256) == 256 * 3


def test_ids_of_test_sequences_are_in_no_other_split() -> None:
    ids, lists = split_of_sequences(replace(SLICE, benchmark="coopsynth-v1-test", every=1))
    v1, others = split_of_sequences(replace(SLICE, every=1))
    assert ids[:255] == v1 and len(set(ids)) == len(ids) == 285
    assert set(lists["test"]).isdisjoint(others["train"] + others["val"]) and len(lists["test"]) == 30


def test_second_version_adds_train_sequences_and_changes_no_other_split() -> None:
    v1, v2 = replace(SLICE, every=1), replace(SLICE, benchmark="coopsynth-v2", every=1)
    (ids, lists), (more_ids, more_lists) = split_of_sequences(v1), split_of_sequences(v2)
    _, test_lists = split_of_sequences(replace(v1, benchmark="coopsynth-v1-test"))
    assert more_ids[: len(ids)] == ids and more_lists["val"] == lists["val"] and more_lists["test"] == []
    assert more_lists["train"][:240] == lists["train"] and len(more_lists["train"]) == 240 + 384
    assert len(set(more_ids)) == len(more_ids) and set(more_lists["train"]).isdisjoint(test_lists["test"])
    assert [v2.first_frame_of(n) for n in v1.numbers] == [v1.first_frame_of(n) for n in v1.numbers]
    frames = [range(v2.first_frame_of(n), v2.first_frame_of(n) + v2.frames_of(n)) for n in range(v2.total)]
    assert all(a.stop == b.start for a, b in pairwise(frames)), "no two sequences share a frame"
    assert {plan.sequence_plan(n).site for n in v2.numbers if n not in v1.numbers} == set(MORE)
    assert len(replace(v2, train_every=4).numbers) == 624 // 4 + 15


def test_rendered_pictures_carry_the_weather(tmp_path: Path) -> None:
    options = replace(SLICE, renderer="rays", width_px=128, height_px=72)
    assert generate(tmp_path / "p", options, jobs=1, shard=(1, 3)) is None
    images = sorted((tmp_path / "p").glob("*-side/image/*.jpg"))
    assert [p.name for p in images] == [
        "002000.jpg",
        "002001.jpg",
        "002002.jpg",
        "000000.jpg",
        "000001.jpg",
        "000002.jpg",
    ]
    assert all(cv2.imread(str(p)).shape == (72, 128, 3) and cv2.imread(str(p)).std() > 10 for p in images)
    plain = np.full((72, 128, 3), 90, np.uint8)
    weather = replace(weather_of(0), noise=3.0)
    assert np.array_equal(develop(plain, weather, (1, 2)), develop(plain, weather, (1, 2)))
    assert 1.5 < float(develop(plain, weather, (1, 2)).std()) < 8.0


def test_table_counts_each_label_in_range_once(whole: Path) -> None:
    content = load(whole / MARKER)
    rows = content["table"]["train"]
    assert rows["pairs"] == 6 and rows["sequences"] == 2
    shares = [v for k, v in rows.items() if k.startswith("car: ") and k not in ("car: tracks", "car: labels in range")]
    assert sum(shares) == pytest.approx(1.0, abs=0.005)
    for start in ("pairs with", "car distance", "car speed", "ego speed"):
        assert sum(v for k, v in rows.items() if k.startswith(start)) == pytest.approx(1.0, abs=0.005)
    assert "car: labels in range" in table(content)


def signature(site: Site) -> tuple[int, Counter[tuple[int, int, bool]], list[float]]:
    """Arms, lanes of each kind and the angles between the arms."""
    ends = [
        next(k.centre_m[0] for k in site.lanes if k.arm == a and k.inbound and k.kind == SIDEWALK)
        for a in range(site.arms)
    ]
    angle = np.sort(np.arctan2(*np.array(ends).T[::-1]))
    gaps = np.diff(np.append(angle, angle[0] + 2 * np.pi))
    return site.arms, Counter((k.kind, k.arm, k.inbound) for k in site.lanes), sorted(gaps.tolist())


def test_layouts_differ_and_none_of_val_or_test_occurs_elsewhere() -> None:
    found = [signature(load_site(n)) for n in SITES]
    for i in SITES:
        for j in range(i):
            same_arms = found[i][0] == found[j][0]
            turned = same_arms and np.abs(np.subtract(found[i][2], found[j][2])).max() > np.deg2rad(1.0)
            assert not same_arms or turned or found[i][1] != found[j][1], (i, j)
    assert {f[0] for f in found} == {3, 4}


def test_all_lights_densities_and_manoeuvres_are_trained_on() -> None:
    assert {kind_of(n) for n in range(plan.TRAIN_SEQUENCES)} == {*MIX, "night"}
    for sites in (range(plan.TRAIN_SITES), VAL, TEST, MORE):
        windows = [w for n in sites for w in load_site(n).windows]
        assert {w["manoeuvre"] for w in windows} == {"through", "left", "right"}
        assert {w["density"] for w in windows} == {"light", "medium", "dense"}
        assert {w["pole"] for w in windows} == {0, 1, 2}


def test_poles_stand_beside_the_road_at_different_heights() -> None:
    poles = [(load_site(n), p) for n in SITES for p in load_site(n).poles]
    heights = [p.height_m for _, p in poles]
    assert min(heights) >= 5.4 and max(heights) <= 8.6 and np.std(heights) > 0.5
    for site, p in poles:
        for lane in (k for k in site.lanes if k.kind != SIDEWALK):
            gap = np.hypot(*(lane.centre_m - (p.x_m, p.y_m)).T).min()
            assert gap > 0.5 * lane.width_m


def test_recorded_vehicles_keep_to_the_road_that_is_drawn() -> None:
    for number in SITES:
        site, outside, count = load_site(number), 0, 0
        lines = [k for k in site.lanes if k.kind != SIDEWALK]
        pieces = [(a, b, k.width_m) for k in lines for a, b in pairwise(k.centre_m)]
        points = np.concatenate([np.linspace(a, b, 6) for a, b, _ in pieces])
        widths = np.repeat([w for _, _, w in pieces], 6)
        junction = site.junction_m.astype(np.float32)[:, None]
        for kind, parked, _, xyh in load_window(number, 1).tracks:
            if kind in WALKERS or parked or "icycle" in KINDS[kind].raw_type:
                continue
            for x, y, _ in xyh[::10]:
                if cv2.pointPolygonTest(junction, (float(x), float(y)), False) >= 0:
                    continue
                count += 1
                outside += not bool((np.hypot(points[:, 0] - x, points[:, 1] - y) < widths / 2 + 1.2).any())
        assert count > 20 and outside <= 0.01 * count, (number, outside, count)


def test_recorded_wheels_do_not_slide_sideways() -> None:
    for number in SITES:
        for kind, parked, _, xyh in load_window(number, 0).tracks:
            if kind in WALKERS or parked:
                continue
            reach = 0.28 * KINDS[kind].size_m[0]
            rear = xyh[:, :2] - reach * np.stack([np.cos(xyh[:, 2]), np.sin(xyh[:, 2])], axis=1)
            step, middle = np.diff(rear, axis=0), 0.5 * (xyh[1:, 2] + xyh[:-1, 2])
            sideways = np.abs(-np.sin(middle) * step[:, 0] + np.cos(middle) * step[:, 1])
            assert sideways.max() < 0.06, (number, kind)  # m in a tenth of a second


def test_nobody_drives_through_anybody() -> None:
    for number in range(0, plan.V1_SEQUENCES + plan.MORE_SEQUENCES, 13):
        scene = make_scene(SLICE, number)
        assert sum(overlap_count(scene.users, t) for t in (0.0, 0.9, 1.8)) == 0, number
        assert scene.ego.plan.kind.raw_type == "Car" and scene.ego.exists(-0.5) and scene.ego.exists(2.9)


def test_motion_survives_packing_to_half_a_millimetre() -> None:
    rng = np.random.default_rng(3)
    xyh = np.cumsum(rng.normal(0, [1.0, 1.0, 0.02], (120, 3)), axis=0)
    assert np.abs(unpack_motion(pack_motion(xyh)) - xyh).max() <= 5.1e-4


def test_polygon_is_cut_into_triangles_of_the_same_area() -> None:
    corner = np.array([(0, 0), (4, 0), (4, 1), (1, 1), (1, 3), (0, 3)], float)
    for polygon in (corner, corner[::-1]):
        triangles = [polygon[list(t)] for t in clip_ears(polygon)]
        areas = [0.5 * ((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]) for a, b, c in triangles]
        assert len(areas) == 4 and min(areas) > 0 and sum(areas) == pytest.approx(6.0)


def test_sieve_before_the_projection_loses_nobody_in_view() -> None:
    scene = make_scene(SLICE, 33)
    for side in ("vehicle", "infrastructure"):
        view = scene.view(side, 0)
        placements = scene.placements(0.1, without_ego=True)
        kept = {p.index for p in near_view(view, placements, 15.0)}
        assert {p.index for p in placements if may_appear(view, p)} <= kept
        assert len(kept) < len(placements)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--benchmark", "--seed", "3"], "--seed"),
        (["--benchmark", "--duration-s", "5"], "--duration-s"),
        (["--benchmark", "--skewed-extrinsics"], "--skewed-extrinsics"),
        (["--every", "4"], "--every"),
        (["--train-every", "4"], "--train-every"),
        (["--more-train"], "--more-train"),
        (["--benchmark", "--split", "test", "--more-train"], "--more-train"),
        (["--benchmark", "--split", "val"], "--split"),
        (["--benchmark", "--split", "test", "--train-every", "2"], "--train-every"),
        (["--split", "test"], "--split"),
        (["--benchmark", "--every", "0"], "--every"),
        (["--benchmark", "--shard", "0/3"], "--shard"),
        (["--benchmark", "--shard", "4/3"], "--shard"),
        (["--benchmark", "--image-size", "big"], "--image-size"),
    ],
)
def test_impossible_benchmark_options_are_refused_in_one_line(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["synthesize", str(tmp_path / "out"), "--renderer", "none", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and f"synthesize: {named}:" in lines[0] and ";" in lines[0]
    assert not (tmp_path / "out").exists()
