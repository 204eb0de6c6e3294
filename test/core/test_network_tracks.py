"""Tracks of the network: how they get from one frame to the next, begin, live and end."""

import json

import numpy as np
import pytest
import torch
from network_cases import REFERENCE, official_config, random_queries, reference, small_config
from scenarios import yawed

from cooptrack_core.model import box_code, outputs
from cooptrack_core.model.agent_model import Perception
from cooptrack_core.model.life_cycle import advance
from cooptrack_core.model.presets import get_preset
from cooptrack_core.model.propagation import propagate
from cooptrack_core.model.queries import NO_ID, Queries
from cooptrack_core.model.session import Step
from cooptrack_core.types import SOURCE_EGO


def degrees(yaw: float, *position: float) -> np.ndarray:
    return yawed(np.deg2rad(yaw), *position)


def transform(R: torch.Tensor, t: torch.Tensor) -> np.ndarray:
    """[4, 4] from the transposed rotation and the shift of the files."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R.numpy().T, t.numpy()
    return T


def moved(T: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(T)


def test_ego_motion_equals_the_published_network():
    arrays = reference("helpers.npz")
    old = transform(arrays["ego_l2g_r1"], arrays["ego_l2g_t1"])
    new = transform(arrays["ego_l2g_r2"], arrays["ego_l2g_t2"])
    points = arrays["ego_in"]
    standing = Queries.empty(len(points), dims=4, classes=3, history=4, like=points).with_(ref_pts=points)
    got = propagate(standing, 0.1, moved(np.linalg.inv(new) @ old), get_preset("official_r50_coop"))
    torch.testing.assert_close(got.ref_pts, arrays["ego_out"], atol=1e-5, rtol=0)


def tracks(config, *boxes) -> Queries:
    """Tracks of (x, y, z, w, l, h, psi, vx, vy)."""
    code = box_code.encode(torch.tensor(boxes, dtype=torch.float64).reshape(-1, 9))
    live = random_queries(len(boxes), config, dtype=torch.float64)
    return live.with_(boxes=code, ref_pts=box_code.normalise(box_code.center(code), config.point_range_m))


CAR = (10.0, 4.0, -1.0, 1.8, 4.4, 1.5, 0.4, 6.0, -2.0)


def test_a_track_goes_on_with_constant_velocity():
    config = small_config()
    live = tracks(config, CAR, (0.0, 0.0, 0.0, 1, 1, 1, 0.0, 0.0, 0.0))
    got = propagate(live, 0.5, moved(np.eye(4)), config)
    centers = box_code.center(got.boxes).numpy()
    np.testing.assert_allclose(centers, [[13.0, 3.0, -1.0], [0.0, 0.0, 0.0]], atol=1e-9)
    np.testing.assert_allclose(box_code.denormalise(got.ref_pts, config.point_range_m), centers, atol=1e-9)
    for name in ("query_feats", "history_feats", "history_padding", "track_id", "misses", "scores"):
        assert torch.equal(getattr(got, name), getattr(live, name))


@pytest.mark.parametrize(("config", "turns"), [(small_config(), True), (official_config(), False)])
def test_velocity_and_heading_turn_with_the_vehicle_by_option(config, turns):
    T_new_from_old = np.linalg.inv(degrees(90.0, 3.0, -1.0))
    got = box_code.decode(propagate(tracks(config, CAR), 0.0, moved(T_new_from_old), config).boxes)[0].numpy()
    np.testing.assert_allclose(got[:3], [5.0, -7.0, -1.0], atol=1e-9)
    np.testing.assert_allclose(got[3:6], [1.8, 4.4, 1.5], atol=1e-9)
    # psi grows clockwise: a vehicle that turns left by a quarter sees it grow by as much.
    expected = [0.4 + np.pi / 2, -2.0, -6.0] if turns else [0.4, 6.0, -2.0]
    np.testing.assert_allclose(got[6:], expected, atol=1e-9)


def test_a_car_parked_in_the_map_stays_there_while_the_vehicle_moves():
    config, old, new = small_config(), degrees(20.0, 5e5, 4e6, 30.0), degrees(23.0, 5e5 + 1.0, 4e6 + 0.4, 30.1)
    parked = tracks(config, (20.0, -3.0, -1.5, 1.8, 4.4, 1.5, 0.4, 0.0, 0.0)).to(torch.float32)
    got = propagate(parked, 0.1, moved(np.linalg.inv(new) @ old), config)
    expected = np.linalg.inv(new) @ old @ [20.0, -3.0, -1.5, 1.0]
    np.testing.assert_allclose(box_code.center(got.boxes)[0], expected[:3], atol=2e-5)


def test_a_track_may_leave_the_range():
    config = small_config()
    got = propagate(tracks(config, (50.0, 0, 0, 1, 1, 1, 0, 40.0, 0.0)), 0.1, moved(np.eye(4)), config)
    assert box_code.center(got.boxes)[0, 0] == pytest.approx(54.0) and got.ref_pts[0, 0] > 1.0


def test_no_tracks_stay_no_tracks():
    config = small_config()
    assert len(propagate(random_queries(0, config), 0.1, moved(degrees(5.0, 1.0)), config)) == 0
    done = advance(random_queries(0, config), 7, config)
    assert len(done.queries) == len(done.live) == len(done.reported) == 0 and done.next_id == 7


def scored(config, *scores, ids=None, is_track=None, misses=None) -> Queries:
    n = len(scores)
    return random_queries(n, config).with_(
        scores=torch.tensor(scores),
        track_id=torch.full((n,), NO_ID) if ids is None else torch.tensor(ids),
        is_track=torch.zeros(n, dtype=torch.bool) if is_track is None else torch.tensor(is_track),
        misses=torch.zeros(n, dtype=torch.int64) if misses is None else torch.tensor(misses),
    )


def test_the_life_cycle_equals_the_published_network():
    config = get_preset("official_r50_coop")
    steps = json.loads((REFERENCE / "runtime_tracker.json").read_text())
    assert len(steps) == 4
    for step in steps:
        queries = scored(
            small_config(), *step["scores"], ids=step["ids"], is_track=step["mask"], misses=step["disappear"]
        )
        done = advance(queries, 5, config)
        live = done.queries.select(done.live)
        assert live.track_id.tolist() == step["live_ids_after"] and live.misses.tolist() == step["disappear_after"]
        assert done.next_id == 5


def test_thresholds_are_above_for_a_track_and_from_for_a_report():
    config = small_config()
    low, high = np.float32(config.output_threshold), np.float32(config.score_threshold)
    up, down = np.float32(1.0), np.float32(0.0)
    scores = [np.nextafter(low, down), low, np.nextafter(low, up), high, np.nextafter(high, up)]
    done = advance(scored(config, *(float(s) for s in scores)), 1, config)
    assert done.reported.tolist() == [False, True, True, True, True]
    assert done.live.tolist() == [False, False, False, False, True]
    assert done.queries.is_track.tolist() == done.live.tolist()
    assert done.queries.track_id.tolist() == [NO_ID, 1, 2, 3, 4] and done.next_id == 5


def test_ids_rise_and_background_takes_some_in_the_published_network_only():
    scores = (0.9, 0.05, 0.35, 0.1, 0.8)
    ours = advance(scored(small_config(), *scores), 10, small_config())
    assert ours.queries.track_id.tolist() == [10, NO_ID, 11, NO_ID, 12] and ours.next_id == 13
    theirs = advance(scored(official_config(), *scores), 10, official_config())
    assert theirs.queries.track_id.tolist() == [10, 11, 12, 13, 14] and theirs.next_id == 15


def test_no_id_is_ever_given_twice():
    config, random = small_config(max_misses=2), np.random.default_rng(3)
    queries, next_id, born = random_queries(0, config), 1, []
    for _ in range(30):
        fresh = scored(config, *[0.0] * 8)
        queries = Queries.cat([queries.select(slice(0, 12)), fresh])
        queries = queries.with_(scores=torch.from_numpy(random.random(len(queries))).float())
        had = set(queries.track_id.tolist())
        done = advance(queries, next_id, config)
        born += [i for i in done.queries.track_id.tolist() if i not in had and i != NO_ID]
        assert done.next_id == next_id + len([i for i in born if i >= next_id])
        queries, next_id = done.queries.select(done.live), done.next_id
    assert born == list(range(1, next_id)) and next_id > 50


def test_a_track_that_was_never_active_is_dropped_and_one_that_was_survives_misses():
    config = small_config(max_misses=3)
    queries = scored(config, 0.35, 0.35, ids=[1, 2], is_track=[False, True])
    lives = []
    for _ in range(4):
        done = advance(queries, 9, config)
        lives.append(done.queries.select(done.live).track_id.tolist())
        queries = done.queries.select(done.live).with_(scores=torch.full((int(done.live.sum()),), 0.1))
    assert lives == [[2], [2], [], []]


@pytest.mark.parametrize(
    ("center_m", "seen"),
    [
        ((20.0, 0.0, -1.5), True),
        ((20.0, 10.5, -1.5), True),  # its near corners only
        ((20.0, 14.0, -1.5), False),
        ((-20.0, 0.0, -1.5), False),
        ((20.0, 0.0, 30.0), False),
    ],
)
def test_what_is_outside_the_image_is_not_seen(center_m: tuple[float, ...], seen: bool) -> None:
    """A camera at the origin that looks along x over 53 degrees, and a car across its view, 4 m wide."""
    config = small_config()
    height, width = config.image_size
    lidar2img = torch.tensor([[width / 2, -width, 0, 0], [height / 2, 0, -width, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    box = torch.tensor([[*center_m, 4.0, 2.0, 1.5, -np.pi / 2, 0.0, 0.0]])
    queries = random_queries(1, config).with_(boxes=box_code.encode(box))
    assert outputs.in_view(queries, lidar2img, config).tolist() == [seen]


def test_a_score_alone_neither_begins_a_track_nor_keeps_it() -> None:
    config = small_config(max_misses=3)
    queries = scored(config, 0.9, 0.9).with_(measured=torch.tensor([True, False]))
    done = advance(queries, 1, config)
    assert done.reported.tolist() == done.live.tolist() == [True, False]
    assert done.queries.track_id.tolist() == [1, -1]
    lives = []
    for _ in range(3):
        done = advance(done.queries.with_(measured=torch.tensor([False, False])), 2, config)
        lives.append(done.live.tolist())
    assert lives == [[True, False], [True, False], [False, False]]


def test_only_an_established_track_is_reported_through_a_short_gap() -> None:
    config = small_config(max_misses=5)
    tracks = scored(config, 0.9, 0.9).with_(
        is_track=torch.ones(2, dtype=torch.bool),
        track_id=torch.tensor([7, 8]),
        misses=torch.zeros(2, dtype=torch.int64),
        measured=torch.zeros(2, dtype=torch.bool),
        hits=torch.tensor([3, 4]),
    )
    reported = []
    for _ in range(4):
        done = advance(tracks, 9, config)
        reported.append(done.reported.tolist())
        tracks = done.queries
    assert reported == [[False, True], [False, True], [False, False], [False, False]]
    assert done.live.tolist() == [True, True]


def test_a_track_is_reported_from_the_hit_that_it_needs_on() -> None:
    config = small_config(birth_hits=2)
    queries = scored(config, 0.9, 0.9)
    reported = []
    for score in (0.9, 0.9, 0.35):
        done = advance(queries.with_(scores=torch.tensor([0.9, score])), 1, config)
        reported.append(done.reported.tolist())
        queries = done.queries.with_(scores=torch.tensor([0.9, 0.35]))
    assert reported == [[False, False], [True, True], [True, True]], "once born it needs no further hits"
    assert done.queries.track_id.tolist() == [1, 2], "the id is that of the first hit"


def test_only_what_the_image_measures_counts_as_seen() -> None:
    config = small_config()
    tracks = random_queries(3, config).with_(measured=torch.tensor([True, False, True]))
    perception = Perception(torch.zeros(1), None, tracks, tracks.map(lambda value: value[None]))
    done = Step(perception, None, None, tracks, advance(tracks, 1, config))
    origin = outputs.origin_of(done, config, (), np.array([True, True, False]))
    assert origin.sources.tolist() == [SOURCE_EGO, 0, 0]
