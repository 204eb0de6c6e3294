"""Never worse than ego: the reduced matrix on a short synthetic drive, and the checks that would find a violation."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from simulated import SIMULATED, simulated_run
from tiny_spd import TinySpd

from cooptrack_core import cli
from cooptrack_core.cooperation.disturbance import Disturbance
from cooptrack_core.evaluation.matrix_points import (
    DELAYS_MS,
    FACTORS,
    LOSSES,
    Point,
    full_matrix,
    pairwise,
    reduced_matrix,
)
from cooptrack_core.evaluation.robustness_matrix import MatrixPlan, _row, all_violations, run_matrix, violations
from cooptrack_core.evaluation.run import SequenceRunner
from cooptrack_core.evaluation.run_options import RunOptions


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic drive of 4 s without images."""
    return TinySpd(tmp_path_factory.mktemp("scene") / "spd", sequences=("0003",), frames=40, images=False).write()


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinySpd(tmp_path_factory.mktemp("data") / "spd", sequences=("0003",), frames=12, images=False).write()


class Few(MatrixPlan):
    """A handful of the points."""

    @property
    def points(self) -> list[Point]:
        return [*reduced_matrix(self.seed)[::6], Point("alone", Disturbance(truncated=0.3))]


def test_the_reduced_matrix_holds_everywhere_on_a_synthetic_drive(scene: Path, tmp_path: Path, capsys: Any) -> None:
    command = ["robustness", str(scene), "--matrix", "--reduced", "-o", str(tmp_path), *SIMULATED]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert f"{len(reduced_matrix())} points, tolerance 0.02 AMOTA: 0 violations" in text
    result = json.loads((tmp_path / "matrix.json").read_text())
    block = result["modes"]["late"]
    alone, best = block["alone"]["scores"]["AMOTA"], block["points"][0]["scores"]["AMOTA"]
    assert best > alone + 0.1  # there is something to lose
    refused = {name for point in block["points"] for name in point["messages"]["refused"]}
    assert refused >= {
        "malformed", "schema_version", "no_pose", "too_large", "duplicate", "out_of_order", "from_future"
    }  # fmt: skip
    for name in ("matrix.csv", "matrix_late.png", "matrix_late.svg"):
        assert (tmp_path / name).stat().st_size > 500


def test_a_second_run_takes_what_is_there_and_another_tolerance_judges_anew(spd: Path, tmp_path: Path) -> None:
    plan = Few(simulated_run(spd), ("late",))
    first = run_matrix(plan, tmp_path)

    class Unused(SequenceRunner):
        def run(self, *arguments: Any, **named: Any) -> Any:
            raise AssertionError("was run again")

    strict = Few(simulated_run(spd), ("late",), tolerance=-2.0)
    again = run_matrix(strict, tmp_path, runner=Unused(strict.options))
    assert [p["scores"] for p in again["modes"]["late"]["points"]] == [
        p["scores"] for p in first["modes"]["late"]["points"]
    ]
    assert len(all_violations(again)) > 0  # nothing is two points of AMOTA above ego


def test_an_exception_is_a_violation_with_its_name_and_the_other_points_are_run(spd: Path, tmp_path: Path) -> None:
    class Broken(SequenceRunner):
        def run(self, sequence_id: str, vehicle: Any = None, roadside: Any = None, disturbance: Any = None, **k: Any):
            if disturbance == Disturbance(truncated=0.3):
                raise IndexError("list index out of range")
            return super().run(sequence_id, vehicle, roadside, disturbance, **k)

    plan = Few(simulated_run(spd), ("late",))
    found = all_violations(run_matrix(plan, tmp_path, runner=Broken(plan.options)))
    assert [text for _, _, text in found if "IndexError" in text] == ["0003: IndexError: list index out of range"]


