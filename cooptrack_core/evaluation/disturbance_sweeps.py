"""The sweeps of the robustness curves: one disturbance each, from none to strong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cooptrack_core.cooperation.disturbance import DAMAGES, NO_DISTURBANCE, Disturbance
from cooptrack_core.types import CooptrackError


@dataclass(frozen=True)
class Sweep:
    """Values of one parameter of a Disturbance; `fixed` ones have the same value at every point."""

    name: str
    parameter: str
    title: str
    unit: str
    values: tuple[float, ...]
    fixed: Mapping[str, float] = field(default_factory=dict)

    def disturbance(self, value: float, common: Disturbance = NO_DISTURBANCE) -> Disturbance:
        """At one point; seed and noise correlation are those of `common`. Raises CooptrackError for a wrong value."""
        kind = type(getattr(NO_DISTURBANCE, self.parameter))
        if kind is int and not float(value).is_integer():
            raise CooptrackError(f"--grid: {self.name}: {value:g} is not a whole number; give whole numbers")
        made = replace(NO_DISTURBANCE, **{**self.fixed, self.parameter: kind(value)})
        if made.position_noise_m or made.yaw_noise_deg:
            made = replace(made, noise_correlation_s=common.noise_correlation_s)
        return replace(made, seed=common.seed if draws(made) else 0)

    def place(self, value: float) -> float:
        """Where the point lies on the axis: independent losses are bursts too, of the length that chance gives."""
        if self.parameter == "burst" and not value:
            return 1.0 / (1.0 - self.fixed["loss"])
        return value

    def label(self, value: float) -> str:
        """The value as in tables."""
        if self.parameter == "burst" and not value:
            return f"{self.place(value):.2g} (chance)"
        return f"{value:+g}" if self.parameter == "clock_offset_ms" and value else f"{value:g}"


SWEEPS = {
    item.name: item
    for item in (
        Sweep("delay", "delay_ms", "delay", "ms", (0, 100, 200, 300, 400, 500)),
        Sweep("jitter", "jitter_ms", "jitter, uniform up to", "ms", (0, 50, 100, 200, 400)),
        Sweep("async", "async_frames", "older messages (Async-k)", "frames", (0, 1, 2, 3, 4)),
        Sweep("clock-offset", "clock_offset_ms", "sender's clock ahead", "ms", (-200, -100, -50, 0, 50, 100, 200)),
        Sweep("loss", "loss", "messages lost", "share", (0, 0.1, 0.3, 0.5, 0.7, 0.9)),
        Sweep("burst", "burst", "bursts at 30 % loss", "messages", (0, 2, 5, 10, 20), {"loss": 0.3}),
        Sweep("instance-loss", "instance_loss", "instances lost", "share", (0, 0.1, 0.2, 0.3, 0.4, 0.5)),
        Sweep("drop-roadside", "drop_roadside", "one outage", "share of sequence", (0, 0.25, 0.5, 1)),
        Sweep("position-noise", "position_noise_m", "position noise, sigma", "m", (0, 0.25, 0.5, 1, 1.5, 2.5)),
        Sweep("yaw-noise", "yaw_noise_deg", "yaw noise, sigma", "degrees", (0, 0.5, 1, 2, 5)),
    )
}


def draws(disturbance: Disturbance) -> bool:
    """Whether a disturbance is random: another seed gives another run."""
    d = disturbance
    return bool(
        d.jitter_ms or 0 < d.loss < 1 or 0 < d.instance_loss < 1 or d.position_noise_m or d.yaw_noise_deg
        or 0 < d.drop_roadside < 1 or 0 < d.duplicated < 1 or 0 < d.reordered < 1
        or any(getattr(d, name) for name in DAMAGES)
    )  # fmt: skip


def chosen(only: str | None, grid: Sequence[str], common: Disturbance = NO_DISTURBANCE) -> list[Sweep]:
    """The sweeps of `--only delay,loss` (all if None) with the values of `--grid delay=0,100 loss=0,0.5`.

    Naming grids without `only` runs just these. Raises CooptrackError for an unknown sweep and for a value that the
    disturbance cannot have.
    """
    values = dict(_parsed(item) for item in grid)
    names = [name for name in (only if only is not None else ",".join(values or SWEEPS)).split(",") if name]
    if not names:
        raise CooptrackError(f"--only: names no disturbance; choose among {', '.join(SWEEPS)}")
    for name in (*names, *values):
        if name not in SWEEPS:
            option = "--grid" if name in values else "--only"
            raise CooptrackError(f"{option}: {name!r} is no disturbance; choose among {', '.join(SWEEPS)}")
    for name in values:
        if name not in names:
            raise CooptrackError(f"--grid: {name} is not among --only {only}; name it there or leave its grid out")
    found = [replace(SWEEPS[name], values=values.get(name, SWEEPS[name].values)) for name in dict.fromkeys(names)]
    for sweep in found:
        for value in sweep.values:
            sweep.disturbance(value, common)
    return found


def _parsed(text: str) -> tuple[str, tuple[float, ...]]:
    name, sign, numbers = text.partition("=")
    try:
        values = tuple(float(number) for number in numbers.split(",") if number.strip())
    except ValueError:
        values = ()
    if not sign or not values:
        raise CooptrackError(f"--grid: {text!r} is not NAME=VALUE,VALUE,...; for example delay=0,100,200")
    return name, tuple(dict.fromkeys(values))


def seeds_of(disturbance: Disturbance, repeats: int) -> Iterable[Disturbance]:
    """The disturbance with `repeats` seeds, one after the other; once where nothing is random."""
    if not draws(disturbance):
        return [disturbance]
    return [replace(disturbance, seed=disturbance.seed + n) for n in range(repeats)]


__all__ = ["SWEEPS", "Sweep", "chosen", "draws", "seeds_of"]
