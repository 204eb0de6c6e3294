"""A crossing with road users on known paths, and any number of agents that see some of them from a noisy pose."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scenarios import CAR_SIZE, STEP_NS, yawed
from simulated import LATE

from cooptrack_core.config import RoadsideConfig
from cooptrack_core.cooperation.loopback import over_the_air
from cooptrack_core.geometry.transforms import apply, inverse
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent, VehicleOutput
from cooptrack_core.types import Frame, Instances

START_NS = 10**18
UNIT = RoadsideConfig(detector="simulated")
TELLING = replace(LATE, publish_instances=True)
NEAR_M = 4.0  # a track within this of a road user is one of it


@dataclass
class World:
    """Cars on parallel lanes, 7 m apart and more, driving east and west."""

    lanes: int = 4
    per_lane: int = 5
    spacing_m: float = 14.0
    speed_mps: float = 6.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))

    def centers(self, index: int) -> np.ndarray:
        """[N, 3] in the map."""
        rows = []
        for lane in range(self.lanes):
            sign = 1.0 if lane % 2 else -1.0
            for k in range(self.per_lane):
                x = (k - self.per_lane / 2) * self.spacing_m + sign * self.speed_mps * 0.1 * index + 3.0 * lane
                rows.append((x, 7.0 * (lane - self.lanes / 2) + 3.5, 0.75))
        return np.array(rows)

    def headings(self) -> np.ndarray:
        return np.repeat([0.0 if lane % 2 else np.pi for lane in range(self.lanes)], self.per_lane)


@dataclass
class Member:
    """An agent with its true and its believed pose, and how it sees."""

    agent: RoadsideAgent | VehicleAgent
    T_map: np.ndarray
    error: np.ndarray  # believed pose = T_map @ error
    misses: float = 0.05
    std_m: float = 0.2
    reach_m: float = 45.0
    blind: tuple[float, float] = (0.0, 0.0)  # bearings from..to that it cannot see, rad

    def frame(self, world: World, index: int) -> Frame:
        local = apply(inverse(self.T_map), world.centers(index))
        bearing = np.arctan2(local[:, 1], local[:, 0])
        seen = (np.hypot(local[:, 0], local[:, 1]) < self.reach_m) & (world.rng.random(len(local)) >= self.misses)
        seen &= ~((bearing > self.blind[0]) & (bearing < self.blind[1]))
        noisy = local + np.pad(world.rng.normal(0.0, self.std_m, (len(local), 2)), ((0, 0), (0, 1)))
        yaw = np.arctan2(self.T_map[1, 0], self.T_map[0, 0])
        count = len(local)
        found = Instances.create(
            noisy, np.tile(CAR_SIZE, (count, 1)), world.headings() - yaw, np.zeros(count, np.int64), np.full(count, 0.8)
        ).select(seen)
        return Frame(START_NS + index * STEP_NS, self.T_map @ self.error, found)


def pose_error(rng: np.random.Generator, std_m: float, std_deg: float) -> np.ndarray:
    return yawed(np.deg2rad(rng.normal(0.0, std_deg)), *rng.normal(0.0, std_m, 2))


def unit(name: str, world: World, x: float, y: float, yaw: float, std_m=0.3, std_deg=0.3, session=1, **how) -> Member:
    agent = RoadsideAgent(name, UNIT, session, f"{name}/lidar")
    return Member(agent, yawed(yaw, x, y), pose_error(world.rng, std_m, std_deg), **how)


def car(
    name: str, world: World, x: float, y: float, yaw: float, std_m=0.3, std_deg=0.3, config=TELLING, **how
) -> Member:
    agent = VehicleAgent(name, config, session_id=2, sensor_frame=f"{name}/lidar")
    return Member(agent, yawed(yaw, x, y), pose_error(world.rng, std_m, std_deg), **how)


def drive(
    world: World, ego: Member, others: list[Member], count: int, present=lambda member, index: True, start: int = 0
) -> list[VehicleOutput]:
    """Everybody steps; what others tell reaches the ego vehicle, and everybody else, before the next step."""
    outputs = []
    for index in range(start, start + count):
        sent = []
        for member in others:
            if present(member, index):
                sent.append(member.agent.step(member.frame(world, index)).message)
        outputs.append(ego.agent.step(ego.frame(world, index)))
        sent.append(outputs[-1].message)
        now_ns = START_NS + index * STEP_NS
        for message in (over_the_air(m) for m in sent if m is not None):
            for member in (ego, *others):
                if isinstance(member.agent, VehicleAgent) and member.agent.agent_id != message.agent_id:
                    member.agent.receive(message, now_ns)
    return outputs


@dataclass
class Count:
    """Tracks of the road users in range, over the frames counted."""

    objects: int = 0
    found: int = 0
    doubles: int = 0
    switches: int = 0


def count_tracks(world: World, ego: Member, outputs: list[VehicleOutput], start: int = 5) -> Count:
    """Tracks near each road user within 40 m of the vehicle's true place."""
    total, last = Count(), {}
    for index, output in enumerate(outputs):
        if index < start:
            continue
        truth = apply(inverse(ego.T_map), world.centers(index))
        distance = np.hypot(*(truth[:, None, :2] - output.tracks.center_m[None, :, :2]).transpose(2, 0, 1))
        nearest = distance.argmin(axis=0) if distance.size else np.zeros(0, int)
        for k in np.flatnonzero(np.hypot(truth[:, 0], truth[:, 1]) < 40.0):
            own = np.flatnonzero((nearest == k) & (distance[k] < NEAR_M))
            total.objects += 1
            total.found += len(own) > 0
            total.doubles += max(len(own) - 1, 0)
            if len(own):
                best = int(output.tracks.track_id[own[distance[k, own].argmin()]])
                total.switches += last.get(k, best) != best
                last[k] = best
    return total
