"""Which stretches of the recorded traffic become sequences: the ego vehicle, the time and the roadside pole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coopsynth.geometry import Ground
from coopsynth.layouts import Layout
from coopsynth.runs import RECORD_S, STEP_S, Run, Track
from cooptrack_core.data.synthetic.catalog import CARS, KINDS, MOTOR
from cooptrack_core.data.synthetic.coopsynth.recording import LEAD_S, RecordedUser, recorded_user
from cooptrack_core.data.synthetic.coopsynth.site import DRIVE, PARKING, Pole
from cooptrack_core.data.synthetic.selection import overlap_count

Float = NDArray[np.float64]

TAIL_S = 0.6
_EGO_KINDS = tuple(k for k in CARS if k not in ("minivan", "pickup"))


@dataclass(frozen=True)
class Choice:
    """One sequence: which run, the ego's track, first step of scene time 0, pole, where the ego comes from and goes."""

    run: int
    ego: str
    start: int
    steps: int
    pole: int
    arm: int
    exit_arm: int
    score: float
    shared: float


def draw_poles(layout: Layout, ground: Ground, count: int, rng: np.random.Generator) -> list[Pole]:
    """Roadside cameras at different corners, looking over the intersection into a street."""
    poles, arms = [], layout.arms
    order = rng.permutation(len(arms))
    for k in range(count):
        arm, inbound = int(order[k % len(order)]), bool(rng.random() < 0.5)
        ends = [
            (lane.edge_m(-1.0)[-1 if inbound else 0], lane.width_m)
            for lane in ground.lanes if lane.arm == arm and lane.inbound == inbound and lane.kind == DRIVE
        ]  # fmt: skip
        corner = max((p for p, _ in ends), key=lambda p: _across(p, arms[arm].heading_rad))
        out = np.array([np.cos(arms[arm].heading_rad), np.sin(arms[arm].heading_rad)])
        side = np.array([-out[1], out[0]]) * (1.0 if inbound else -1.0)
        extra = 1.2 + (1.7 if arms[arm].bike else 0.0) + (2.3 if arms[arm].parking else 0.0)
        position = corner + side * (extra + float(rng.uniform(0, 1.5))) + out * float(rng.uniform(-2.0, 5.0))
        others = [a.heading_rad for i, a in enumerate(arms) if i != arm]
        aim_arm = others[int(rng.integers(len(others)))]
        aim = float(rng.uniform(2, 22)) * np.array([np.cos(aim_arm), np.sin(aim_arm)])
        yaw = float(np.arctan2(*(aim - position)[::-1])) + float(rng.normal(0, 0.06))
        height = float(rng.uniform(5.4, 8.6))
        pitch = float(np.arctan2(height - 1.0, rng.uniform(24, 48)))
        poles.append(Pole(*position.tolist(), height, yaw, pitch, float(rng.uniform(0.9, 1.12))))
    return poles


def _across(p: Float, heading: float) -> float:
    return float(abs(-np.sin(heading) * p[0] + np.cos(heading) * p[1]))


def parked_users(layout: Layout, ground: Ground, rng: np.random.Generator) -> list[tuple[str, Float]]:
    """Parked vehicles (kind, xyh [1, 3]) along the parking lanes; some are tall and hide what is behind."""
    out, filled = [], float(rng.uniform(0.35, 0.9))
    for lane in (lane for lane in ground.lanes if lane.kind == PARKING):
        line = lane.centre_m if not lane.inbound else lane.centre_m[::-1]
        s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
        at = 11.0 + float(rng.uniform(0, 5))
        while at < min(95.0, s[-1] - 8):
            tall = rng.random() < 0.22
            names = ("delivery_van", "minivan", "box_truck") if tall else ("sedan", "hatchback", "suv", "wagon")
            kind = names[int(rng.integers(len(names)))]
            length = KINDS[kind].size_m[0] + 0.3
            if rng.random() < filled:
                middle, ahead = (
                    np.array([np.interp(v, s, line[:, k]) for k in range(2)])
                    for v in (at + length / 2, at + length / 2 + 1)
                )
                d = (ahead - middle) * (-1.0 if lane.inbound else 1.0)
                heading = float(np.arctan2(d[1], d[0])) + float(rng.normal(0, 0.012))
                right = np.array([np.sin(heading), -np.cos(heading)]) * float(rng.uniform(-0.1, 0.12))
                out.append((kind, np.array([[*(middle + right), heading]])))
            at += length + 0.8 + float(rng.exponential(0.7))
    return out


@dataclass(frozen=True)
class _Look:
    """All road users at a step: positions [N, 2], evaluation radius [N], and who is in each pole's view [P, N]."""

    xy_m: Float
    radius_m: Float
    seen: NDArray[np.bool_]


