"""The filter of a track's motion: speeds of what moves, none of what stands, the same in every frame of reference."""

from __future__ import annotations

import math
from dataclasses import replace

import network_cases as cases
import numpy as np
import pytest
import small_runtime as small
import torch
from torch import Tensor

from cooptrack_core.model import box_code
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.propagation import propagate
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.track_motion import as_filtered, known, moved, observed

CONFIG = cases.small_config()
STILL = torch.eye(4, dtype=torch.float64)
DT_S = 0.1
BACKWARDS_RAD = 0.8 - math.pi  # how their images look


def at(place: Tensor, measured: bool = True, velocity: tuple[float, float] = (0.0, 0.0)) -> Queries:
    """[N] queries of which nothing is known but where they are, m, and what they face by their image."""
    queries = cases.random_queries(len(place), CONFIG)
    boxes = queries.boxes.clone()
    boxes[:, 6:8] = torch.tensor([-math.cos(BACKWARDS_RAD), -math.sin(BACKWARDS_RAD)])
    boxes[:, 8:10] = torch.tensor(velocity)
    centre = torch.cat((place.float(), torch.zeros(len(place), 1)), dim=1)
    boxes = box_code.with_center(boxes, centre)
    points = box_code.normalise(centre, CONFIG.point_range_m)
    return queries.with_(boxes=boxes, ref_pts=points, measured=torch.full((len(place),), measured))


def follow(places: Tensor, T_step: Tensor = STILL, measured: list[bool] | None = None) -> list[Queries]:
    """[K, N, 2] places of successive frames, each in the frame of its time -> the queries after every frame."""
    found: list[Queries] = []
    for k, place in enumerate(places):
        now = at(place, True if measured is None else measured[k])
        if found:
            now = now.with_(motion=moved(found[-1].motion, DT_S, T_step), hits=found[-1].hits + 1)
        found.append(as_filtered(observed(now)))
    return found


def velocity(queries: Queries) -> Tensor:
    return queries.boxes[:, 8:10]


def drive(speed_mps: float, heading_rad: float, frames: int, noise_m: float, count: int = 200) -> Tensor:
    """[K, N, 2] noisy places of count objects that drive alike."""
    random = np.random.default_rng(3)
    way = speed_mps * DT_S * np.arange(frames)[:, None, None] * [math.cos(heading_rad), math.sin(heading_rad)]
    return torch.from_numpy(way + random.normal(0.0, noise_m, (frames, count, 2))).float()


@pytest.mark.parametrize("speed_mps", [3.0, 8.0, 15.0])
def test_speed_of_what_drives_is_known_after_a_second(speed_mps: float) -> None:
    last = follow(drive(speed_mps, 0.7, 11, 0.2))[-1]
    wanted = speed_mps * torch.tensor([math.cos(0.7), math.sin(0.7)])
    error = (velocity(last) - wanted).norm(dim=1)
    assert float(error.mean()) < 0.9
    assert torch.allclose(velocity(last).mean(0), wanted, atol=0.35)


def test_what_stands_gets_hardly_any_speed_from_noise() -> None:
    frames = follow(drive(0.0, 0.0, 30, 0.2))
    speeds = torch.stack([velocity(queries).norm(dim=1) for queries in frames[5:]])
    assert float(speeds.mean()) < 0.35
    alone = frames[-1].motion[:, 2:4].norm(dim=1)  # what the hypothesis that it moves would say
    assert float(speeds[-1].mean()) < 0.5 * float(alone.mean())


def test_what_starts_to_drive_gets_its_speed() -> None:
    stands = drive(0.0, 0.0, 20, 0.1)
    drives = drive(6.0, 0.0, 16, 0.1)[1:]
    frames = follow(torch.cat((stands, drives)))
    assert float(velocity(frames[19]).norm(dim=1).mean()) < 0.3
    assert float((velocity(frames[-1]) - torch.tensor([6.0, 0.0])).norm(dim=1).mean()) < 1.0


def test_first_frame_keeps_what_the_network_says() -> None:
    first = as_filtered(observed(at(torch.zeros(3, 2), velocity=(1.5, -2.0))))
    assert torch.equal(velocity(first), torch.tensor([[1.5, -2.0]]).expand(3, 2))
    assert bool(known(first.motion).all())


def test_gap_keeps_the_speed_and_moves_the_place() -> None:
    seen = drive(8.0, 0.0, 12, 0.05)
    hidden = torch.full((4, seen.shape[1], 2), 77.0)  # of what is not measured the place is not looked at
    frames = follow(torch.cat((seen, hidden)), measured=[True] * 12 + [False] * 4)
    before, after = frames[11], frames[-1]
    assert torch.allclose(velocity(after), velocity(before))
    way = after.motion[:, 0:2] - before.motion[:, 0:2]
    assert torch.allclose(way, before.motion[:, 2:4] * 0.4, atol=1e-3)
    assert bool((after.motion[:, 4] > before.motion[:, 4]).all()), "it grows less certain"


