import numpy as np

from cooptrack_core.evaluation.matching import ClearMatcher
from cooptrack_core.evaluation.summary import summarize, tracking_quality


def thing(identity, x, y=0.0, view="visible", name="car", sources=1):
    return {
        "id": identity, "class": name, "center_m": [x, y, 0.0], "view": view, "sources_ever": sources,
    }  # fmt: skip


def recording(frames, **extra):
    base = {"mode": "late", "detector": "simulated", "T_novatel_from_lidar": np.eye(4).tolist()}
    full = [
        {
            "stamp_ns": 10**18 + i * 100_000_000, "predicted_only": False, "refused": [], "messages": [],
            "timings_ms": {"total": 1.0 + i}, "tracks": tracks, "ground_truth": truth,
        }
        for i, (truth, tracks) in enumerate(frames)
    ]  # fmt: skip
    return base | {"frames": full} | extra


def test_a_switch_is_counted_once_and_also_across_a_gap():
    frames = [
        ([thing("a", 10)], [thing(1, 10)]),
        ([thing("a", 10)], []),
        ([thing("a", 10)], [thing(2, 10)]),
        ([thing("a", 10)], [thing(2, 10)]),
    ]
    assert tracking_quality(recording(frames))["id_switches"] == 1


def test_an_existing_pair_is_kept_although_another_track_is_nearer():
    matcher = ClearMatcher()
    one = np.zeros(1, np.int64)
    matcher.step(["a"], one, np.array([[0.0, 0]]), [1], one, np.array([[0.5, 0]]))
    kept = matcher.step(["a"], one, np.array([[0.0, 0]]), [1, 2], np.zeros(2, np.int64), np.array([[1.5, 0], [0.1, 0]]))
    assert kept == {"a": 1} and matcher.switches == 0


def test_hidden_recall_is_split_by_cause_and_by_range():
    truth = [thing("a", 10, view="outside"), thing("b", 20, view="occluded"), thing("c", 30), thing("far", 60)]
    quality = tracking_quality(recording([(truth, [thing(1, 10.5), thing(2, 60)])]))
    assert quality["hidden_recall"] == {"outside_view": 1.0, "occluded": 0.0}
    assert quality["visible_recall"] == 0.0 and quality["objects"] == 3
    assert quality["false_tracks_per_frame"] == 0.0


def test_matching_respects_class_and_distance():
    truth = [thing("a", 10)]
    for track in (thing(1, 12.1), thing(1, 10, name="bicycle")):
        quality = tracking_quality(recording([(truth, [track])]))
        assert quality["recall"] == 0.0 and quality["false_tracks_per_frame"] == 1.0


def test_tracks_that_are_drawn_faintly_are_counted_apart():
    truth = [thing("a", 10), thing("b", 20)]
    doubtful, lost = thing(2, 20) | {"score": 0.4}, thing(3, 30) | {"score": 0.3}
    summary = summarize(recording([(truth, [thing(1, 10) | {"score": 0.5}, doubtful, lost])]), faint_below_score=0.5)
    assert (summary["recall"], summary["false_tracks_per_frame"]) == (1.0, 1.0)
    assert summary["sure"] == {"score": 0.5, "recall": 0.5, "false_tracks_per_frame": 0.0}


def test_frames_without_annotation_are_not_scored():
    run = recording([([thing("a", 10)], [thing(1, 10)]), ([], [thing(1, 10)])])
    run["frames"][1]["has_ground_truth"] = False
    assert tracking_quality(run)["false_tracks_per_frame"] == 0.0


def test_summary_counts_bytes_tracks_and_ages():
    frames = [([thing("a", 10)], [thing(1, 10), thing(2, 30, sources=2)])] * 11
    sent = [{"agent": "rsu", "bytes": 1000} for _ in range(11)]
    run = recording(frames, sent=sent)
    run["frames"][3]["messages"] = [{"agent": "rsu", "age_ms": 40.0}]
    run["frames"][4]["refused"] = [{"reason": "stale"}]
    summary = summarize(run, ego=recording(frames))
    assert summary["tracks"] == 2 and summary["tracks_only_via_roadside"] == 1
    assert summary["message_bytes_mean"] == 1000.0 and summary["bytes_per_second"] == 10000.0
    assert summary["roadside_age_ms"] == {"p50": 40.0, "p99": 40.0}
    assert summary["processing_ms"]["p50"] == 6.0 and summary["messages_refused"] == {"stale": 1}
    assert set(summary["hidden_recall"]) == {"late", "ego"}


def test_an_empty_run_gives_a_summary_too():
    summary = summarize(recording([]))
    assert summary["frames_out"] == 0 and summary["processing_ms"] == {"p50": None, "p99": None}
