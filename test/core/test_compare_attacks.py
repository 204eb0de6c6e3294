"""`cooptrack compare --attack`: every attack with and without defence, beside an honest sender and driving alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from simulated import SIMULATED
from tiny_spd import TinySpd

from cooptrack_core.cli import main
from cooptrack_core.cooperation.attack import ATTACKS
from cooptrack_core.evaluation.attacks import undefended
from cooptrack_core.trust_config import TrustConfig

FRAMES = 10
QUICK = ("--attack-start-s", "0.3", "--attack-replay-s", "0.3")


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two val sequences, without images."""
    root = tmp_path_factory.mktemp("data") / "spd"
    return TinySpd(root, sequences=("0003", "0007"), frames=FRAMES).write()


@pytest.fixture(scope="module")
def result(spd: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Of all attacks."""
    out = tmp_path_factory.mktemp("attacks")
    assert main(["compare", str(spd), *SIMULATED, "--attack", "all", *QUICK, "--out", str(out)]) == 0
    return json.loads((out / "attacks.json").read_text()) | {"out": str(out)}


def test_every_attack_has_a_row_with_and_without_defence(result):
    found = [(row["name"], row["defended"]) for row in result["rows"]]
    assert found == [("ego", True), *((name, kind) for name in ("honest", *ATTACKS) for kind in (True, False))]
    for row in result["rows"]:
        recordings = sorted((Path(result["out"]) / row["folder"] / "recordings").glob("*.json"))
        assert [path.stem for path in recordings] == ["0003", "0007"]
        assert 0.0 <= row["metrics"]["mAP"] <= 1.0


def test_attacks_reach_the_vehicle_and_begin_when_they_should(result):
    for row in result["rows"]:
        attacked = row["name"] in ATTACKS
        assert row["attacked"] == (2 if attacked else 0), row["name"]
        if attacked:
            path = Path(result["out"]) / row["folder"] / "recordings" / "0003.json"
            recording = json.loads(path.read_text())
            began_ns = recording["attack"]["began_ns"]["rsu"]
            assert 0.2e9 < began_ns - recording["frames"][0]["stamp_ns"] < 0.5e9


def test_resent_messages_are_refused_by_name(result):
    row = next(row for row in result["rows"] if row["name"] == "resend" and row["defended"])
    assert row["resent_refused"] == 1.0


def test_nobody_is_quarantined_without_defence_nor_an_honest_sender_with_it(result):
    for row in result["rows"]:
        if not row["defended"] or row["name"] in ("honest", "ego"):
            assert row["quarantined"] == row["quarantined_before"] == 0


def test_an_attack_counts_as_found_only_if_it_had_begun_and_with_the_time_it_took():
    from cooptrack_core.evaluation.attacks import _detection

    def recording(refused_at: list[int], began: int | None) -> dict:
        frames = [
            {"stamp_ns": k * 10**9, "messages": [] if k in refused_at else [{}],
             "refused": [{"reason": "quarantined"}] if k in refused_at else []}
            for k in range(10)
        ]  # fmt: skip
        attack = {} if began is None else {"attack": {"attack": "insert", "began_ns": {"rsu": began * 10**9}}}
        return {"frames": frames, **attack}

    found = _detection([recording([6, 7, 8, 9], 2), recording([], 2), recording([1], 2)])
    assert (found["attacked"], found["quarantined"], found["quarantined_before"]) == (3, 1, 1)
    assert found["time_s"] == {"mean": 4.0, "max": 4.0}
    assert found["messages_refused"] == 4 / 15 and found["messages"] == 15  # from 2 s + 3 s on
    honest = _detection([recording([3], None), recording([], None)])
    assert honest["attacked"] == 0 and honest["quarantined"] == 1 and honest["messages_refused"] == 1 / 20


def test_the_tables_name_detection_false_alarms_and_the_published_defence(spd, result, capsys):
    again = ["compare", str(spd), *SIMULATED, "--attack", "all", *QUICK, "--out", result["out"]]
    assert main(again) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "91.5 % found, 3 % false alarms" in printed and "SYNTHETIC" not in printed
    for word in ("Detection", "undefended AMOTA", "honest", *ATTACKS):
        assert word in printed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--attack", "bribe"), "attack name: 'bribe' is unknown; choose one of insert"),
        (("--attack", ","), "--attack: names no attack"),
        (("--attack", "insert", "--modes", "ego"), "--modes: ego does not cooperate"),
        (("--attack", "insert", "--modes", "learned"), "--modes: learned does not cooperate"),
        (("--attack", "insert", "--attack-objects", "0"), "attack objects: 0 is outside"),
    ],
)
def test_what_cannot_be_is_one_line(spd, capsys, arguments, text):
    assert main(["compare", str(spd), *SIMULATED, *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert text in line


def test_attacked_messages_can_be_disturbed_as_well(spd, tmp_path, capsys):
    lost = ["--attack", "insert", *QUICK, "--loss", "1", "--out", str(tmp_path)]
    assert main(["compare", str(spd), *SIMULATED, *lost]) == 0
    assert "messages disturbed: 100 % of messages lost, seed 0" in capsys.readouterr().out
    recording = json.loads((tmp_path / "insert" / "defended" / "recordings" / "0003.json").read_text())
    assert not any(frame["messages"] for frame in recording["frames"]) and recording["attack"]["attacked"] > 0


def test_undefended_means_neither_quarantine_nor_bound():
    made = undefended(TrustConfig())
    assert not made.enabled and made.influence_m >= 1000.0 and made.influence_per_frame_m >= 1000.0
