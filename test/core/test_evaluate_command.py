"""`cooptrack evaluate`: what it writes, that a bag, a dataset and files agree, and one line for what cannot work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_networks import FakeNetwork, fake_networks
from recorded_bags import record
from simulated import LATE, SIMULATED
from tiny_spd import TinySpd

from cooptrack_core.cli import main
from cooptrack_core.config import NetworkConfig, VehicleConfig
from cooptrack_core.data.bag_writer import BagWriter
from cooptrack_core.data.to_bag import BagOptions, sequence_to_bag
from cooptrack_core.data.v2x_seq import Dataset

FRAMES = 12


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of the official validation split, without images; the bag of one beside them."""
    root = TinySpd(
        tmp_path_factory.mktemp("data") / "spd", sequences=("0003", "0007"), frames=FRAMES, images=False
    ).write()  # fmt: skip
    sequence_to_bag(Dataset(root), "0003", root.parent / "bag", BagOptions())
    return root


def metrics_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


def evaluated(folder: Path, *options: str | Path) -> dict[str, Any]:
    """What the command writes, without what was run and where the labels came from."""
    assert main(["evaluate", *map(str, options), "--out", str(folder)]) == 0
    metrics = metrics_of(folder)
    del metrics["run"], metrics["convention"]["label_updates"], metrics["convention"]["text"]
    return metrics


def test_a_split_is_run_scored_printed_and_written(
    spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(spd), "--detector", "simulated", "--mode", "ego", "--out", str(tmp_path)]) == 0
    metrics, told = metrics_of(tmp_path), capsys.readouterr().out
    assert metrics["schema"] == "cooptrack/metrics/1"
    assert metrics["run"]["command"] == f"cooptrack evaluate {spd} --detector simulated --mode ego --out {tmp_path}"
    run = {key: metrics["run"][key] for key in ("split", "sequences", "detector", "mode", "seed", "disturbance")}
    assert run == {
        "split": "val", "sequences": ["0003", "0007"], "detector": "simulated", "mode": "ego", "seed": 0,
        "disturbance": "none",
    }  # fmt: skip
    assert metrics["convention"]["name"] == "cooptrack" and metrics["convention"]["label_updates"] == "none"
    assert metrics["data"]["frames"] == 2 * FRAMES and metrics["data"]["synthetic"] is False
    assert metrics["data"]["boxes"] == {"car": 24, "bicycle": 24, "pedestrian": 24}
    assert set(metrics["by_sequence"]) == {"0003", "0007"}
    assert {"detection", "tracking", "iou_ap", "hidden_recall", "hota", "bandwidth", "curves"} <= set(metrics)
    assert "convention cooptrack (10 Hz, no label updates, tracks filled)" in told
    for name in ("metrics.csv", "metrics.html", "run.json", "recordings/0003.json"):
        assert (tmp_path / name).stat().st_size > 0
    assert evaluated(tmp_path / "again", spd, *SIMULATED, "--mode", "ego") == evaluated(
        tmp_path, spd, *SIMULATED, "--mode", "ego"
    )


def test_the_files_of_a_submission_score_the_same(spd: Path, tmp_path: Path) -> None:
    ours = evaluated(tmp_path, spd, *SIMULATED, "--submission")
    files = ["--gt", str(tmp_path / "submission" / "gt.json"), "--pred", str(tmp_path / "submission" / "pred.json")]
    assert main(["evaluate", *files, "--out", str(tmp_path / "M.json")]) == 0
    theirs = json.loads((tmp_path / "M.json").read_text())
    assert {key: ours["tracking"][key] for key in theirs["tracking"]} == theirs["tracking"]
    for name, scores in theirs["detection"].items():
        if name == "mAP":
            assert ours["detection"]["mAP"] == scores
            continue
        for metric, value in scores.items():  # headings become quaternions: the last digit of their errors may differ
            expected = pytest.approx(value, abs=1e-14) if metric == "orient_err" and value is not None else value
            assert ours["detection"][name][metric] == expected, (name, metric)


def test_the_ground_truth_alone_is_that_of_a_run_with_the_poses_of_its_frames(spd: Path, tmp_path: Path) -> None:
    evaluated(tmp_path, spd, *SIMULATED, "--submission")
    assert main(["evaluate", str(spd), "--gt-only", "--out", str(tmp_path / "alone")]) == 0
    alone = (tmp_path / "alone" / "gt.json").read_text()
    assert alone == (tmp_path / "submission" / "gt.json").read_text()
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["gt.json"]
    meta = json.loads(alone)["meta"]
    recording = json.loads((tmp_path / "recordings" / "0003.json").read_text())
    for frame in recording["frames"]:
        assert meta["T_map_from_lidar"][frame["frame_id"]] == frame["T_map_from_lidar_truth"]
    assert main(["evaluate", str(spd), "--gt-only", "--mode", "ego"]) == 2