class Chooser:
    """Rates and picks the sequences of a site."""

    def __init__(self, layout: Layout, runs: list[Run], parked: list[list[tuple[str, Float]]], poles: list[Pole]):
        self.layout, self.runs, self.parked, self.poles = layout, runs, parked, poles
        self._looks: dict[tuple[int, int], _Look] = {}

    def pick(self, count: int, duration_s: float, rng: np.random.Generator) -> list[Choice]:
        """The best ones, spread over runs, arms, manoeuvres and poles."""
        steps = round(duration_s / STEP_S)
        found = [c for r in range(len(self.runs)) for c in self._rate_run(r, steps, rng)]
        picked: list[Choice] = []
        while len(picked) < count and found:
            best = max(found, key=lambda c: c.score - self._crowding(c, picked))
            found.remove(best)
            if self._sound(best):
                picked.append(best)
                found = [c for c in found if (c.run, c.ego) != (best.run, best.ego)]
        return picked

    @staticmethod
    def _crowding(c: Choice, picked: list[Choice]) -> float:
        same_way = sum((p.arm, p.exit_arm) == (c.arm, c.exit_arm) for p in picked)
        near = sum(p.run == c.run and abs(p.start - c.start) < 60 for p in picked)
        return 1.6 * same_way + 1.3 * sum(p.run == c.run for p in picked) + 1.6 * sum(
            p.pole == c.pole for p in picked
        ) + 2.0 * near  # fmt: skip

    def _rate_run(self, number: int, steps: int, rng: np.random.Generator) -> list[Choice]:
        run, out = self.runs[number], []
        lead, tail = round(LEAD_S / STEP_S), round(TAIL_S / STEP_S)
        for ego in run.tracks:
            if ego.kind not in _EGO_KINDS:
                continue
            for start in range(ego.first + lead, ego.last - steps - tail, 12):
                p = ego.xyh[start - ego.first, :2]
                if start + steps + tail > RECORD_S / STEP_S or not 6.0 < np.hypot(*p) < 70.0:
                    continue
                out.append(self._rate(number, ego, start, steps, rng))
        return out

    def _look(self, number: int, step: int) -> _Look:
        """What is where at a step, and what each pole sees of it; kept, as many candidates ask for it."""
        if (number, step) not in self._looks:
            present = [t for t in self.runs[number].tracks if t.first <= step <= t.last]
            rows = [t.xyh[step - t.first, :2] for t in present] + [xyh[0, :2] for _, xyh in self.parked[number]]
            radius = [50.0 if t.kind in MOTOR else 40.0 for t in present] + [50.0] * len(self.parked[number])
            p = np.array(rows).reshape(-1, 2)
            theirs = [
                _within(p, (q.x_m, q.y_m), q.yaw_rad, 0.40 / q.zoom, 11.0, 90.0) for q in self.poles
            ]  # fmt: skip
            self._looks[number, step] = _Look(p, np.array(radius), np.array(theirs))
        return self._looks[number, step]

    def _rate(self, number: int, ego: Track, start: int, steps: int, rng: np.random.Generator) -> Choice:
        seen, shared, blocked = [], np.zeros(len(self.poles)), 0.0
        covered, useful = np.zeros(len(self.poles)), np.zeros(len(self.poles))
        times = (start, start + steps // 2, start + steps)
        for step in times:
            x, y, h = ego.xyh[step - ego.first]
            look = self._look(number, step)
            distance = np.hypot(look.xy_m[:, 0] - x, look.xy_m[:, 1] - y)
            near = (distance < look.radius_m) & (distance > 0.01)
            mine = _within(look.xy_m, (x + 0.9 * np.cos(h), y + 0.9 * np.sin(h)), h, 0.225, 4.0, 75.0)
            seen.append(mine.sum())
            # Close behind another vehicle there is nothing else to see.
            blocked += float((_within(look.xy_m, (x, y), h, 0.11, 3.0, 9.5)).any()) / len(times)
            shared += (look.seen & mine & near).sum(axis=1) / len(times)
            covered += look.seen.sum(axis=1) / len(times)
            useful += (look.seen & near & ~mine).sum(axis=1) / len(times)
        moved = np.hypot(*(ego.xyh[start + steps - ego.first, :2] - ego.xyh[start - ego.first, :2]))
        value = (
            1.1 * np.minimum(shared, 4) + 0.25 * min(float(np.mean(seen)), 8) + 0.22 * np.minimum(useful, 10)
            + 0.12 * np.minimum(covered, 12) - 2.5 * (covered < 4) - 1.5 * (np.mean(seen) < 2)
        )  # fmt: skip
        value += rng.uniform(0, 2.2, len(value)) + (1.2 if moved > 3.0 else 0.0) - 3.0 * blocked
        k = int(np.argmax(value))
        return Choice(
            number, ego.name, start, steps, k, int(ego.name[1]), int(ego.name[2]), float(value[k]), float(shared[k])
        )

    def users(self, c: Choice) -> list[RecordedUser]:
        """All road users of a sequence, the ego vehicle first."""
        run, lead = self.runs[c.run], round(LEAD_S / STEP_S)
        low, high = c.start - lead, c.start + c.steps + round(TAIL_S / STEP_S)
        out: list[RecordedUser] = []
        for t in sorted(run.tracks, key=lambda t: t.name != c.ego):
            a, b = max(low, t.first), min(high, t.last)
            if b - a < 2:
                continue
            xyh = t.xyh[a - t.first : b - t.first + 1]
            if np.hypot(*xyh[:, :2].T).min() < 125.0:
                out.append(
                    recorded_user(len(out), t.kind, a - low, xyh, (len(out),), parked=False, ego=t.name == c.ego)
                )
        for kind, xyh in self.parked[c.run]:
            out.append(recorded_user(len(out), kind, 0, xyh, (len(out),), parked=True, ego=False))
        return out

    def _sound(self, c: Choice) -> bool:
        """Whether nobody drives through anybody."""
        users = self.users(c)
        return all(overlap_count(list(users), float(t)) == 0 for t in np.arange(0.0, c.steps * STEP_S + 0.4, 0.3))


def _within(p: Float, at: tuple[float, float], yaw: float, half: float, near: float, far: float) -> NDArray[np.bool_]:
    """[N] whether points lie in a sector."""
    d = p - np.asarray(at)
    along, across = d @ [np.cos(yaw), np.sin(yaw)], d @ [-np.sin(yaw), np.cos(yaw)]
    return np.asarray((along > near) & (along < far) & (np.abs(across) < np.tan(half) * along))


__all__ = ["Choice", "Chooser", "draw_poles", "parked_users"]
