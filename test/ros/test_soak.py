"""A short long run: the launched system in a loop does not grow, killed nodes come back, transitions break nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from processes import write_bag

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import soak  # noqa: E402
from soak_statistics import Bound, growth  # noqa: E402

QUICK = (
    "/**:\n  ros__parameters:\n    allow_shared_topics: true\n    discovery_wait_ms: 0.0\n    loop_pause_ms: 100.0\n"
)


def test_the_launched_system_runs_in_a_loop_and_bears_kills_and_transitions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("age p50 ms", "age p99 ms"):  # so few values say nothing of them on a machine that others use
        monkeypatch.setitem(soak.BOUNDS, name, Bound(1e4))
    params = tmp_path / "quick.yaml"
    params.write_text(QUICK)
    bag = write_bag(tmp_path / "bag", frames=40)
    options = ["--duration-s", "20", "--kills", "2", "--transitions", "10", "--seed", "3"]
    code = soak.main([*options, "--bag", str(bag), "--params", str(params), "--out", str(tmp_path)])
    text = capsys.readouterr().out
    assert code == 0, text + (tmp_path / "launch.log").read_text()
    for node in ("marker_node", "replay_node", "roadside_node", "vehicle_node"):
        assert f"memory MB {node}" in text and f"descriptors {node}" in text
    assert "age p99 ms tracks" in text and text.count("works again after") == 2
    assert text.count("random transitions agreed to; active, works") == 2


def series(slope: float, noise: float, seed: int = 0, memory: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    times, values, state = np.arange(300.0), [], 0.0
    for draw in rng.normal(0.0, noise, 300):
        state = memory * state + draw
        values.append(state)
    return times, 100.0 + slope * times + np.array(values)


@pytest.mark.parametrize(("slope", "failed"), [(0.0, False), (0.02, False), (0.1, True), (-0.5, False)])
def test_growth_beyond_the_bound_fails_and_less_does_not(slope: float, failed: bool) -> None:
    found = growth(*series(slope, 0.5), Bound(5.0))
    assert found.failed == failed
    assert found.low < (found.last - found.first) < found.high
    assert found.slope_per_hour == pytest.approx(3600 * slope, abs=20)


def test_noise_alone_is_seldom_growth_even_if_it_has_a_memory() -> None:
    alarms = [growth(*series(0.0, 1.0, seed, memory=0.9), Bound(0.0)).failed for seed in range(200)]
    assert np.mean(alarms) < 0.12  # one-sided 2.5 % if the memory were known exactly


def test_the_warm_up_does_not_count_and_too_short_a_run_says_so() -> None:
    times, values = series(0.0, 0.1)
    values[:50] -= 80.0
    assert not growth(times, values, Bound(1.0)).failed
    with pytest.raises(ValueError, match="let it run longer"):
        growth(times[:6], values[:6], Bound(1.0))