def test_every_invariant_is_seen_when_it_is_broken(spd: Path) -> None:
    runner = SequenceRunner(simulated_run(spd))
    good = runner.run("0003")
    frames = runner.frame_count("0003")
    assert violations(good, frames) == []
    at = next(k for k, row in enumerate(good["frames"]) if row["tracks"])

    def broken(change: Any) -> list[str]:
        bad = copy.deepcopy(good)
        change(bad["frames"])
        return violations(bad, frames)

    assert broken(lambda rows: rows.pop()) == [f"tracks for {frames - 1} of {frames} frames"]
    assert "frames out of order" in broken(lambda rows: rows.reverse())
    assert "not finite: center_m" in broken(lambda rows: rows[at]["tracks"][0].update(center_m=[1.0, None, 0.0]))[0]
    assert "not finite: score" in broken(lambda rows: rows[at]["tracks"][0].update(score=None))[0]
    nameless = {"agent": "rsu", "sequence": 1, "reason": "looks_like_a_name"}  # but no rule of admission
    assert "without a name" in broken(lambda rows: rows[0]["refused"].append(nameless))[0]


def test_a_score_that_is_undefined_is_a_violation_unless_there_is_nothing_to_score() -> None:
    def point(car: float | None, cars: int) -> dict[str, Any]:
        return {
            "scores": {"AMOTA": 0.5, "AMOTA_car": car}, "objects": {"AMOTA": 9, "AMOTA_car": cars}, "violations": []
        }  # fmt: skip

    def wrong(stored: dict[str, Any], alone: dict[str, Any]) -> list[str]:
        return _row(Point("alone", Disturbance(loss=0.1)), stored, alone, 0.02)["violations"]

    assert wrong(point(None, 3), point(0.3, 3)) == ["AMOTA_car undefined, alone 0.300"]
    assert wrong(point(None, 3), point(None, 3)) == ["AMOTA_car undefined, alone undefined"]
    assert wrong(point(None, 0), point(None, 0)) == []
    assert wrong(point(0.2, 3), point(0.3, 3)) == ["AMOTA_car 0.200, alone 0.300"]


def test_the_full_matrix_has_the_grid_each_impairment_alone_and_every_mild_pair() -> None:
    points = full_matrix(3)
    made = {point.disturbance for point in points}
    assert len(made) == len(points) and {d.seed for d in made} == {3}
    for delay, loss in itertools.product(DELAYS_MS, LOSSES):
        assert Disturbance(delay_ms=delay, loss=loss, seed=3) in made
    for levels in FACTORS.values():
        for setting in levels[1:]:
            assert Disturbance(seed=3, **dict(setting)) in made  # type: ignore[arg-type]
    assert len(reduced_matrix()) < len(points) / 2 and {p.disturbance for p in reduced_matrix(3)} <= made


def test_in_pairwise_rows_every_two_levels_meet() -> None:
    factors = [[(), (("loss", 0.1),), (("loss", 0.2),)], [(), (("delay_ms", 1.0),)], [(), (("jitter_ms", 1.0),)]]
    rows = pairwise(factors)
    for a, b in itertools.combinations(range(3), 2):
        met = {(row[a], row[b]) for row in rows}
        assert met == set(itertools.product(factors[a], factors[b]))
    assert len(rows) <= 8
    assert len(pairwise(list(FACTORS.values()))) < 60


@pytest.mark.parametrize("option", [["--only", "delay"], ["--grid", "delay=1"]])
def test_the_matrix_has_points_of_its_own(spd: Path, option: list[str], capsys: Any) -> None:
    assert cli.main(["robustness", str(spd), "--matrix", *option, *SIMULATED]) == 2
    assert "--matrix: has points of its own; leave out --only and --grid" in capsys.readouterr().err


def test_the_vehicle_alone_of_a_network_in_mode_late_tracks_objects_too(spd: Path) -> None:
    simulated = MatrixPlan(simulated_run(spd), ("late",))
    assert simulated.baseline("late").mode == "ego"
    network = MatrixPlan(RunOptions(spd), ("learned", "late"))  # detector network unless told otherwise
    assert network.baseline("learned").mode == "ego" and network.baseline("learned").disturbance.is_none
    alone = network.baseline("late")
    assert alone.mode == "late" and alone.disturbance == Disturbance(loss=1.0)
