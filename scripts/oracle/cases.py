"""The inputs of the stored comparisons: pairs of submission files, made from seeds; all synthetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Json = dict[str, Any]
Case = tuple[Json, Json]
CLASS_RANGE = {"car": 50.0, "bicycle": 40.0, "pedestrian": 40.0}
SIZE_WLH_M = {"car": (1.9, 4.5, 1.6), "bicycle": (0.7, 1.8, 1.5), "pedestrian": (0.6, 0.7, 1.7)}
START_US = 1_626_155_123_000_000
CASES: dict[str, Callable[[], Case]] = {}


def case(make: Callable[[], Case]) -> Callable[[], Case]:
    """Registers a case under the name of its function."""
    CASES[make.__name__] = make
    return make


def box(
    name: str, track: str | int, xy_m: Any, *, score: Any = None, yaw_rad: float = 0.0, z_m: float = 0.0,
    velocity_mps: Any = (0.0, 0.0), size_wlh_m: Any = None, rotation: Any = None,
) -> Json:  # fmt: skip
    """A box of the format; without a score one of ground truth."""
    row: Json = {
        "translation": [_round(xy_m[0]), _round(xy_m[1]), _round(z_m)],
        "size": [_round(v) for v in (size_wlh_m or SIZE_WLH_M.get(name, (1.0, 1.0, 1.0)))],
        "rotation": rotation or [_round(math.cos(yaw_rad / 2), 6), 0.0, 0.0, _round(math.sin(yaw_rad / 2), 6)],
        "velocity": None if velocity_mps is None else [None if v is None else _round(v) for v in velocity_mps],
        "tracking_id": track,
        "tracking_name": name,
        "tracking_score": -1.0 if score is None else _round(score, 4),
    }
    return row


def _round(value: float, digits: int = 3) -> float:
    return round(float(value), digits)


@dataclass
class Files:
    """Both files while they are filled."""

    class_range: dict[str, float] = field(default_factory=lambda: dict(CLASS_RANGE))
    scenes: dict[str, list[Any]] = field(default_factory=dict)
    gt: dict[str, list[Json]] = field(default_factory=dict)
    pred: dict[str, list[Json]] = field(default_factory=dict)

    def frame(self, scene: str, index: int, ego_xy_m: Any = (0.0, 0.0), period_us: int = 100_000) -> str:
        """Token of a new frame."""
        token = f"{scene}-{index:03d}"
        stamp = START_US + len(self.scenes) * 60_000_000 + index * period_us
        self.scenes.setdefault(scene, []).append([token, stamp, [_round(ego_xy_m[0]), _round(ego_xy_m[1])]])
        self.gt[token], self.pred[token] = [], []
        return token

    def done(self) -> Case:
        """The files as JSON."""
        meta = {"scenes": self.scenes, "class_range": self.class_range}
        return {"meta": meta, "results": self.gt}, {"meta": {"use_camera": True}, "results": self.pred}


@dataclass
class Walker:
    """An object on a smooth path, seen with noise by a tracker that loses it, swaps ids and is late."""

    name: str
    id: str
    xy_m: Any
    yaw_rad: float
    speed_mps: float
    turn_radps: float
    score: float
    first: int
    last: int
    tracked_as: str

    def step(self, period_s: float) -> None:
        """Moves on."""
        self.yaw_rad += self.turn_radps * period_s
        self.xy_m = self.xy_m + period_s * self.velocity_mps

    @property
    def velocity_mps(self) -> Any:
        """[2]."""
        return self.speed_mps * np.array([math.cos(self.yaw_rad), math.sin(self.yaw_rad)])


def traffic(files: Files, scene: str, rng: Any, *, frames: int, objects: int, origin_m: Any, noise_m: float) -> None:
    """Fills a scene with walkers around a driving ego and what a middling tracker makes of them."""
    ego, period_s = np.array(origin_m, float), 0.1
    walkers = [_walker(f"o{i}", rng, ego, frames) for i in range(objects)]
    ghosts = [(rng.normal(ego, 20, 2), rng.integers(0, frames - 3)) for _ in range(objects // 3)]
    for index in range(frames):
        token = files.frame(scene, index, ego)
        _swap_ids(walkers, rng)
        for walker in walkers:
            walker.step(period_s)
            if walker.first <= index <= walker.last:
                _observe(files, token, walker, rng, noise_m)
        for number, (xy_m, first) in enumerate(ghosts):
            if first <= index < first + 8:
                jitter = rng.normal(0, 0.2, 2)
                score = min(max(rng.normal(0.3, 0.1), 0.01), 1)
                files.pred[token].append(box("car", f"ghost{number}", xy_m + jitter, score=round(score, 3)))
        ego += period_s * np.array([6.0, 2.0])


def _walker(name: str, rng: Any, ego: Any, frames: int) -> Walker:
    first = int(rng.integers(0, frames // 2))
    kind = str(rng.choice(list(SIZE_WLH_M), p=(0.6, 0.2, 0.2)))
    speed_mps = {"car": 9.0, "bicycle": 4.0, "pedestrian": 1.3}[kind] * rng.uniform(0, 1.2)
    return Walker(
        kind, name, ego + rng.uniform(-45, 45, 2), rng.uniform(-math.pi, math.pi), speed_mps, rng.normal(0, 0.15),
        float(rng.uniform(0.15, 0.95)), first, int(rng.integers(first + 1, frames + 10)), f"t{name}",
    )  # fmt: skip


def _swap_ids(walkers: list[Walker], rng: Any) -> None:
    """Now and then two of a class exchange their tracks, or one gets a new track."""
    one, other = rng.choice(len(walkers), 2, replace=False)
    if rng.random() < 0.15 and walkers[one].name == walkers[other].name:
        walkers[one].tracked_as, walkers[other].tracked_as = walkers[other].tracked_as, walkers[one].tracked_as
    if rng.random() < 0.1:
        walkers[one].tracked_as += "'"


def _observe(files: Files, token: str, walker: Walker, rng: Any, noise_m: float) -> None:
    size = SIZE_WLH_M[walker.name]
    moving = {"yaw_rad": walker.yaw_rad, "velocity_mps": walker.velocity_mps}
    if rng.random() > 0.06:  # the labels have holes, too
        files.gt[token].append(box(walker.name, walker.id, walker.xy_m, **moving))
    if rng.random() < 0.15 + 0.8 * walker.score:
        noisy = walker.xy_m + rng.normal(0, noise_m, 2)
        moving["yaw_rad"] += rng.normal(0, 0.15)
        moving["velocity_mps"] = moving["velocity_mps"] + rng.normal(0, 0.4, 2)
        score = round(float(np.clip(walker.score + rng.normal(0, 0.07), 0.01, 1)), 3)
        grown = [v * math.exp(rng.normal(0, 0.1)) for v in size]
        files.pred[token].append(box(walker.name, walker.tracked_as, noisy, score=score, size_wlh_m=grown, **moving))


@case
def realistic() -> Case:
    """Four scenes of traffic at 10 Hz around a driving vehicle, at coordinates like those of a map."""
    files, rng = Files(), np.random.default_rng(1)
    for number in range(4):
        traffic(files, f"scene{number}", rng, frames=40, objects=16, origin_m=(900 + 300 * number, 400), noise_m=0.5)
    return files.done()


@case
def realistic_dense() -> Case:
    """Many small objects close together and a poor tracker."""
    files, rng = Files(), np.random.default_rng(2)
    for number in range(2):
        traffic(files, f"scene{number}", rng, frames=25, objects=45, origin_m=(0, 0), noise_m=1.4)
    return files.done()


def scatter(
    rng: Any, *, scenes: int, frames: int, boxes: int, extent_m: float, scores: Any = None, ids: int = 12,
    found: float = 0.0,
) -> Files:  # fmt: skip
    """Random boxes in each frame, ids drawn anew, so that tracks jump and have holes.

    found: share of the predictions that are near an object of their class, or near another one.
    """
    files = Files()
    names = list(CLASS_RANGE)
    class_of = rng.integers(0, 3, ids)
    for scene in range(scenes):
        for index in range(frames):
            token = files.frame(f"s{scene}", index)
            for rows, scored in ((files.gt[token], False), (files.pred[token], True)):
                for track in rng.permutation(ids)[: rng.integers(0, boxes + 1)]:
                    xy_m = rng.uniform(-extent_m, extent_m, 2)
                    if scored and files.gt[token] and rng.random() < found:
                        near = [row for row in files.gt[token] if row["tracking_name"] == names[class_of[track]]]
                        row = (near or files.gt[token])[rng.integers(len(near or files.gt[token]))]
                        xy_m = np.array(row["translation"][:2]) + rng.normal(0, 0.9, 2)
                    rows.append(_scattered(rng, names[class_of[track]], f"{track}", xy_m, scored, scores))
    return files


def _scattered(rng: Any, name: str, track: str, xy_m: Any, scored: bool, scores: Any) -> Json:
    score = _round(rng.random() if scores is None else rng.choice(scores), 4) if scored else None
    size = rng.uniform(0.3, 5, 3).tolist()
    yaw_rad, velocity_mps = rng.uniform(-4, 4), rng.normal(0, 3, 2)
    return box(name, track, xy_m, score=score, yaw_rad=yaw_rad, velocity_mps=velocity_mps, size_wlh_m=size)


@case
def random_sparse() -> Case:
    """Boxes far from each other, most found."""
    rng = np.random.default_rng(3)
    return scatter(rng, scenes=3, frames=12, boxes=10, extent_m=15.0, ids=10, found=0.8).done()


@case
def random_crowded() -> Case:
    """Boxes so close that every assignment has rivals."""
    return scatter(np.random.default_rng(4), scenes=2, frames=15, boxes=12, extent_m=3.0).done()


@case
def random_crowded_again() -> Case:
    """The same with other numbers and more ids."""
    return scatter(np.random.default_rng(5), scenes=3, frames=10, boxes=16, extent_m=4.0, ids=20).done()


@case
def random_wide() -> Case:
    """Boxes far beyond the class ranges, so that tracks leave and come back."""
    return scatter(np.random.default_rng(6), scenes=2, frames=20, boxes=12, extent_m=55.0, found=0.9).done()


@case
def many_thresholds() -> Case:
    """Far more different scores than recall points, every object found, so that each point has its own threshold."""
    files, rng = Files(), np.random.default_rng(7)
    scores = rng.permutation(np.linspace(0.02, 0.98, 90)).round(4)
    for scene in range(3):
        for index in range(8):
            token = files.frame(f"s{scene}", index)
            for track in range(30):
                xy_m = np.array([(track % 6) * 6.0 - 15, (track // 6) * 6.0 - 12])
                score = scores[scene * 30 + track]
                files.gt[token].append(box("car", f"g{track}", xy_m))
                files.pred[token].append(box("car", f"p{track}", xy_m + rng.uniform(-1.3, 1.3, 2), score=score))
                if rng.random() < 0.2:
                    files.pred[token].append(box("car", f"x{track}", xy_m + 2.0, score=rng.random()))
    return files.done()


@case
def perfect() -> Case:
    """Predictions that are the ground truth."""
    files, rng = Files(), np.random.default_rng(8)
    for index in range(6):
        token = files.frame("s", index)
        for track in range(5):
            row = box("car", f"{track}", (track * 5.0, index * 0.5), velocity_mps=(0, 5))
            files.gt[token].append(row)
            files.pred[token].append(row | {"tracking_score": round(float(rng.uniform(0.5, 1)), 4)})
    return files.done()
