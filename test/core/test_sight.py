"""What a vehicle sees by itself, where it has proven to see, and what it may say of others for that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenarios import cars, yawed

from cooptrack_core.config import LateFusionConfig
from cooptrack_core.cooperation.coverage import Coverage, hidden_behind, seen_through
from cooptrack_core.cooperation.late_fusion import fuse
from cooptrack_core.cooperation.sight import sight_of
from cooptrack_core.cooperation.sight_evidence import Recall, Scale, refutations
from cooptrack_core.cooperation.sight_watch import Claim, SightWatch, View
from cooptrack_core.model.outputs import no_tracks
from cooptrack_core.types import SOURCE_EGO, SOURCE_REMOTE, Instances, TrackedObjects

HERE = np.eye(4)


def tracks(places, sources) -> TrackedObjects:
    """Reported tracks 1, 2, ... of cars at places, with the sources of this frame."""
    n, seen = len(places), cars(*places)
    blank = no_tracks(0)
    columns = {
        "track_id": np.arange(1, n + 1), "class_id": seen.class_id, "score": seen.score, "center_m": seen.center_m,
        "size_m": seen.size_m, "heading_rad": seen.heading_rad, "sources": np.array(sources), "agents": [()] * n,
    }  # fmt: skip
    return replace(blank, **columns)


def associations(own: Instances):
    """Nothing paired."""
    return fuse(own, (), 0, HERE, LateFusionConfig())[1]


def test_a_network_sees_what_it_measured_and_where_it_measured_it_before_fusion():
    found = tracks([(10.5, 0), (20, 3), (30, 0)], [SOURCE_EGO | SOURCE_REMOTE, SOURCE_REMOTE, SOURCE_EGO])
    own = replace(
        associations(cars((10, 0), (20, 3), (31, 0))), unmatched_ego_track_id=np.array([1, 2, 3])
    )  # fmt: skip
    sight = sight_of(None, own, found)
    assert sight.track_id.tolist() == [1, 3] and sight.center_m[:, 0].tolist() == [10.0, 31.0]


def test_a_detector_sees_all_that_it_reports_and_tracks_are_named_where_there_are_any():
    seen = cars((10, 0), (20, 3))
    own = replace(associations(seen), unmatched_ego_track_id=np.array([7, 0]))
    sight = sight_of(seen, own, tracks([(10, 0)], [SOURCE_EGO]))
    assert sight.track_id.tolist() == [7, 0] and len(sight) == 2
    assert len(sight_of(Instances.empty(), associations(Instances.empty()), tracks([], []))) == 0


# Coverage.


def proven(*seen_at, times: int = 5) -> Coverage:
    coverage = Coverage()
    for _ in range(times):
        coverage.add(cars(*seen_at).center_m, HERE)
    return coverage


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((30, 0), True),  # where it was seen
        ((15, 0), True),  # on the line of sight to it
        ((45, 0), False),  # beyond
        ((15, 10), False),  # in another direction
        ((-15, 0), False),
    ],
)
def test_a_sensor_has_to_see_where_it_has_seen_and_on_the_way_there(place, expected):
    assert proven((30, 0)).in_sight(cars(place).center_m, HERE).tolist() == [expected]


def test_at_first_and_after_few_sightings_nothing_has_to_be_seen():
    assert Coverage().in_sight(cars((10, 0)).center_m, HERE).tolist() == [False]
    assert proven((30, 0), times=2).in_sight(cars((15, 0)).center_m, HERE).tolist() == [False]


def test_what_stands_beside_a_line_of_sight_may_hide_behind_something():
    """From elsewhere the same direction crosses ground through which nothing was seen."""
    coverage, moved = proven((30, 0)), yawed(0.0, 0.0, 20.0)
    assert coverage.in_sight(cars((15, 0)).center_m, moved).tolist() == [False]


def test_an_object_hides_what_is_behind_it_and_only_that():
    behind, beside, before = cars((30, 0)), cars((30, 8)), cars((10, 0))
    truck = cars((20, 0))
    for one, expected in ((behind, True), (beside, False), (before, False)):
        assert hidden_behind(one.center_m, truck.center_m, truck.size_m).tolist() == [[expected]]


def test_what_is_seen_behind_an_object_speaks_against_it_beyond_the_error():
    ghost = cars((15, 0))
    for seen, expected in (((25, 0), True), ((17, 0), False), ((25, 5), False), ((10, 0), False)):
        assert seen_through(ghost.center_m, ghost.size_m, cars(seen).center_m, 4.0).tolist() == [[expected]]


# Recall and scale.


def view(claim: Claim, *, seen: bool) -> View:
    return View([claim], np.array([True]), np.array([seen]), np.array([False]), [])


def said(claim: Claim, recall: Recall, *, plain: bool = True, through: bool = False) -> str:
    """What is said of an object that is not seen."""
    return refutations(View([claim], np.array([plain]), np.array([False]), np.array([through]), []), recall)[0]


def recall(share: float, class_id: int = 0, count: int = 200) -> Recall:
    made = Recall()
    for k in range(count):
        made.update(view(Claim(class_id, np.zeros(2), 0.0, plain=9, seen=9), seen=k < share * count))
    return made


@pytest.mark.parametrize(("share", "expected"), [(0.95, "unseen"), (0.75, "unseen"), (0.6, ""), (0.3, "")])
def test_only_who_sees_well_may_say_that_something_is_not_there(share, expected):
    ghost = Claim(0, np.zeros(2), 0.0, plain=9, unseen=9)
    assert said(ghost, recall(share)) == expected
    assert said(ghost, Recall()) == ""  # who has shown nothing yet neither


def test_recall_is_that_of_the_class_and_of_the_range():
    made = recall(1.0)
    for _ in range(60):
        made.update(view(Claim(2, np.zeros(2), 0.0, range_m=30.0, plain=9, seen=9), seen=False))
    far_pedestrian = Claim(2, np.zeros(2), 0.0, range_m=30.0, plain=9, unseen=9)
    assert made.of(far_pedestrian) < 0.3 and made.of(Claim(0, np.zeros(2), 0.0)) > 0.9
    assert said(far_pedestrian, made) == ""


def test_ghosts_do_not_lower_the_recall():
    made = recall(0.9)
    before = made.of(Claim(0, np.zeros(2), 0.0))
    for _ in range(500):
        made.update(view(Claim(0, np.zeros(2), 0.0, plain=9, unseen=9), seen=False))
    assert made.of(Claim(0, np.zeros(2), 0.0)) == before


def test_what_is_seen_through_counts_sooner_but_only_while_it_is():
    ghost = Claim(0, np.zeros(2), 0.0, plain=3, unseen=3, transparent=3)
    assert said(ghost, recall(0.95), through=True) == "transparent"
    assert said(ghost, recall(0.95)) == said(ghost, recall(0.95), plain=False) == ""


def test_what_was_seen_before_and_is_lost_takes_three_times_as_long():
    good = recall(0.95)
    lost = Claim(0, np.zeros(2), 0.0, plain=30, seen=10, unseen=12)
    assert said(lost, good) == ""
    lost.unseen = 24
    assert said(lost, good) == "unseen"


def test_the_bound_of_displacement_follows_what_is_usual_and_is_capped():
    made = Scale()
    assert not made.known and made.bound_m() < 3.0
    for _ in range(60):
        made.add(1.0)
    assert made.known and made.bound_m() == pytest.approx(4.5)
    for _ in range(60):
        made.add(50.0)
    assert made.bound_m() == pytest.approx(6.0)


def test_a_new_id_at_the_place_of_a_vanished_object_inherits_what_is_known_of_it():
    watch, coverage = SightWatch(), proven((30, 0))
    nothing = sight_of(Instances.empty(), associations(Instances.empty()), tracks([], []))
    for k in range(12):
        ghost = cars((15.0 + 0.2 * k, 0), instance_id=np.array([100 + k]))
        seen = watch.look(0.1 * k, HERE, HERE, ghost, nothing, coverage, 2.0)
    assert seen.claims[0].plain == 12 and len(watch.claims) == 1


def test_as_many_objects_without_ids_as_there_are_stay_apart():
    watch = SightWatch()
    nothing = sight_of(Instances.empty(), associations(Instances.empty()), tracks([], []))
    for k in range(5):
        watch.look(0.1 * k, HERE, HERE, cars((15, 0), (25, 6), (35, -6)), nothing, Coverage(), 2.0)
    assert len(watch.claims) <= 4


def test_the_bound_of_places_follows_the_quantile_of_their_differences():
    rng = np.random.default_rng(1)
    for count in (0, 1, 7, 30, 100):
        scale, samples = Scale(), [0.3] * 5
        for value in rng.uniform(0.0, 2.0, count):
            scale.add(value)
            samples.append(value)
        assert scale.bound_m() == 1.5 + 3.0 * min(float(np.quantile(samples[-60:], 0.7)), 1.5)


def test_places_are_in_sight_one_by_one_as_all_together():
    rng, T_map = np.random.default_rng(2), yawed(0.7, 100.0, -40.0)
    coverage, one_by_one = Coverage(), Coverage()
    for _ in range(20):
        places = np.column_stack((rng.uniform(-40, 40, (8, 2)), np.zeros(8)))
        coverage.add(places, T_map)
        for k in range(len(places)):
            one_by_one.add(places[k : k + 1], T_map)
    asked = np.column_stack((rng.uniform(-60, 60, (300, 2)), np.zeros(300)))
    together = coverage.in_sight(asked, T_map)
    assert 30 < together.sum() < 270
    assert [bool(one_by_one.in_sight(asked[k : k + 1], T_map)[0]) for k in range(300)] == together.tolist()
    assert coverage.in_sight(asked[:0], T_map).shape == (0,)
