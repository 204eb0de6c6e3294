"""Precision and recall of pairs: what counts as right, as judged, as possible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.evaluation.association import PairCounts, association_scores, count_pairs
from cooptrack_core.evaluation.conventions import CONVENTIONS

A, B, C = (10.0, 0.0), (20.0, 5.0), (30.0, -5.0)


def pair(ego: tuple[float, float], remote: tuple[float, float], index: int = 0, agent: str = "rsu") -> dict[str, Any]:
    return {
        "agent": agent, "ego_index": index, "instance_index": index, "affinity": 0.9, "track_id": index + 1,
        "ego_center_m": [*ego, 0.0], "remote_center_m": [*remote, 0.0],
    }  # fmt: skip


def own(place: tuple[float, float], index: int = 50) -> dict[str, Any]:
    return {"index": index, "track_id": index, "center_m": [*place, 0.0]}


def told(place: tuple[float, float], index: int = 50, agent: str = "rsu") -> dict[str, Any]:
    return {"agent": agent, "instance_index": index, "track_id": index, "center_m": [*place, 0.0]}


def frame(
    pairs: list[Any],
    left: list[Any] | None = None,
    remote: list[Any] | None = None,
    *,
    objects: Any = (A, B, C),
    n: int = 0,
) -> dict[str, Any]:
    return {
        "stamp_ns": 10**9 + n * 10**8, "sequence_id": "0000", "frame_id": f"{n:06d}", "has_ground_truth": True,
        "ground_truth": [{"center_m": [*place, -1.0]} for place in objects],
        "associations": {"pairs": pairs, "unmatched_ego": left or [], "unmatched_remote": remote or []},
    }  # fmt: skip


def near(place: tuple[float, float], by_m: float = 1.0) -> tuple[float, float]:
    return place[0] + by_m, place[1]


def test_pair_at_one_object_is_right_and_pairs_across_objects_are_not() -> None:
    counts = count_pairs(frame([pair(near(A), A, 0), pair(B, C, 1), pair(C, near(B, -2.0), 2)]))
    assert counts == PairCounts(pairs=3, judged=3, right=1, possible=3)


def test_pair_with_a_box_that_is_at_no_object_is_not_judged() -> None:
    counts = count_pairs(frame([pair(A, A, 0), pair(B, near(B, 3.1), 1), pair((90.0, 0.0), (90.0, 0.5), 2)]))
    assert counts == PairCounts(pairs=3, judged=1, right=1, possible=1)


@pytest.mark.parametrize(("by_m", "right"), [(2.99, 1), (3.01, 0)])
def test_a_box_is_at_an_object_up_to_three_metres_on_the_ground(by_m: float, right: int) -> None:
    assert count_pairs(frame([pair(A, near(A, by_m))], objects=[A])).right == right


def test_objects_that_both_sides_have_unpaired_are_missed() -> None:
    counts = count_pairs(frame([pair(A, A)], [own(B)], [told(near(B)), told(C, 51)]))
    assert counts == PairCounts(pairs=1, judged=1, right=1, possible=2)


def test_every_roadside_unit_counts_against_the_vehicle() -> None:
    both = [pair(A, A), {**pair(A, near(A), agent="other"), "instance_index": 3}]
    counts = count_pairs(frame(both, [own(B)], [told(B, agent="other")]))
    assert counts == PairCounts(pairs=2, judged=2, right=2, possible=3)


def test_only_one_box_of_a_side_is_at_an_object() -> None:
    """A second track of the same car is no partner that could be missed."""
    counts = count_pairs(frame([pair(A, A)], [own(near(A))], [told(near(A, 1.5))]))
    assert counts == PairCounts(pairs=1, judged=1, right=1, possible=1)


def test_without_messages_objects_or_known_places_nothing_counts() -> None:
    assert count_pairs(frame([], [own(A)])) == PairCounts()
    assert count_pairs({"ground_truth": [{"center_m": [*A, 0.0]}]}) == PairCounts()  # missed
    assert count_pairs(frame([pair(A, A)], objects=[])) == PairCounts(pairs=1)
    unknown = {**pair(A, A), "remote_center_m": [None, None, None]}
    assert count_pairs(frame([unknown])) == PairCounts(pairs=1)


def test_scores_are_shares_over_all_recordings_and_unknown_where_nothing_was_paired() -> None:
    recordings = [
        {"frames": [frame([pair(A, A), pair(B, C, 1)], n=0), frame([], [own(A)], [told(A)], n=1)]},
        {"frames": [frame([pair(A, A), pair((90.0, 0.0), near(A), 1)], n=0)]},
    ]
    found = association_scores(recordings, CONVENTIONS["cooptrack"])
    assert (found["pairs"], found["judged"], found["right"]) == (4, 3, 2)
    assert found["possible"] == 3 and found["recall"] == pytest.approx(2 / 3)
    assert found["precision"] == pytest.approx(2 / 3) and found["precision_all"] == 0.5
    nothing = association_scores([{"frames": [frame([])]}], CONVENTIONS["cooptrack"])
    assert np.isnan([nothing[name] for name in ("precision", "recall", "precision_all")]).all()


def test_frames_that_the_convention_does_not_score_do_not_count() -> None:
    frames = [frame([pair(A, A)], n=n) for n in range(10)]
    slow = replace(CONVENTIONS["univ2x"], delete_cooperative=False)
    assert association_scores([{"frames": frames}], slow)["pairs"] == 2
    assert association_scores([{"frames": frames}], CONVENTIONS["cooptrack"])["pairs"] == 10


@given(st.lists(st.tuples(st.floats(-40, 40), st.floats(-40, 40)), min_size=1, max_size=8, unique=True))
def test_what_is_right_is_judged_and_possible(places: list[tuple[float, float]]) -> None:
    turned = places[1:] + places[:1]
    counts = count_pairs(
        frame([pair(a, b, i) for i, (a, b) in enumerate(zip(places, turned, strict=True))], objects=places)
    )
    assert 0 <= counts.right <= counts.judged <= counts.pairs == len(places)
    assert counts.right <= counts.possible <= len(places)