@pytest.mark.parametrize("mode", ["late", "ego"])
def test_a_recorded_run_scores_as_the_offline_run(spd: Path, tmp_path: Path, mode: str) -> None:
    bag, recorded = spd.parent / "bag", tmp_path / "recorded"
    record(bag, recorded, VehicleConfig(mode=mode, detector="simulated"), fake_networks)
    nodes = evaluated(tmp_path / "nodes", "--bag", recorded, "--source", bag)
    assert nodes == evaluated(tmp_path / "offline", spd, *SIMULATED, "--sequence", "0003", "--mode", mode)
    slow = ["--convention", "univ2x", "--label-updates", "none"]
    nodes = evaluated(tmp_path / "nodes", "--bag", recorded, "--source", bag, *slow)
    assert nodes == evaluated(
        tmp_path / "slow", spd, *SIMULATED, "--sequence", "0003", "--mode", mode, *slow, "--full-rate"
    )
    about = metrics_of(tmp_path / "nodes")["run"]
    assert (about["bag"], about["dataset"], about["mode"]) == (str(recorded), str(bag), mode)


def write_without(source: Path, target: Path, topic: str, count: int) -> None:
    """A copy of a bag without the first messages of a topic."""
    from cooptrack_core.data.bag import Bag

    with Bag(source) as bag, BagWriter(target) as out:
        for item in bag.messages():
            if item.topic == topic and count > 0:
                count -= 1
                continue
            out.write(item.topic, item.log_time_ns, item.message)


def test_frames_that_the_node_lost_count_as_frames_without_predictions(spd: Path, tmp_path: Path) -> None:
    bag = spd.parent / "bag"
    record(bag, tmp_path / "all", LATE, fake_networks)
    write_without(tmp_path / "all", tmp_path / "some", "/vehicle/tracks", 6)
    every = evaluated(tmp_path / "a", "--bag", tmp_path / "all", "--source", bag)
    some = evaluated(tmp_path / "b", "--bag", tmp_path / "some", "--source", bag)
    assert some["data"] == every["data"]  # the ground truth is the same
    assert some["hidden_recall"]["all"]["any"] < every["hidden_recall"]["all"]["any"] - 0.2


