"""The tables of `make bench`: which cases there are, ratios between them, rows of nodes, and what is not measured."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))  # as the scripts are run

from bench.cases import MODES, STRAIGHTFORWARD, Case, cases_of  # noqa: E402
from bench.machine import peak_memory_mb  # noqa: E402
from bench.nodes import AgentProcess, add_node, judged_ms, node_rows, verdict  # noqa: E402
from bench.processes import measured  # noqa: E402
from bench.tables import NetworkTable  # noqa: E402

from cooptrack_core.config import ENGINES, NETWORK_FAMILIES  # noqa: E402

CPU = "fp32", "cpu", 1


def took(p50_ms, *stages, **facts):
    """What the process of a case says."""
    rows = [("whole frame", p50_ms), *stages]
    made = [{"what": w, "p50_ms": p, "p90_ms": p, "p99_ms": p, "share": p / p50_ms} for w, p in rows]
    return {"rows": made, "peak_mb": 500.0, "device_mb": None, "start_s": 4.0, **facts}


def ratios(table):
    return [(row["what"], row["plain_ratio"], row["official_ratio"]) for row in table.rows]


def test_ratios_are_to_the_eager_engine_and_to_the_straightforward_network_of_the_same_run(capsys):
    table = NetworkTable()
    table.add(Case(STRAIGHTFORWARD, "vehicle", "learned", "eager", *CPU), took(1400.0))
    table.add(Case("tiny", "vehicle", "learned", "eager", *CPU), took(140.0, ("backbone", 60.0)))
    table.add(Case("tiny", "vehicle", "learned", "torch", *CPU), took(70.0, ("backbone", 20.0), ("new", 1.0)))
    assert ratios(table) == [
        ("whole frame", 1.0, 1.0),
        ("whole frame", 1.0, 10.0), ("backbone", 1.0, None),
        ("whole frame", 2.0, 20.0), ("backbone", 3.0, None), ("new", None, None),
    ]  # fmt: skip
    last = [line for line in capsys.readouterr().out.splitlines() if "whole frame" in line][-1]
    assert last.startswith("tiny") and all(f" {number} " in last for number in ("2.00", "20.00", "500"))


def test_nothing_is_compared_with_another_mode_precision_or_device():
    table = NetworkTable()
    table.add(Case("tiny", "vehicle", "learned", "eager", *CPU), took(140.0))
    table.add(Case("tiny", "vehicle", "ego", "torch", *CPU), took(70.0))
    table.add(Case("tiny", "vehicle", "late", "eager", "bf16", "cpu", 1), took(70.0))
    table.add(Case("tiny", "vehicle", "learned", "torch", "fp32", "cuda", 1), took(7.0, device_mb=100.0))
    assert [row["plain_ratio"] for row in table.rows] == [1.0, None, None, None]
    table.add(Case("tiny", "vehicle", "learned", "torch", *CPU), took(0.001))  # nothing is infinitely faster
    assert table.rows[-1]["plain_ratio"] is None


def test_what_is_not_measured_has_a_row_that_says_why(capsys, tmp_path):
    table = NetworkTable()
    table.add(Case("tiny", "roadside", "", "onnxruntime", *CPU), {"skipped": "package onnxruntime is not installed"})
    others = [case for case in cases_of(["r101"], ["cpu"], ENGINES) if case.left_out]
    table.leave_out(others, others[0].left_out)
    table.note("tiny", "both", "any, GPU", "whole frame", "unmeasured: no GPU", device="cuda", skipped="no GPU")
    assert len(table.rows) == len(others) + 2 and all(row["skipped"] for row in table.rows)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and "not installed" in said[0] and "onnxruntime fp32 learned" in said[1]
    assert "--full" in said[1] and "no GPU" in said[2]
    failed = measured(Case("tiny", "nobody", "", "eager", *CPU), tmp_path, 1)  # there are no frames for it
    assert failed["skipped"].startswith("failed: ")


@pytest.mark.parametrize("engines", [ENGINES, ("torch", "eager")])
def test_each_case_comes_after_what_it_is_compared_with_and_after_whom_it_hears(engines):
    cases = cases_of(NETWORK_FAMILIES, ["cpu"], engines)
    assert len(set(cases)) == len(cases) and cases[0].preset == STRAIGHTFORWARD
    seen = set()
    for case in cases:
        if case.agent == "vehicle":
            assert any(other.agent == "roadside" and other.preset == case.preset for other in seen)
        if case.engine != "eager":
            assert any((o.agent, o.mode, o.preset, o.engine) == (*_who(case), "eager") for o in seen)
        seen.add(case)


def _who(case):
    return case.agent, case.mode, case.preset


def test_by_default_every_preset_has_rows_and_tiny_has_every_mode_with_its_ratio():
    wanted = {
        (case.preset, case.agent, case.mode, case.engine)
        for case in cases_of(NETWORK_FAMILIES, ["cpu"], ENGINES)
        if not case.left_out
    }
    for engine in ("eager", "torch"):
        assert {(preset, "vehicle", "learned", engine) for preset in NETWORK_FAMILIES} <= wanted
        assert {("tiny", "vehicle", mode, engine) for mode in MODES} <= wanted
    assert ("tiny", "vehicle", "learned", "onnxruntime") in wanted
    assert ("r101", "vehicle", "learned", "onnxruntime") not in wanted
    assert not any(case.left_out for case in cases_of(NETWORK_FAMILIES, ["cuda"], ENGINES))


def test_large_networks_get_fewer_frames_on_a_cpu():
    frames = {case.preset: case.frames(30) for case in cases_of(NETWORK_FAMILIES, ["cpu"], ["torch"])}
    assert frames == {"tiny": 30, STRAIGHTFORWARD: 10, "r50": 3, "r101": 3, "convnext_s": 3}
    assert {case.frames(30) for case in cases_of(NETWORK_FAMILIES, ["cuda"], ["torch"])} == {30}


FRAME_MS = {
    "convert_in": 1.0, "receive_to_start": 2.0, "wait_tf": 3.0, "network": 80.0, "network.decode image": 5.0,
    "network.backbone": 60.0, "trust": 4.0, "publish": 6.0, "publish_rest": 9.0, "total": 100.0,
}  # fmt: skip


def test_a_node_has_rows_of_ros_in_and_out_beside_its_stages():
    rows = {row["what"]: row for row in node_rows([FRAME_MS, FRAME_MS])}
    names = ["ROS in", "decode image", "backbone", "network, the rest", "trust", "ROS out", "the rest"]
    assert list(rows)[:8] == ["whole frame", *names]
    assert [rows[name]["p50_ms"] for name in names] == [6.0, 5.0, 60.0, 15.0, 4.0, 6.0, 4.0]
    assert sum(rows[name]["share"] for name in names) == pytest.approx(1.0)
    assert rows["without core"]["p90_ms"] == 16.0 and rows["core"]["p50_ms"] == 79.0
    assert rows["in: wait_tf"]["p99_ms"] == 3.0 and rows["after: the rest"]["p50_ms"] == 9.0


def test_a_node_without_a_network_has_the_stages_of_its_core():
    frame = {"perceive": 1.0, "advance": 2.0, "compose": 3.0, "total": 12.0, "publish": 1.0, "publish_rest": 0.0}
    rows = {row["what"]: row["p50_ms"] for row in node_rows([frame | dict.fromkeys(FRAME_MS.keys() & IN, 1.0)])}
    assert (rows["perceive"], rows["core"], rows["without core"], rows["the rest"]) == (1.0, 6.0, 6.0, 2.0)


IN = {"convert_in", "receive_to_start", "wait_tf"}


def test_the_rows_of_a_node_have_the_columns_of_those_of_a_network():
    table, network = NetworkTable(), NetworkTable()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = AgentProcess(child, started_ns=1)
        add_node(table, Case("tiny", "rsu node", "raw", "torch", *CPU), [FRAME_MS], process, cores=0.5)
        assert table.rows[0]["start_s"] is None and table.rows[0]["peak_mb"] > 0
        process.saw(0)
        assert process.start_s is None
        process.saw(3)
        assert process.start_s is not None and process.start_s > 0
        child.communicate(b"\n")
    network.add(Case("tiny", "roadside", "", "torch", *CPU), took(70.0))
    assert network.rows[0].keys() <= table.rows[0].keys()


def test_peak_memory_is_that_of_this_process_unless_another_is_named():
    assert peak_memory_mb() == pytest.approx(peak_memory_mb(os.getpid()), rel=0.2)


def test_ten_frames_a_second_may_miss_one_in_a_hundred():
    assert verdict(9.9, 10.0) == "goal 10: met" and verdict(9.8, 10.0) == "goal 10: missed"
    assert "not judged" in verdict(5.0, 5.0)


def test_the_wait_for_a_network_that_is_too_slow_is_not_of_the_ros_path():
    assert judged_ms([FRAME_MS], 200.0) == (16.0, "")
    p99_ms, left_out = judged_ms([FRAME_MS], 50.0)
    assert p99_ms == 14.0 and "without the wait" in left_out


@pytest.mark.skipif(
    shutil.which("make") is None or not (ROOT / "build" / "environment.sh").is_file(), reason="needs make, and a build"
)
def test_make_bench_goes_on_after_a_script_that_fails_and_names_it_at_the_end(tmp_path):
    scripts = [tmp_path / f"{name}.py" for name in ("good", "bad", "last")]
    for script in scripts:
        script.write_text(f"print('{script.stem} ran')\nraise SystemExit({script.stem == 'bad'})\n")
    names = " ".join(map(str, scripts))
    command = ["make", "--old-file=build", "bench", f"benches={names}"]
    environment = {**os.environ, "ROS_DOMAIN_ID": "7"}  # nobody has to look for a free one
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and [line for line in done.stdout.splitlines() if line.endswith("ran")] == [
        "good ran", "bad ran", "last ran",
    ]  # fmt: skip
    assert f"make bench: failed: {scripts[1]}\n" in done.stderr
    good = subprocess.run([*command[:-1], f"benches={scripts[0]}"], cwd=ROOT, env=environment, check=False)
    assert good.returncode == 0
