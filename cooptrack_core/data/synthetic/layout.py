"""The intersection: lanes, crosswalks and the routes through them, in the scene frame S.

Four equal arms. In arm axes, u points outward from the centre and v to the left of outward, so that
inbound traffic (right-hand rule) has v > 0 and outbound traffic v < 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.paths import Path, blend, rounded_corner

Float = NDArray[np.float64]

ARMS = ("south", "east", "north", "west")
OUTWARD_RAD = {"south": -np.pi / 2, "east": 0.0, "north": np.pi / 2, "west": np.pi}
RIGHT_OF = {"south": "east", "east": "north", "north": "west", "west": "south"}
LEFT_OF = {b: a for a, b in RIGHT_OF.items()}
OPPOSITE = {"south": "north", "north": "south", "east": "west", "west": "east"}

INBOUND_V_M = (1.9, 5.3, 8.7)  # left turn, through, through and right
OUTBOUND_V_M = (-2.0, -5.6)
LANE_EDGES_IN_M = (0.2, 3.6, 7.0, 10.4)
LANE_EDGES_OUT_M = (-0.2, -3.8, -7.4)
BIKE_V_M = 11.5
KERB_V_M = 12.6
PARKING_V_M = -8.85
PARKING_FROM_U_M = 40.0
SIDEWALK_V_M = 17.8  # outer edge
SIDEWALK_Z_M = 0.13
WALK_V_M = 15.6
KERB_RADIUS_M = 6.0
BOX_U_M = 16.0  # inner edge of the crosswalk
CROSSWALK_U_M = (16.6, 20.6)
STOP_LINE_U_M = 22.2
ARM_LENGTH_M = 135.0
ROAD_END_M = 420.0  # the road is drawn to here


@dataclass(frozen=True)
class Route:
    """A path through the intersection; stop_s_m is where the stop line lies, movement names the signal group."""

    name: str
    arm: str
    exit_arm: str
    movement: str  # through, right, left, walk
    path: Path
    stop_s_m: tuple[float, ...]
    signals: tuple[str, ...]  # signal group of each stop line


def from_arm(arm: str, u_m: float, v_m: float) -> Float:
    """[2] scene position of arm coordinates."""
    a = OUTWARD_RAD[arm]
    c, s = round(float(np.cos(a)), 12), round(float(np.sin(a)), 12)
    return np.array([c * u_m - s * v_m, s * u_m + c * v_m])


def ground_z_m(x: float, y: float) -> float:
    """Height of the ground: 0 on the road, SIDEWALK_Z_M beyond the kerb, with a short ramp for feet."""
    a, b, c = abs(x), abs(y), KERB_V_M + KERB_RADIUS_M
    inside = min(a, b) - KERB_V_M
    if a < c and b < c:
        inside = KERB_RADIUS_M - float(np.hypot(c - a, c - b))
    return SIDEWALK_Z_M * float(np.clip(inside / 0.4 + 0.5, 0.0, 1.0))


def axis_of(arm: str) -> str:
    """NS or EW."""
    return "NS" if arm in ("south", "north") else "EW"


def _direction(a: Float, b: Float) -> Float:
    return np.asarray((b - a) / np.hypot(*(b - a)))


@cache
def vehicle_route(arm: str, lane: int, movement: str) -> Route:
    """Route of a motor vehicle from an arm's lane (0 left turn, 1 through, 2 through and right)."""
    v = INBOUND_V_M[lane]
    exit_arm = {"left": LEFT_OF[arm], "through": OPPOSITE[arm], "right": RIGHT_OF[arm]}[movement]
    exit_v = {"left": OUTBOUND_V_M[0], "through": OUTBOUND_V_M[max(0, lane - 1)], "right": OUTBOUND_V_M[1]}[movement]
    start, line = from_arm(arm, ARM_LENGTH_M, v), from_arm(arm, STOP_LINE_U_M, v)
    end = from_arm(exit_arm, ARM_LENGTH_M, exit_v)
    if movement == "through":
        a, b = from_arm(arm, BOX_U_M, v), from_arm(exit_arm, BOX_U_M + 4.0, exit_v)
        d = _direction(start, line)
        points = np.concatenate([start[None], blend(tuple(a), tuple(d), tuple(b), tuple(d)), end[None]])
    else:
        # The corner is where the inbound and the outbound lane lines cross.
        corner = from_arm(arm, _crossing_u(exit_v, movement), v)
        points = rounded_corner(tuple(start), tuple(corner), tuple(end), 13.0 if movement == "left" else 9.0)
    path = Path(points)
    group = f"{axis_of(arm)}-{'left' if movement == 'left' else 'through'}"
    return Route(f"{arm}-{lane}-{movement}", arm, exit_arm, movement, path, (path.nearest(line),), (group,))


def _crossing_u(exit_v: float, movement: str) -> float:
    """u of the inbound arm at which the exit lane crosses it."""
    return exit_v if movement == "left" else -exit_v