def test_of_several_vehicles_one_is_named(spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cooptrack_core.data.bag import Bag

    bag = spd.parent / "bag"
    record(bag, tmp_path / "one", LATE, fake_networks)
    with Bag(tmp_path / "one") as one, BagWriter(tmp_path / "two") as two:
        for item in one.messages():
            two.write(item.topic, item.log_time_ns, item.message)
            if item.topic == "/vehicle/associations":
                two.write("/other/associations", item.log_time_ns, item.message)
    options = ["evaluate", "--bag", str(tmp_path / "two"), "--source", str(bag), "--out", str(tmp_path / "out")]
    assert main(options) == 2
    assert "several vehicles: other, vehicle; choose with --vehicle" in capsys.readouterr().err
    assert main([*options, "--vehicle", "vehicle"]) == 0
    assert main([*options, "--vehicle", "other", "--overwrite"]) == 2
    assert "/other/tracks: topic is missing or empty" in capsys.readouterr().err


def test_the_ground_truth_of_another_vehicle_is_not_ours(spd: Path, tmp_path: Path) -> None:
    from cooptrack_core.data.bag import Bag

    bag, recorded = spd.parent / "bag", tmp_path / "recorded"
    record(bag, recorded, LATE, fake_networks)
    with Bag(bag) as one, BagWriter(tmp_path / "two") as two:
        for item in one.messages():
            two.write(item.topic, item.log_time_ns, item.message)
            if item.topic in ("/vehicle/frame_info", "/vehicle/ground_truth"):
                item.message.header.stamp.nanosec += 1000
                two.write(item.topic.replace("vehicle", "other"), item.log_time_ns, item.message)
    ours = evaluated(tmp_path / "a", "--bag", recorded, "--source", bag)
    assert evaluated(tmp_path / "b", "--bag", recorded, "--source", tmp_path / "two") == ours


def test_a_bag_that_was_played_twice_is_one_line(spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cooptrack_core.data.bag import Bag

    bag = spd.parent / "bag"
    record(bag, tmp_path / "once", LATE, fake_networks)
    with Bag(tmp_path / "once") as once, BagWriter(tmp_path / "twice") as twice:
        items = list(once.messages())
        span_ns = items[-1].log_time_ns - items[0].log_time_ns + 1_000_000_000
        for round_ns in (0, span_ns):
            for item in items:
                twice.write(item.topic, item.log_time_ns + round_ns, item.message)
    assert main(["evaluate", "--bag", str(tmp_path / "twice"), "--source", str(bag)]) == 2
    message = capsys.readouterr().err.strip()
    what = "/vehicle/tracks: frame 000000 is there twice: the bag was played more than once; record one round of a bag"
    assert message == f"cooptrack evaluate: error: {tmp_path / 'twice'}: {what}"


def test_a_bag_without_ground_truth_or_of_another_drive_is_one_line(
    spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, recorded = spd.parent / "bag", tmp_path / "recorded"
    record(bag, recorded, LATE, fake_networks)
    write_without(bag, tmp_path / "plain", "/vehicle/ground_truth", FRAMES)
    assert main(["evaluate", "--bag", str(recorded), "--source", str(tmp_path / "plain")]) == 2
    assert f"{tmp_path / 'plain'}: /vehicle/ground_truth: topic is missing or empty; give" in capsys.readouterr().err
    sequence_to_bag(Dataset(spd), "0007", tmp_path / "other", BagOptions())
    assert main(["evaluate", "--bag", str(recorded), "--source", str(tmp_path / "other")]) == 2
    message = capsys.readouterr().err
    assert f"{recorded}: /vehicle/tracks: none of its 12 frames is a frame with ground truth of" in message
    options = ["--convention", "univ2x", "--out", str(tmp_path / "out")]
    assert main(["evaluate", "--bag", str(recorded), "--source", str(bag), *options]) == 2
    assert "the ground truth of a bag does not name its labels; make the bag with" in capsys.readouterr().err
    assert main(["evaluate", "--bag", str(recorded), "--source", str(bag), *options, "--label-updates", "none"]) == 0
    assert metrics_of(tmp_path / "out")["data"]["frames"] == 3


def test_a_bag_with_updated_labels_scores_as_the_dataset_with_them(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd", sequences=("0003",), frames=6, images=False).write()
    dataset = Dataset(root)
    lists = {
        "cooperative": [{"frame": "000000", "token": dataset.cooperative_labels("000000").token[0], "operation": []}],
        "vehicle": [
            {"frame": name, "token": dataset.labels("vehicle", name).token[1], "operation": ["Car", "000101"]}
            for name in (f"{n:06d}" for n in range(6))
        ],
    }
    (root / "update_label_info.json").write_text(json.dumps(lists))
    for name, updates in (("cooptrack", "auto"), ("univ2x", str(root / "update_label_info.json"))):
        bag, recorded, folder = tmp_path / name, tmp_path / f"{name} recorded", tmp_path / f"{name} nodes"
        assert main(["to-bag", str(root), str(bag), "--label-updates", updates, "--convention", name]) == 0
        record(bag, recorded, LATE, fake_networks)
        options = ["--convention", name]
        nodes = evaluated(folder, "--bag", recorded, "--source", bag, *options, "--label-updates", "none")
        options.append("--full-rate")
        offline = evaluated(tmp_path / f"{name} offline", root, *SIMULATED, *options, "--label-updates", updates)
        assert offline["data"]["boxes"]["car"] == {"cooptrack": 6, "univ2x": 1}[name]
        assert nodes == offline
        assert metrics_of(folder)["convention"]["label_updates"] == "labels as in the bag"
        assert offline["detection"] != evaluated(
            tmp_path / f"{name} plain", root, *SIMULATED, *options, "--label-updates", "none"
        )["detection"]  # fmt: skip


@pytest.mark.parametrize("mode", ["learned", "distance", "late", "ego"])
def test_untrained_networks_are_loudly_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    root = TinySpd(tmp_path / "spd", sequences=("0003",), frames=4).write()
    asked: list[tuple[NetworkConfig, str]] = []

    def make_network(config: NetworkConfig, role: str, matcher: str = "affinity") -> FakeNetwork:
        asked.append((config, role))
        return FakeNetwork(role)

    monkeypatch.setattr("cooptrack_core.networks.make_network", make_network)
    options = ["--detector", "network", "--mode", mode, "--preset", "r50", "--weights", "untrained", "--seed", "3"]
    assert main(["evaluate", str(root), *options, "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert "UNTRAINED networks (vehicle, roadside)" in captured.err and "MEANINGLESS" in captured.err
    assert "untrained" in captured.out
    assert metrics_of(tmp_path / "out")["run"]["weights"] == "untrained"
    assert {config.preset for config, _ in asked} == {"r50"} and {config.seed for config, _ in asked} == {3}


def test_parameters_of_the_nodes_are_taken(spd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        "/**:\n  ros__parameters:\n    detector: simulated\n    mode: ego\n    autostart: true\n"
        "    tracker: {birth_hits: 1}\n"
    )
    tuned = evaluated(tmp_path / "tuned", spd, "--params", params)
    assert "of the nodes only, not used here: autostart" in capsys.readouterr().err
    about = metrics_of(tmp_path / "tuned")["run"]
    assert about["mode"] == "ego" and about["params"] == str(params)
    assert about["parameters"]["vehicle"] == {
        "mode": "ego", "detector": "simulated", "tracker.birth_hits": 1,
    }  # fmt: skip
    assert tuned["hidden_recall"] != evaluated(tmp_path / "plain", spd, *SIMULATED, "--mode", "ego")["hidden_recall"]
    assert main(["evaluate", str(spd), "--params", str(params), "--mode", "late", "--out", str(tmp_path / "l")]) == 0
    assert metrics_of(tmp_path / "l")["run"]["mode"] == "late"


def test_disturbances_are_said_and_change_the_run(spd: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(spd), *SIMULATED, "--loss", "1", "--out", str(tmp_path)]) == 0
    about = metrics_of(tmp_path)["run"]
    assert "100 % of messages lost" in about["disturbance"]
    assert not any(f["messages"] for f in json.loads((tmp_path / "recordings" / "0003.json").read_text())["frames"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "nothing to evaluate; give a DATASET, --bag with --source, or --gt with --pred"),
        (["--bag", "b"], "--source: is missing; --bag RECORDED and --source BAG belong together"),
        (["--gt", "g.json"], "--pred: is missing; --gt GT.json and --pred PRED.json belong together"),
        (
            ["SPD", "--gt", "g.json", "--pred", "p.json"],
            "DATASET: has no meaning with --gt and --pred, which stand alone",
        ),
        (["--bag", "b", "--source", "s", "--mode", "ego"], "mode: has no meaning with --bag"),
        (["--bag", "b", "--source", "s", "--delay-ms", "5"], "--delay-ms: has no meaning with --bag"),
        (["--bag", "b", "--source", "s", "--split", "train"], "--split: has no meaning with --bag"),
        (["--bag", "b", "--source", "s", "--seed", "4"], "--seed: has no meaning with --bag"),
        (["--bag", "b", "--source", "s", "--full-rate"], "--full-rate: has no meaning with --bag"),
        (["--bag", "b", "--gt", "g", "--pred", "p"], "--bag: has no meaning with --gt and --pred"),
        (["--gt", "g", "--pred", "p", "--mode", "ego"], "--mode: has no meaning with --gt and --pred"),
        (["--gt", "g", "--pred", "p", "--convention", "univ2x"], "--convention: has no meaning with --gt"),
        (["--gt", "g", "--pred", "p", "--loss", "0.5"], "--loss: has no meaning with --gt and --pred"),
        (["--gt", "g", "--pred", "p", "--submission"], "--submission: has no meaning with --gt and --pred"),
        (["--gt", "g", "--pred", "p", "--figures", "0:1"], "--figures: has no meaning with --gt and --pred"),
        (["SPD", *SIMULATED, "--weights", "w"], "--weights: has no meaning with the simulated detector; choose"),
        (["SPD", *SIMULATED, "--preset", "r50"], "--preset: has no meaning with the simulated detector"),
        (["SPD", "--seed", "-1"], "error: --seed: -1 is negative; give 0 or more"),
        (["--bag", "b", "--source", "s"], "b: bag: does not exist"),
        (["SPD", "--split", "test"], "batch_split.test: the dataset has no sequence of split 'test'"),
        (["SPD", "--sequence", "0042"], "0042: no such sequence"),
        (["SPD", *SIMULATED, "--mode", "learned"], "mode learned: needs detector network"),
        (["SPD"], "is missing, as is every other image of sequence 0003"),
        (["SPD", "--convention", "univ2x"], "update_label_info.json: file: convention univ2x deletes labels"),
        (["SPD", "--label-updates", "nowhere.json"], "nowhere.json: file: is missing"),
        (["SPD", "--params", "nowhere.yaml"], "nowhere.yaml: file: cannot be read"),
        (["SPD", "--frames", "0"], "--frames: 0 is not a positive number"),
        (["SPD", "--figures", "x"], "--figures: 'x' is no range"),
        (
            ["SPD", "--figures", "99:100"],
            "--figures: '99:100' holds no frame, the longest sequence has 12; choose within",
        ),
        (["SPD", "--figures", "5:7", "--frames", "5"], "holds no frame, the longest sequence has 5; choose within 0:5"),
        (["SPD", "--loss", "2"], "disturbance --loss: 2.0 is outside 0 .. 1"),
        (["SPD", "--vehicle", "car"], "--vehicle: names the vehicle of a --bag"),
        (["BAG"], "bag: dataset: is a rosbag2; score a recorded one by --bag RECORDED --source BAG"),
        (["nowhere"], "nowhere: dataset: is not a folder"),
    ],
)
def test_what_cannot_work_is_one_line(
    spd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cooptrack_core.networks.make_network", lambda config, role, matcher="": FakeNetwork(role))
    places = {"SPD": str(spd), "BAG": str(spd.parent / "bag")}
    assert main(["evaluate", *(places.get(word, word) for word in options)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and says in lines[0]
