"""Offline runs: a dataset equals its bag, and a recorded run is repeated byte for byte from either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_networks import FakeNetwork, fake_networks
from recorded_bags import lost, record, without_pose
from rosbags.rosbag2 import Reader, Writer
from scenarios import cars, frame
from simulated import EGO, LATE, UNIT
from tiny_spd import TinySpd

from cooptrack_core.config import NetworkConfig, RedundancyConfig, RoadsideConfig, VehicleConfig
from cooptrack_core.data.bag_events import BagEvent, Source
from cooptrack_core.data.frame_messages import SequenceOptions
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.data.recorded_run import read_run
from cooptrack_core.data.sequence_messages import SequenceMessages
from cooptrack_core.data.sequence_source import SequenceSource
from cooptrack_core.data.to_bag import BagOptions, sequence_to_bag
from cooptrack_core.data.track_messages import serialised_tracks, tracks_message
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.offline import make_agents
from cooptrack_core.offline_bag import repeat_bag, track_bag
from cooptrack_core.types import CooptrackError

SEED = 3
FRAMES = 8
CONFIGS = {
    "late": LATE,
    "ego": EGO,
    "learned": VehicleConfig(mode="learned", detector="network"),
    "network_late": VehicleConfig(mode="late", detector="network"),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    """A sequence as dataset and as bag."""
    folder = tmp_path_factory.mktemp("data")
    dataset = Dataset(TinySpd(folder / "spd", frames=FRAMES).write())
    sequence_to_bag(dataset, "0010", folder / "bag", BagOptions(seed=SEED))
    return {
        "bag": folder / "bag",
        "dataset": SequenceSource(SequenceMessages(dataset, "0010", SequenceOptions(seed=SEED))),
    }


def plain(recording: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from run to run."""
    frames = [{key: value for key, value in frame.items() if key != "timings_ms"} for frame in recording["frames"]]
    return {**recording, "frames": frames, "source_bag": ""}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_dataset_gives_exactly_what_its_bag_gives(sources: dict[str, Source], name: str) -> None:
    runs = [plain(track_bag(source, CONFIGS[name], networks=fake_networks)) for source in sources.values()]
    assert runs[0] == runs[1]
    assert len(runs[0]["frames"]) == FRAMES and any(frame["tracks"] for frame in runs[0]["frames"])
    assert len(runs[0]["sent"]) == FRAMES


def test_a_recording_names_its_networks_and_that_they_are_untrained(sources: dict[str, Source]) -> None:
    config = replace(CONFIGS["learned"], network=NetworkConfig(weights="untrained"))
    recording = track_bag(sources["bag"], config, networks=fake_networks)
    assert recording["weights"] == "untrained"
    assert {name: entry["preset"] for name, entry in recording["networks"].items()} == {
        "vehicle": "tiny_coop", "rsu": "tiny_inf",
    }  # fmt: skip
    assert "networks" not in track_bag(sources["bag"], CONFIGS["late"])


def test_features_reach_the_network_of_the_vehicle(sources: dict[str, Source]) -> None:
    recording = track_bag(sources["bag"], CONFIGS["learned"], networks=fake_networks)
    used = [frame["messages"] for frame in recording["frames"]]
    assert sum(map(len, used)) >= FRAMES - 1
    assert any(track["agents"] == ["rsu"] for frame in recording["frames"] for track in frame["tracks"])


def gappy(event: BagEvent, number: int) -> BagEvent:
    """What load and a late /tf make of some frames of the vehicle."""
    if event.agent_id == "vehicle" and number in (3, 6):
        return lost(event)
    return without_pose(event) if event.agent_id == "vehicle" and number == 5 else event


@pytest.mark.parametrize("kind", ["bag", "dataset"])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_recorded_run_is_repeated_byte_for_byte(
    sources: dict[str, Source], tmp_path: Path, name: str, kind: str
) -> None:
    recorded = tmp_path / "recorded"
    then = record(
        sources["bag"], recorded, CONFIGS[name], fake_networks, change=gappy, heard=lambda sequence: sequence % 3 != 1
    )
    repeated = repeat_bag(sources[kind], recorded, networks=fake_networks)
    assert repeated["repeated"] == {"frames": FRAMES, "equal": FRAMES, "first_frame_index": 1}
    assert (repeated["mode"], repeated["detector"]) == (CONFIGS[name].mode, CONFIGS[name].detector)
    for output, row in zip(then, repeated["frames"], strict=True):
        assert [t["id"] for t in row["tracks"]] == output.tracks.track_id.tolist()
        assert [m["sequence"] for m in row["messages"]] == [m.sequence for m in output.associations.messages]
    # A frame without pose uses no message, and each mode lost what it lost.
    assert then[4].associations.messages == () and [output.ego_lost for output in then] == [
        n in (2, 5) for n in range(FRAMES)
    ]


