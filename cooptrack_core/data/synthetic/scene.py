"""A sequence ready to be looked at: traffic, sensors and what stands where at an instant."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cooptrack_core.data.synthetic import bodies, furniture, layout, population, surroundings
from cooptrack_core.data.synthetic.catalog import KINDS
from cooptrack_core.data.synthetic.layout import ARMS, MapLane, axis_of
from cooptrack_core.data.synthetic.light import Light, daylight
from cooptrack_core.data.synthetic.mesh import Mesh
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.selection import MAX_ATTEMPTS, judge
from cooptrack_core.data.synthetic.sensors import Rig, View, make_rig, site_of
from cooptrack_core.data.synthetic.signals import Signals
from cooptrack_core.data.synthetic.traffic import RoadUser, simulate
from cooptrack_core.geometry.transforms import make_transform

Float = NDArray[np.float64]

SIDES = ("vehicle", "infrastructure")


@dataclass(frozen=True)
class Placement:
    """A road user as drawn: its mesh by (kind, phase), model matrix into the scene [4, 4], paint in sRGB."""

    index: int
    kind: str
    phase: int
    T_scene_from_mesh: Float
    paint: tuple[float, float, float]
    braking: bool

    @property
    def mesh(self) -> Mesh:
        """Its mesh in its own axes."""
        if self.kind in furniture.LAMP_COLOURS:
            return furniture.lamp(self.kind)
        return bodies.body(self.kind, self.phase)

    @property
    def is_fixture(self) -> bool:
        """Whether it belongs to the surroundings and only changes with time: a lit signal lamp."""
        return self.index < 0


@dataclass(frozen=True)
class Scene:
    """One sequence."""

    options: SceneOptions
    number: int
    users: list[RoadUser]
    signals: Signals | None
    manoeuvre: str
    rig: Rig
    attempt: int = 0  # which draw of the traffic was taken

    @property
    def ego(self) -> RoadUser:
        """The instrumented vehicle."""
        return next(user for user in self.users if user.plan.ego)

    @cached_property
    def surroundings(self) -> Mesh:
        """What does not move."""
        seed, first = self.options.seed * 1000 + site_of(self.number), replace(self.options, pair=0)
        pole_m = make_rig(first, self.number).infrastructure_view(first).centre_m  # the same world for every pair
        return surroundings.build(seed, pole_m, self.options.pairs)

    @property
    def light(self) -> Light:
        """Sun and sky."""
        return daylight(self.options.seed * 1000 + self.number)

    @property
    def notes(self) -> dict[str, str]:
        """What synthetic.json says about the sequence beside its statistics."""
        return {}

    def maps(self) -> tuple[list[MapLane], list[Float], list[Float]]:
        """Lanes, junction outlines and crosswalk outlines in the scene, for the map file."""
        return layout.map_lanes(), [layout.junction_polygon()], layout.crosswalk_polygons()

    def develop(self, rgb: NDArray[np.uint8], side: str, frame: int) -> NDArray[np.uint8]:
        """What the camera makes of the rendered picture [H, W, 3]."""
        return rgb

    def view(self, side: str, frame: int) -> View:
        """Camera of a side at its image time."""
        if side == "infrastructure":
            return self.rig.infrastructure_view(self.options)
        return self.rig.vehicle_view(self.ego, self.image_time_s(side, frame), self.options)

    def image_time_s(self, side: str, frame: int) -> float:
        """Scene time of an image."""
        stamps = self.rig.stamps[frame]
        us = stamps.vehicle_image_us if side == "vehicle" else stamps.infrastructure_image_us
        return stamps.scene_s(us)

    def placements(self, time_s: float, *, without_ego: bool) -> list[Placement]:
        """All road users at a time."""
        out = []
        for user in self.users:
            if user.exists(time_s) and not (without_ego and user.plan.ego):
                out.append(place(user, time_s))
        return out

    def fixtures(self, time_s: float) -> list[Placement]:
        """The lit lamps of all signals."""
        out = []
        assert self.signals is not None
        for arm in ARMS:
            for suffix, at, heading in furniture.lamp_places(arm):
                state = self.signals.state(f"{axis_of(arm)}-{suffix}", time_s)
                T = make_transform(Rotation.from_euler("z", heading).as_matrix(), at)
                out.append(Placement(-1, state, 0, T, (1.0, 1.0, 1.0), False))
        return out


def place(user: RoadUser, time_s: float) -> Placement:
    """The placement of a road user at a time."""
    plan = user.plan
    x, y, heading, speed = user.pose(time_s)
    s, _ = user.travelled(time_s)
    scale = np.asarray(plan.size_m) / np.asarray(KINDS[plan.kind.name].size_m)
    c, si = np.cos(heading), np.sin(heading)
    T = np.eye(4)
    T[:3, :3] = np.array([[c, -si, 0], [si, c, 0], [0, 0, 1.0]]) * scale
    T[:3, 3] = (x, y, user.ground_m(x, y))
    phase = bodies.phase_at(plan.kind.name, s + 0.37 * user.index, moving=speed > 0.15)
    _, before = user.travelled(time_s - 0.4)
    braking = speed < before - 0.15 or (speed < 0.3 and not plan.parked)
    return Placement(user.index, plan.kind.name, phase, T, plan.paint, braking)


def make_scene(options: SceneOptions, number: int, motion_file: Path | None = None) -> Scene:
    """Sequence `number` of the dataset that the options describe; its motion is read from the file if it is there.

    Traffic is drawn anew, up to MAX_ATTEMPTS times, until it is a good scene; else the best one is taken. The
    benchmark's is recorded.
    """
    if options.benchmark:
        from cooptrack_core.data.synthetic.coopsynth.scene import benchmark_scene  # builds on this module

        return benchmark_scene(options, number)
    rig = make_rig(options, number)
    if options.pair:
        from cooptrack_core.data.synthetic.pairs import another  # builds on this module

        return another(make_scene(replace(options, pair=0), number, motion_file), options, rig)
    if motion_file is not None and motion_file.is_file():
        return _load_motion(motion_file, options, number, rig)
    best: tuple[int, Scene] | None = None
    for attempt in range(MAX_ATTEMPTS):
        cast = _cast(options, number, attempt)
        users = simulate(cast.plans, cast.signals, -population.WARM_UP_S, options.duration_s + 0.6)
        users = [u for u in users if u.end_s > -0.5]
        faults = judge(users, rig, options).faults
        if best is None or faults < best[0]:
            best = faults, Scene(options, number, users, cast.signals, cast.manoeuvre, rig, attempt)
        if faults == 0:
            break
    assert best is not None
    return best[1]


def _cast(options: SceneOptions, number: int, attempt: int) -> population.Cast:
    return population.draw(np.random.default_rng([options.seed, number, attempt]), options.duration_s)


def save_motion(scene: Scene) -> bytes:
    """The motion of a scene as npz bytes."""
    users, buffer = scene.users, io.BytesIO()
    np.savez(
        buffer,
        attempt=np.array(scene.attempt), index=np.array([u.index for u in users]),
        birth_s=np.array([u.plan.birth_s for u in users]), count=np.array([len(u.s_m) for u in users]),
        s_m=np.concatenate([u.s_m for u in users]), v_mps=np.concatenate([u.v_mps for u in users]),
    )  # fmt: skip
    return buffer.getvalue()


def _load_motion(path: Path, options: SceneOptions, number: int, rig: Rig) -> Scene:
    """The scene whose motion save_motion wrote."""
    with np.load(path, allow_pickle=False) as data:
        attempt = int(data["attempt"])
        cast = _cast(options, number, attempt)
        ends = np.cumsum(data["count"])
        columns = (data["index"], data["birth_s"], ends - data["count"], ends)
        s, v = data["s_m"], data["v_mps"]
        users = [
            RoadUser(replace(cast.plans[int(i)], birth_s=float(birth)), int(i), s[a:b].tolist(), v[a:b].tolist())
            for i, birth, a, b in zip(*columns, strict=True)
        ]
    return Scene(options, number, users, cast.signals, cast.manoeuvre, rig, attempt)


__all__ = ["SIDES", "Placement", "Scene", "make_scene", "place", "save_motion"]
