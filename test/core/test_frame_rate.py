"""Trackers at 2 Hz: limits last as many frames as at 10 Hz."""

from __future__ import annotations

from dataclasses import replace

from cooptrack_core.config import RoadsideConfig, TrackerConfig, VehicleConfig
from cooptrack_core.evaluation.frame_rate import at_frame_step


def test_limits_last_as_many_frames_at_a_lower_rate() -> None:
    for config in (VehicleConfig(), RoadsideConfig()):
        slow = at_frame_step(config, 5)
        assert slow.tracker.max_coast_ms == 5 * TrackerConfig().max_coast_ms
        assert slow.tracker.tentative_coast_ms == 5 * TrackerConfig().tentative_coast_ms
        assert slow.tracker.max_frame_gap_ms == 5 * TrackerConfig().max_frame_gap_ms
        unchanged = {name: getattr(TrackerConfig(), name) for name in ("max_coast_ms", "tentative_coast_ms")}
        unchanged["max_frame_gap_ms"] = TrackerConfig().max_frame_gap_ms
        assert replace(slow, tracker=replace(slow.tracker, **unchanged)) == config


def test_at_full_rate_nothing_changes() -> None:
    assert at_frame_step(VehicleConfig(), 1) == VehicleConfig()


def test_limits_that_were_given_stay() -> None:
    given = VehicleConfig(tracker=TrackerConfig(max_coast_ms=700.0))
    assert at_frame_step(given, 5).tracker.max_coast_ms == 700.0


def test_limits_stay_within_what_the_parameter_allows() -> None:
    assert at_frame_step(VehicleConfig(), 1000).tracker.max_coast_ms == 5000.0