@cache
def bike_route(arm: str, movement: str) -> Route:
    """Route of a cyclist in the kerb-side bike lane, straight on or to the right."""
    start, line = from_arm(arm, ARM_LENGTH_M, BIKE_V_M), from_arm(arm, STOP_LINE_U_M - 0.4, BIKE_V_M)
    exit_arm = OPPOSITE[arm] if movement == "through" else RIGHT_OF[arm]
    end = from_arm(exit_arm, ARM_LENGTH_M, -BIKE_V_M)
    if movement == "through":
        path = Path(np.stack([start, end]))
    else:
        corner = from_arm(arm, BIKE_V_M, BIKE_V_M)
        path = Path(rounded_corner(tuple(start), tuple(corner), tuple(end), 7.0))
    signals = (f"{axis_of(arm)}-through",)
    return Route(f"{arm}-bike-{movement}", arm, exit_arm, movement, path, (path.nearest(line),), signals)


def walk_route(arm: str, side: float, crosses: bool, inward: bool, from_u_m: float, offset_m: float) -> Route:
    """Route of a pedestrian on the sidewalk of an arm at v = side * WALK_V_M.

    With crosses, it goes to the corner, over the crosswalk of that arm and on along the other sidewalk;
    otherwise along the sidewalk, inward or outward. offset_m shifts it sideways.
    """
    v = side * (WALK_V_M + offset_m)
    mid_u = sum(CROSSWALK_U_M) / 2 + offset_m
    if not crosses:
        ends = [from_arm(arm, from_u_m, v), from_arm(arm, max(mid_u - 2.0, 17.0), v)]
        if not inward:
            ends = [from_arm(arm, from_u_m, v), from_arm(arm, 110.0, v)]
        return Route(f"{arm}-walk", arm, arm, "walk", Path(np.stack(ends)), (), ())
    kerb = side * (KERB_V_M + 0.6)
    turn = from_arm(arm, mid_u, v)
    far = from_arm(arm, mid_u, -v)
    out = from_arm(arm, 100.0, -v)
    first = rounded_corner(tuple(from_arm(arm, from_u_m, v)), tuple(turn), tuple(from_arm(arm, mid_u, kerb)), 1.2)
    last = rounded_corner(tuple(from_arm(arm, mid_u, -kerb)), tuple(far), tuple(out), 1.2)
    path = Path(np.concatenate([first, last]))
    # Pedestrians over the arm walk while that arm's own traffic stands.
    group = f"{'EW' if axis_of(arm) == 'NS' else 'NS'}-through"
    return Route(f"{arm}-cross", arm, arm, "walk", path, (path.nearest(from_arm(arm, mid_u, kerb)),), (group,))


@dataclass(frozen=True)
class MapLane:
    """A lane for the map file: centre line and boundaries [N, 2]."""

    kind: str  # CITY_DRIVING or BIKING
    turn: str
    controlled: bool
    inside: bool
    centre_m: Float
    left_m: Float
    right_m: Float


def map_lanes() -> list[MapLane]:
    """All lanes outside the junction and the turns through it."""
    lanes = []
    for arm in ARMS:
        edges_in = (*LANE_EDGES_IN_M, KERB_V_M)
        edges_out = (*LANE_EDGES_OUT_M, -10.4, -KERB_V_M)
        for edges, inbound in ((edges_in, True), (edges_out, False)):
            ends = (ARM_LENGTH_M, STOP_LINE_U_M) if inbound else (STOP_LINE_U_M, ARM_LENGTH_M)
            for k, (a, b) in enumerate(pairwise(edges)):
                if not inbound and k == 2:
                    continue  # the parking strip
                kind = "BIKING" if max(abs(a), abs(b)) == KERB_V_M else "CITY_DRIVING"
                lines = [np.stack([from_arm(arm, u, v) for u in ends]) for v in ((a + b) / 2, a, b)]
                lanes.append(MapLane(kind, "NONE", inbound, False, *lines))
        for lane, movement, turn in (
            (0, "left", "LEFT"),
            (1, "through", "NONE"),
            (2, "through", "NONE"),
            (2, "right", "RIGHT"),
        ):
            path = vehicle_route(arm, lane, movement).path
            s = np.arange(ARM_LENGTH_M - STOP_LINE_U_M, path.length_m - ARM_LENGTH_M + STOP_LINE_U_M, 1.0)
            centre, heading = path.at(s)
            side = 1.7 * np.stack([-np.sin(heading), np.cos(heading)], axis=1)
            lanes.append(MapLane("CITY_DRIVING", turn, True, True, centre, centre + side, centre - side))
    return lanes


def crosswalk_polygons() -> list[Float]:
    """[4, 2] outline of each arm's crosswalk."""
    (a, b), v = CROSSWALK_U_M, KERB_V_M
    return [np.stack([from_arm(arm, *c) for c in ((a, -v), (b, -v), (b, v), (a, v))]) for arm in ARMS]


def junction_polygon() -> Float:
    """[8, 2] outline of the junction up to the crosswalks."""
    return np.stack([from_arm(arm, BOX_U_M, v) for arm in ARMS for v in (-KERB_V_M, KERB_V_M)])


__all__ = [
    "ARMS",
    "MapLane",
    "Route",
    "axis_of",
    "bike_route",
    "crosswalk_polygons",
    "from_arm",
    "ground_z_m",
    "junction_polygon",
    "map_lanes",
    "vehicle_route",
    "walk_route",
]