def test_jump_to_where_another_agent_sees_it_is_no_speed() -> None:
    stands = drive(0.0, 0.0, 20, 0.05)
    jumped = drive(0.0, 0.0, 15, 0.05) + torch.tensor([1.5, 0.0])
    speeds = [float(velocity(queries).norm(dim=1).mean()) for queries in follow(torch.cat((stands, jumped)))]
    assert max(speeds[20:]) < 3.0  # the jump itself would be 15 m/s
    assert speeds[-1] < 0.6


def test_turned_and_shifted_frame_turns_velocities_alone() -> None:
    """The same drive seen from a vehicle that turns and drives itself."""
    places = drive(7.0, 0.3, 12, 0.15, count=20)
    angle = 0.05
    T_new_from_old = torch.tensor(
        [[math.cos(angle), math.sin(angle), 0, -0.8], [-math.sin(angle), math.cos(angle), 0, 0.1],
         [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)  # fmt: skip
    seen, T = [], STILL
    for place in places:
        seen.append((place.double() @ T[:2, :2].T + T[:2, 3]).float())
        T = T_new_from_old @ T
    total = torch.linalg.matrix_power(T_new_from_old, len(places) - 1)
    still, moving = follow(places)[-1], follow(torch.stack(seen), T_new_from_old)[-1]
    assert torch.allclose(velocity(moving), velocity(still) @ total[:2, :2].T.float(), atol=1e-3)
    assert torch.allclose(moving.motion[:, 4:7], still.motion[:, 4:7], atol=1e-4)


@pytest.mark.parametrize("speed_mps", [4.0, 12.0])
def test_what_drives_backwards_by_its_image_is_turned_round(speed_mps: float) -> None:
    last = follow(drive(speed_mps, 0.7, 15, 0.1))[-1]
    headings = torch.from_numpy(box_code.to_public(last.boxes.double().numpy()).heading_rad)
    assert float((headings - 0.7).abs().max()) < 0.13  # its image is 0.1 off beside
    assert float((headings - 0.7).abs().mean()) < 0.09  # and its way tells more than that


def test_what_backs_up_slowly_keeps_its_heading() -> None:
    places = drive(1.0, 0.7, 15, 0.1)
    frames = follow(places)
    assert torch.equal(frames[-1].boxes[:, 6:8], at(places[-1]).boxes[:, 6:8])


def test_unknown_states_stay_unknown_until_a_frame_ends() -> None:
    blank = at(torch.zeros(4, 2))
    assert not bool(known(moved(blank.motion, DT_S, STILL)).any())
    assert not bool(known(propagate(blank, DT_S, STILL, CONFIG).motion).any())


def test_variances_stay_positive_over_long_and_uneven_tracks() -> None:
    random = np.random.default_rng(0)
    queries = observed(at(torch.zeros(50, 2)))
    for _ in range(200):
        place = torch.from_numpy(random.normal(0.0, 5.0, (50, 2)))
        queries = at(place, bool(random.random() < 0.7)).with_(
            motion=moved(queries.motion, float(random.uniform(0.0, 1.0)), STILL)
        )
        queries = observed(queries)
        xx, xv, vv = queries.motion[:, 4], queries.motion[:, 5], queries.motion[:, 6]
        assert bool((xx > 0).all()) and bool((vv > 0).all()) and bool((xv**2 <= xx * vv * 1.001).all())
        assert bool(queries.motion.isfinite().all())
        moves = queries.motion[:, 10]
        assert bool(((moves >= 0) & (moves <= 1)).all())


@pytest.mark.parametrize("fed_back", [False, True])
def test_tracks_go_on_by_what_is_reported_only_where_the_option_says_so(fed_back: bool) -> None:
    made = small.config("coop")
    made = replace(made, options=replace(made.options, filtered_motion=fed_back))
    network = small.runtime(made)
    small.run(network, small.frames(6), small.with_message)
    memory = network._session.memory
    assert memory is not None
    live = memory.live
    told = as_filtered(live)
    assert bool(known(live.motion).any()) and len(live) > 0
    assert torch.allclose(velocity(told), velocity(live)) is fed_back


def test_published_networks_keep_the_velocities_that_they_say() -> None:
    official, ours = get_preset("official_r50_coop").options, get_preset("tiny_inf").options
    assert not official.filtered_velocity and not official.filtered_motion
    assert ours.filtered_velocity and ours.filtered_motion
