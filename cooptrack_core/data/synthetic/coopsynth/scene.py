"""A sequence of the benchmark as a scene."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cooptrack_core.data.synthetic.coopsynth import surroundings
from cooptrack_core.data.synthetic.coopsynth.plan import sequence_plan
from cooptrack_core.data.synthetic.coopsynth.recording import LEAD_S, recorded_user
from cooptrack_core.data.synthetic.coopsynth.rig import make_rig
from cooptrack_core.data.synthetic.coopsynth.site import BIKE, DRIVE, load_site, load_window
from cooptrack_core.data.synthetic.coopsynth.weather import Weather, develop, weather_of
from cooptrack_core.data.synthetic.layout import MapLane
from cooptrack_core.data.synthetic.light import Light
from cooptrack_core.data.synthetic.mesh import Mesh
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.scene import SIDES, Placement, Scene
from cooptrack_core.data.synthetic.traffic import TIME_STEP_S
from cooptrack_core.geometry.transforms import make_transform

Float = NDArray[np.float64]

_COLOURS = ("red", "yellow", "green")


@dataclass(frozen=True)
class BenchmarkScene(Scene):
    """Recorded traffic at one of the sites."""

    site_number: int = 0
    window: int = 0
    pole: int = 0
    details: tuple[tuple[str, str], ...] = ()

    @cached_property
    def surroundings(self) -> Mesh:
        """What does not move."""
        return surroundings.build(self.site_number, self.pole)

    @cached_property
    def _weather(self) -> Weather:
        return weather_of(self.number)

    @property
    def light(self) -> Light:
        """Sun and sky."""
        return self._weather.light

    @property
    def notes(self) -> dict[str, str]:
        """Split, site, density, light and pole."""
        return dict(self.details)

    def develop(self, rgb: NDArray[np.uint8], side: str, frame: int) -> NDArray[np.uint8]:
        """What the camera makes of the rendered picture [H, W, 3]."""
        return develop(rgb, self._weather, (23, self.number, SIDES.index(side), frame))

    def fixtures(self, time_s: float) -> list[Placement]:
        """The lit lamps of all signals."""
        site, lights = load_site(self.site_number), load_window(self.site_number, self.window).lights
        sample = min(max(round((time_s + LEAD_S) / TIME_STEP_S), 0), lights.shape[1] - 1)
        out = []
        for arm in range(site.arms):
            colour = _COLOURS[int(lights[arm, sample])]
            for at, heading, _ in surroundings.signal_places(site, arm):
                T = make_transform(Rotation.from_euler("z", heading).as_matrix(), at)
                out.append(Placement(-1, colour, 0, T, (1.0, 1.0, 1.0), False))
        return out

    def maps(self) -> tuple[list[MapLane], list[Float], list[Float]]:
        """Lanes, junction outline and crosswalk outlines."""
        site = load_site(self.site_number)
        names = {DRIVE: "CITY_DRIVING", BIKE: "BIKING"}
        lanes = [
            MapLane(names[k.kind], "NONE", k.inbound, False, k.centre_m, k.edge_m(1.0), k.edge_m(-1.0))
            for k in site.lanes if k.kind in names
        ]  # fmt: skip
        crosswalks = []
        for line, width in site.crossings:
            d = np.gradient(line, axis=0)
            n = 0.5 * width * np.stack([-d[:, 1], d[:, 0]], axis=1) / np.hypot(*d.T)[:, None]
            crosswalks.append(np.concatenate([line + n, (line - n)[::-1]]))
        return lanes, [site.junction_m], crosswalks


def benchmark_scene(options: SceneOptions, number: int) -> BenchmarkScene:
    """Sequence `number` of the benchmark that the options name."""
    plan = sequence_plan(number)
    site, window = load_site(plan.site), load_window(plan.site, plan.window)
    about = site.windows[plan.window]
    users = [
        recorded_user(i, kind, first, xyh, (options.seed, 17, number, i), parked=parked, ego=i == 0)
        for i, (kind, parked, first, xyh) in enumerate(window.tracks)
    ]
    pole = int(about["pole"])
    rig = make_rig(options, number, plan.site, site.poles[pole])
    details = (
        ("split", plan.split), ("site", f"{plan.site:02d}"), ("density", str(about["density"])),
        ("light", weather_of(number).kind), ("pole", str(pole)),
    )  # fmt: skip
    return BenchmarkScene(
        options, number, list(users), None, str(about["manoeuvre"]), rig, 0, plan.site, plan.window, pole, details
    )


__all__ = ["BenchmarkScene", "benchmark_scene"]
