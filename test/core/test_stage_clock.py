"""Stages of a frame add up to it, none is counted twice, and whoever collects gets all that lies within."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from small_runtime import config, frames, runtime, sent

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.pipeline import RoadsideAgent, VehicleAgent
from cooptrack_core.stage_clock import NETWORK_STAGES, StageClock, collect_stages, stage, sum_ms

AGENTS = {
    "roadside": lambda: RoadsideAgent("rsu", RoadsideConfig(), 1, network=runtime(config("inf"))),
    "vehicle": lambda: VehicleAgent("vehicle", VehicleConfig(), network=runtime(config("coop"))),
}


@pytest.mark.parametrize("role", sorted(AGENTS))
def test_an_agent_names_the_stages_within_its_network_and_they_count_once(role: str, one_thread: None) -> None:
    agent = AGENTS[role]()
    for index, frame in enumerate(frames(2)):
        if role == "vehicle":
            agent.receive(sent(index), frame.stamp_ns)
        started = time.perf_counter()
        timings_ms = agent.step(frame).timings_ms
        taken_ms = 1e3 * (time.perf_counter() - started)
    parts = {name.removeprefix("network."): ms for name, ms in timings_ms.items() if name.startswith("network.")}
    assert {"decode image", "prepare image", "backbone", "BEV encoder", "decoder", "outputs"} <= set(parts)
    assert set(parts) <= set(NETWORK_STAGES) and ("GBA" in parts) == (role == "vehicle")
    assert 0.0 < sum(parts.values()) <= timings_ms["network"]
    assert sum_ms(timings_ms) == pytest.approx(sum(timings_ms.values()) - sum(parts.values()))
    assert timings_ms["network"] < sum_ms(timings_ms) <= taken_ms


def test_parts_stand_beside_their_stage() -> None:
    clock = StageClock()
    clock.mark("network", {"decode image": 2.0, "outputs": 1.0})
    clock.mark("trust")
    assert list(clock.marks_ms) == ["network", "network.decode image", "network.outputs", "trust"]
    assert sum_ms(clock.marks_ms) == clock.marks_ms["network"] + clock.marks_ms["trust"]


def test_whoever_collects_around_a_collector_gets_the_same_and_his_own_synchronize() -> None:
    asked: list[str] = []
    with collect_stages(lambda: asked.append("outer")) as outer:
        with stage("backbone"):
            pass
        with collect_stages() as inner, stage("backbone"), stage("other"):
            pass
        with collect_stages(lambda: asked.append("inner")), stage("other"):
            pass
    assert set(inner) == {"backbone", "other"} == set(outer)
    assert outer["backbone"] > inner["backbone"] and outer["other"] > inner["other"]
    assert asked == ["outer"] * 6 + ["inner"] * 2
    with stage("nobody collects"):
        pass
    assert "nobody collects" not in outer


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
        with stage("outer"):
            pass
    with stage("after"):
        pass
    assert list(found) == ["outer"]


def test_a_profile_names_the_stages() -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, stage("BEV encoder"):
        torch.zeros(3).sum()
    assert "BEV encoder" in {event.key for event in profile.key_averages()}
