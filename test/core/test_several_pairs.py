"""Several vehicles and units in the same traffic: datasets of their own, one bag, one ground truth, figures of it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cooptrack_core.cli import main
from cooptrack_core.data.bag import Bag, stamp_of
from cooptrack_core.data.bag_events import bag_context, matrix_of_pose
from cooptrack_core.data.joined_sequences import JoinedSequences
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.scene import make_scene
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.evaluation.many_agents import agents_summary, rows
from cooptrack_core.geometry.transforms import apply
from cooptrack_core.types import CooptrackError

AGENTS = ("rsu1", "rsu2", "vehicle1", "vehicle2")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "scene"
    options = ["--pairs", "2", "--renderer", "none", "--point-clouds", "none", "--image-size", "160x90"]
    assert main(["synthesize", str(out), "--duration-s", "1", "--jobs", "1", *options]) == 0
    return out


@pytest.fixture(scope="module")
def bag(scenes: Path) -> Path:
    path = scenes.parent / "bag"
    assert main(["to-bag", str(scenes / "1"), str(path), "--with", str(scenes / "2")]) == 0
    return path


def truth_of(bag: Path, vehicle: str) -> list:
    with Bag(bag) as opened:
        return [item.message for item in opened.messages([f"/{vehicle}/ground_truth"])]


def in_map(message) -> dict[int, np.ndarray]:
    T = matrix_of_pose(message.map_from_frame)
    places = ((o.track_id, o.pose.pose.position) for o in message.objects)
    return {int(identity): apply(T, [p.x, p.y, p.z]) for identity, p in places}


def test_pairs_share_traffic_and_world_and_differ_in_sensors(scenes: Path) -> None:
    first, second = (make_scene(SceneOptions(pairs=2, pair=k, duration_s=1.0, renderer="none"), 0) for k in (0, 1))
    assert first.ego.index != second.ego.index and sum(user.plan.ego for user in second.users) == 1
    for a, b in zip(first.users, second.users, strict=True):
        assert (a.index, a.s_m, a.plan.route.name) == (b.index, b.s_m, b.plan.route.name)
    np.testing.assert_array_equal(first.rig.T_world_from_scene, second.rig.T_world_from_scene)
    ours, theirs = (scene.rig.T_scene_from_virtuallidar[:2, 3] for scene in (first, second))
    np.testing.assert_allclose(ours, -theirs, atol=1e-9)  # at the opposite corner
    assert first.rig.stamps != second.rig.stamps
    np.testing.assert_array_equal(first.surroundings.vertices, second.surroundings.vertices)
    alone = make_scene(SceneOptions(duration_s=1.0, renderer="none"), 0)
    assert [user.s_m for user in alone.users] == [user.s_m for user in first.users]
    assert alone.rig.stamps == first.rig.stamps and alone.ego.index == first.ego.index
    assert len(alone.surroundings.vertices) != len(first.surroundings.vertices), "one unit less"


def test_each_pair_is_a_dataset_of_its_own(scenes: Path) -> None:
    for pair in ("1", "2"):
        dataset = Dataset(scenes / pair)
        assert dataset.sequences == ("0003",) and len(dataset.frames("vehicle", "0003")) == 10
        options = json.loads((scenes / pair / "synthetic.json").read_bytes())["options"]
        assert (options["pairs"], options["pair"]) == (2, int(pair) - 1)


def test_the_bag_has_topics_and_poses_of_everybody(bag: Path) -> None:
    with Bag(bag) as opened:
        topics, counts = opened.topics, Counter(item.topic for item in opened.messages(types=None))
        logged = [item.log_time_ns for item in opened.messages()]
    for agent in AGENTS:
        assert counts[f"/{agent}/detections_in"] == counts[f"/{agent}/frame_info"] == 10
        assert topics[f"/{agent}/camera_info"] == "sensor_msgs/msg/CameraInfo"
    assert counts["/tf_static"] == 1, "one message with all: a latched topic keeps the last"
    assert all(a < b for a, b in itertools.pairwise(logged))
    context = bag_context(bag, AGENTS)
    stamp_ns = min(context.frame_infos["vehicle2"])
    poses = {agent: context.pose(agent, f"{agent}/lidar", stamp_ns) for agent in AGENTS}
    assert all(pose is not None for pose in poses.values())
    far = [float(np.linalg.norm(poses[a][:2, 3] - poses[b][:2, 3])) for a in AGENTS for b in AGENTS if a < b]
    assert min(far) > 5.0 and max(far) < 200.0, "they stand around one intersection"


def test_the_ground_truth_of_every_vehicle_holds_what_anybody_labels(bag: Path, scenes: Path) -> None:
    ours, theirs = truth_of(bag, "vehicle1"), truth_of(bag, "vehicle2")
    assert len(ours) == len(theirs) == 10
    for a, b, row in zip(ours, theirs, Dataset(scenes / "1").frames("vehicle", "0003"), strict=True):
        assert abs(stamp_of(a) - stamp_of(b)) < 1_000_000
        first, second = in_map(a), in_map(b)
        both = set(first) & set(second)
        assert len(first) == len(a.objects) and len(both) >= max(len(first), len(second)) - 1, "but for themselves"
        assert max(float(np.linalg.norm(first[k] - second[k])) for k in both) < 0.02
        own = set(Dataset(scenes / "1").cooperative_labels(row.frame_id).instances.instance_id.tolist())
        assert own < set(first), "what only the other pair labels came in addition"
        nobody = [o for o in a.objects if np.hypot(o.pose.pose.position.x, o.pose.pose.position.y) < 1.5]
        assert not nobody, "no vehicle is an object to itself"
        assert all(o.view for o in a.objects), "it is known how this camera sees all of them"


def test_detectors_of_different_pairs_err_differently(bag: Path) -> None:
    with Bag(bag) as opened:
        found = {item.topic: item.message for item in opened.messages([f"/{a}/detections_in" for a in AGENTS])}
    scores = [d.results[0].hypothesis.score for array in found.values() for d in array.detections]
    assert len(found) == 4 and len(set(scores)) == len(scores) > 10


def test_datasets_of_another_traffic_are_refused(scenes: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(CooptrackError, match=r"has no vehicle frames"):
        JoinedSequences([Dataset(scenes / "1"), Dataset(scenes / "2")], "0010", _options())
    other = tmp_path / "other"
    assert main(["synthesize", str(other), "--seed", "9", "--duration-s", "1", "--renderer", "none", "--jobs", "1",
                 "--point-clouds", "none", "--image-size", "160x90"]) == 0  # fmt: skip
    assert main(["to-bag", str(scenes / "1"), str(tmp_path / "bag"), "--with", str(other)]) != 0
    assert "is of another place than the first; give datasets of the same traffic" in capsys.readouterr().err


def _options():
    from cooptrack_core.data.to_bag import BagOptions

    return BagOptions()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pairs", "5"], "--pairs: 5 is not possible; give 1 to 4"),
        (["--pairs", "2", "--benchmark"], "--pairs: does not go with --benchmark"),
        (["--pairs", "2", "--shard", "1/2"], "--pairs: does not go with"),
    ],
)
def test_impossible_pairs_are_one_line(arguments, words, tmp_path: Path, capsys) -> None:
    assert main(["synthesize", str(tmp_path / "x"), "--renderer", "none", *arguments]) != 0
    assert words in capsys.readouterr().err


def recording(tracks: list[dict], truth: list[dict]) -> dict:
    message = {"agent": "rsu1", "age_ms": 20.0}
    frame = {"tracks": tracks, "ground_truth": truth, "messages": [message], "has_ground_truth": True}
    return {"frames": [frame, frame | {"messages": []}], "roadside": ["rsu1", "vehicle2"],
            "sent": [{"agent": "rsu1"}, {"agent": "rsu1"}, {"agent": "vehicle2"}]}  # fmt: skip


def thing(x: float, y: float, identity: int, agents: tuple[str, ...] = (), sources: int = 2) -> dict:
    return {"id": identity, "class": "car", "center_m": [x, y, 0.0], "agents": list(agents), "sources": sources}


def test_doubles_messages_and_feeders_are_counted() -> None:
    truth = [thing(10, 0, 1), thing(20, 0, 2), thing(80, 0, 3)]
    tracks = [
        thing(10.2, 0, 1, ("rsu1",), 3), thing(9, 0.5, 2, ("rsu1", "vehicle2")), thing(20, 1, 3, (), 1),
        thing(80, 0, 4, ("rsu1",)), thing(80, 1, 5, ("rsu1",)), thing(0, 30, 6, (), 0),
    ]  # fmt: skip
    found = agents_summary(recording(tracks, truth))
    assert found["duplicates_per_object"] == 0.5, "one double on two found objects; what is out of range does not count"
    assert found["tracks_by_feeders"] == {"0": 2, "1": 6, "2": 4}
    assert found["agents"]["rsu1"] == {
        "messages_sent": 2, "messages_used": 1, "age_ms": 20.0, "tracks_fed_per_frame": 4.0,
    }  # fmt: skip
    assert found["agents"]["vehicle2"]["messages_used"] == 0 and found["agents"]["vehicle2"]["age_ms"] is None
    words = dict(rows(found))
    assert words["agent rsu1"] == "1 of 2 messages used, age 20 ms, feeds 4.0 tracks a frame"
    assert agents_summary(recording([], truth))["duplicates_per_object"] is None
