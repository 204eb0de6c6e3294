"""Stages of a frame: who collects them gets all of them, and nobody else pays."""

from __future__ import annotations

import threading

import pytest
import torch

from cooptrack_core.stage_clock import collect_stages, stage


def test_stages_that_come_twice_are_added_up() -> None:
    ticks: list[int] = []
    with collect_stages(lambda: ticks.append(1)) as found:
        for name in ("decoder", "GBA", "decoder"):
            with stage(name):
                pass
    assert list(found) == ["decoder", "GBA"] and all(ms >= 0.0 for ms in found.values())
    assert len(ticks) == 6, "a device is waited for at both ends of each stage"


def test_a_stage_that_fails_is_counted_and_raises() -> None:
    with collect_stages() as found, pytest.raises(ValueError, match="bad frame"), stage("decoder"):
        raise ValueError("bad frame")
    assert list(found) == ["decoder"]


def test_other_threads_and_what_comes_after_are_not_collected() -> None:
    with collect_stages() as found:
        thread = threading.Thread(target=lambda: stage("elsewhere").__enter__())
        thread.start()
        thread.join()
        with collect_stages() as inner, stage("inner"):
            pass
        with stage("outer"):
            pass
    with stage("after"):
        pass
    assert list(found) == ["outer"] and list(inner) == ["inner"]


def test_a_profile_names_the_stages() -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, stage("BEV encoder"):
        torch.zeros(3).sum()
    assert "BEV encoder" in {event.key for event in profile.key_averages()}