@pytest.mark.parametrize("name", ["late", "learned"])
def test_a_run_whose_messages_hold_instances_is_repeated_too(
    sources: dict[str, Source], tmp_path: Path, name: str
) -> None:
    held = RedundancyConfig(refresh_ms=500.0, position_m=5.0, heading_rad=1.0, score=1.0)
    recorded = tmp_path / "recorded"
    then = record(
        sources["bag"], recorded, CONFIGS[name], fake_networks, heard=lambda sequence: sequence % 4 != 2,
        redundancy=held, kinematics_precision="compact",
    )  # fmt: skip
    sent = read_run(recorded, "vehicle", ["rsu"]).messages
    assert any(len(message.held_id) for message in sent)
    repeated = repeat_bag(sources["dataset"], recorded, networks=fake_networks)
    assert repeated["repeated"] == {"frames": FRAMES, "equal": FRAMES, "first_frame_index": 1}
    assert [len(output.admitted) for output in then].count(0) <= 3


def test_what_was_heard_but_not_recorded_is_named_where_others_hold_it(
    sources: dict[str, Source], tmp_path: Path
) -> None:
    held = RedundancyConfig(refresh_ms=500.0, position_m=5.0, heading_rad=1.0, score=1.0)
    record(sources["bag"], tmp_path / "whole", CONFIGS["late"], fake_networks, redundancy=held)
    with Reader(tmp_path / "whole") as reader, Writer(tmp_path / "gap", version=9) as out:
        to = {c.topic: out.add_connection(c.topic, c.msgtype, typestore=typestore()) for c in reader.connections}
        log = [(c.topic, t, data) for c, t, data in reader.messages()]
        first = next(item for item in log if item[0] == "/rsu/instances")
        for topic, log_ns, data in log:
            if (topic, log_ns) != first[:2]:
                out.write(to[topic], log_ns, data)
    with pytest.raises(CooptrackError, match=r"message 1 of rsu was (heard|used) but not recorded"):
        repeat_bag(sources["bag"], tmp_path / "gap")


def test_a_repetition_steps_no_roadside_unit(sources: dict[str, Source], tmp_path: Path) -> None:
    made: list[FakeNetwork] = []

    def networks(config: Any) -> FakeNetwork | None:
        made.append(fake_networks(config))  # type: ignore[arg-type]
        return made[-1]

    record(sources["bag"], tmp_path / "recorded", CONFIGS["learned"], fake_networks)
    repeat_bag(sources["bag"], tmp_path / "recorded", networks=networks)
    assert [network.role for network in made] == ["coop"] and len(made[0].frames) == FRAMES


def test_another_schedule_or_another_network_is_noticed(sources: dict[str, Source], tmp_path: Path) -> None:
    record(sources["bag"], tmp_path / "recorded", CONFIGS["learned"], fake_networks)
    config = VehicleConfig(mode="ego", detector="network")
    repeated = repeat_bag(sources["bag"], tmp_path / "recorded", config, networks=fake_networks)["repeated"]
    assert repeated["frames"] == FRAMES and repeated["equal"] < FRAMES


def test_frames_that_the_run_never_saw_are_left_out(sources: dict[str, Source], tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    record(sources["bag"], recorded, CONFIGS["late"], fake_networks, index_from=4)
    repeated = repeat_bag(sources["bag"], recorded)
    assert len(repeated["frames"]) == FRAMES - 3
    assert repeated["repeated"]["first_frame_index"] == 4


def test_the_pose_that_was_published_counts_where_tf_gives_another(sources: dict[str, Source], tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"

    def moved(event: BagEvent, _: int) -> BagEvent:
        event.frame.T_map_from_sensor[0, 3] += 1e-9
        return event

    record(sources["bag"], recorded, CONFIGS["late"], fake_networks, change=moved)
    then = repeat_bag(sources["bag"], recorded)
    poses = [np.array(frame["T_map_from_lidar"])[0, 3] for frame in then["frames"]]
    published = [m.map_from_frame.position.x for m in read_run(recorded, "vehicle", ["rsu"]).tracks.values()]
    assert poses == published


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        (("associations", "instances"), "/vehicle/tracks: topic is missing or empty; record the vehicle's tracks"),
        (("tracks", "instances"), "/vehicle/associations: topic is missing or empty; record the vehicle's assoc"),
        (("tracks", "associations"), "message 1 of rsu was used but not recorded; record /rsu/instances too"),
    ],
)
def test_a_recording_that_lacks_something_is_named(
    sources: dict[str, Source], tmp_path: Path, kept: tuple[str, ...], says: str
) -> None:
    record(sources["bag"], tmp_path / "recorded", CONFIGS["late"], fake_networks, kept=kept)
    with pytest.raises(CooptrackError, match=says) as caught:
        repeat_bag(sources["bag"], tmp_path / "recorded")
    assert "\n" not in str(caught.value)


def test_a_recording_in_which_time_jumps_back_is_named(sources: dict[str, Source], tmp_path: Path) -> None:
    record(sources["bag"], tmp_path / "once", CONFIGS["ego"], fake_networks)
    with Reader(tmp_path / "once") as reader, Writer(tmp_path / "twice", version=9) as out:
        to = {c.topic: out.add_connection(c.topic, c.msgtype, typestore=typestore()) for c in reader.connections}
        log = [(c.topic, t, data) for c, t, data in reader.messages()]
        for topic, t, data in [*log, *((topic, t + 10**10, data) for topic, t, data in log)]:
            out.write(to[topic], t, data)
    with pytest.raises(CooptrackError, match="twice: tracks: frame 1 is not later than the one before it: time jumped"):
        repeat_bag(sources["bag"], tmp_path / "twice")


def test_rejected_frames_are_told_once_and_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = TinySpd(tmp_path / "spd").write()
    for frame_id in ("000001", "000002"):
        path = root / "vehicle-side" / "image" / f"{frame_id}.jpg"
        path.write_bytes(path.read_bytes()[: 100 + int(frame_id)])
    source = SequenceSource(SequenceMessages(Dataset(root), "0010", SequenceOptions()))
    recording = track_bag(source, VehicleConfig(mode="ego", detector="network"), roadside=(), networks=fake_networks)
    assert [frame["predicted_only"] for frame in recording["frames"]] == [False, True, True, False]
    told = [line for line in capsys.readouterr().err.splitlines() if "cannot be decoded" in line]
    assert told == ["vehicle: image: 101 bytes cannot be decoded; such frames are only predicted"]


def test_features_of_a_stranger_are_told_once(sources: dict[str, Source], capsys: pytest.CaptureFixture[str]) -> None:
    unit = RoadsideConfig(detector="simulated")
    track_bag(sources["bag"], CONFIGS["late"], roadside_config=unit)
    assert capsys.readouterr().err == ""

    def networks(config: Any) -> FakeNetwork | None:
        network = fake_networks(config)
        if network is not None and network.role == "inf":
            network.fingerprint = b"\7" * 32
        return network

    track_bag(sources["bag"], CONFIGS["learned"], networks=networks)
    told = [line for line in capsys.readouterr().err.splitlines() if "features of rsu are not used" in line]
    assert len(told) == 1 and "07070707" in told[0]


def test_a_mode_that_needs_features_is_refused_without_a_network(sources: dict[str, Source]) -> None:
    with pytest.raises(CooptrackError, match="mode learned: needs detector network"):
        track_bag(sources["bag"], VehicleConfig(mode="learned", detector="simulated"))


def test_tracks_are_written_as_the_node_writes_them() -> None:
    agent, _ = make_agents("vehicle", (), LATE, UNIT)
    for index in range(4):
        output = agent.step(frame(index, cars((10.0, 1.5), heading_rad=0.3)))
    message = tracks_message(output, "vehicle/lidar", "vehicle", "late", "simulated")
    read = typestore().deserialize_cdr(serialised_tracks(message), message.__msgtype__)
    (item,) = read.objects
    assert (read.frame_index, read.pose_known, item.track_id, item.has_covariance, item.sources) == (
        4,
        True,
        1,
        True,
        1,
    )
    assert item.pose.pose.position.x == output.tracks.center_m[0, 0]
    assert 2 * np.arctan2(item.pose.pose.orientation.z, item.pose.pose.orientation.w) == pytest.approx(0.3, abs=1e-3)
    assert np.isnan(item.twist.twist.angular.z) and np.isnan(item.visible_fraction)
