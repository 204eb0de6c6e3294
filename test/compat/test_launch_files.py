"""The launch files start what they are asked for, with the right parameters, and end it in good order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from launch_helpers import ROOT, Launched, environment, stub_package

ALL = ["marker_node", "recorder_node", "replay_node", "roadside_node", "vehicle_node"]


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return stub_package(tmp_path / "prefix")


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    folder = tmp_path / "bag"
    folder.mkdir()
    return folder


def run(prefix: Path, file: str, *arguments: str, **changes: str) -> tuple[int, str]:
    """Exit code and output of a launch that ends by itself."""
    launched = Launched(prefix / "log", "cooptrack_ros", file, *arguments, env=environment(prefix, **changes))
    return launched.end(), launched.text


def played(prefix: Path, bag: Path, *arguments: str, **changes: str) -> str:
    """Output of a launch that ends with its bag."""
    code, text = run(prefix, "cooperative.launch.py", f"bag:={bag}", "exit_when_done:=true", *arguments, **changes)
    assert code == 0, text
    return text


def parameter(text: str, node: str, name: str) -> list[str]:
    """Values that a node was given for a parameter, the one that counts last in each process."""
    return re.findall(rf"{node} parameters:\s+{name}:\s*(.*)", text)


@pytest.mark.parametrize("content", ["just words", "- 1", "vehicle_node: [unclosed", "vehicle_node: 3"])
def test_parameter_file_that_is_none_is_one_line_before_anything_starts(
    prefix: Path, bag: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    code, text = run(prefix, "cooperative.launch.py", f"bag:={bag}", f"params_file:={tmp_path / 'mine.yaml'}")
    assert code == 1 and started(text) == []
    assert len([line for line in text.splitlines() if "ERROR" in line and "mine.yaml" in line]) == 1


def started(text: str) -> list[str]:
    return sorted(re.findall(r"\[(\w+)-\d+\]: process started", text))


def test_bag_goes_through_all_nodes_and_everything_ends(prefix: Path, bag: Path, tmp_path: Path) -> None:
    text = played(prefix, bag, f"record:={tmp_path / 'out'}", "rate:=2", "lockstep:=true", "mode:=ego")
    assert started(text) == ALL
    assert parameter(text, "replay_node", "bag")[-1] == str(bag)
    assert parameter(text, "replay_node", "rate")[-1] == "2.0"
    assert parameter(text, "replay_node", "lockstep")[-1] == "true"
    assert parameter(text, "vehicle_node", "mode")[-1] == "ego"
    assert parameter(text, "recorder_node", "output")[-1] == str(tmp_path / "out")
    for node in ("marker_node", "recorder_node", "roadside_node", "vehicle_node"):
        assert parameter(text, node, "use_sim_time")[-1] == "true"
        assert f"{node} finalised" in text  # asked to end, not killed
    assert text.index("recorder_node-1]: process started") < text.index("replay_node-5]: process started")


def test_nodes_are_named_like_their_executables_in_the_namespace_of_their_agent(prefix: Path, bag: Path) -> None:
    text = played(prefix, bag)
    for node, namespace in (("vehicle_node", "/vehicle"), ("marker_node", "/vehicle"), ("roadside_node", "/rsu")):
        arguments = re.search(rf"{node} arguments: (.*)", text)[1]
        assert f"-r __node:={node}" in arguments and f"-r __ns:={namespace} " in arguments
        # Under the node's full name: an entry under a wildcard would lose against a file that names the node.
        assert f"{node} parameters: {namespace}/{node}:" in text


def test_another_roadside_unit_or_vehicle_is_another_namespace(prefix: Path, bag: Path) -> None:
    text = played(prefix, bag, "roadside:=rsu,rsu_2", "vehicle:=car,van")
    assert started(text).count("roadside_node") == started(text).count("vehicle_node") == 2
    for namespace in ("/rsu", "/rsu_2", "/car", "/van"):
        assert f"-r __ns:={namespace} " in text
    for topic in ("/rsu/instances", "/rsu_2/instances"):
        assert text.count(f"vehicle_node parameters:     - {topic}") == 2
        assert text.count(f"replay_node parameters:     - {topic}") == 1
    assert "replay_node parameters:     - /van/tracks" in text


def test_vehicles_that_share_listen_to_everybody_and_publish(prefix: Path, bag: Path) -> None:
    text = played(prefix, bag, "roadside:=rsu,rsu_2", "vehicle:=car,van", "share:=true")
    assert text.count("vehicle_node parameters:     - /**/instances") == 2
    assert parameter(text, "vehicle_node", "publish_instances").count("true") == 2
    assert "roadside_node parameters:     publish_instances" not in text
    alone = played(prefix, bag, "vehicle:=car")
    assert "/**/instances" not in alone and "true" not in parameter(alone, "vehicle_node", "publish_instances")


def test_no_roadside_unit_is_possible(prefix: Path, bag: Path) -> None:
    text = played(prefix, bag, "roadside:=none")
    assert "roadside_node" not in started(text)
    assert "vehicle_node parameters:     - ''" in text


def test_live_takes_wall_time_and_ends_on_interrupt(prefix: Path) -> None:
    launched = Launched(prefix / "log", "cooptrack_ros", "cooperative.launch.py", env=environment(prefix))
    for node in ("marker_node", "roadside_node", "vehicle_node"):
        launched.wait_for(f"{node} profile")
    launched.interrupt()
    assert launched.end() in (0, 130)
    assert started(launched.text) == ["marker_node", "roadside_node", "vehicle_node"]
    assert launched.text.count("finalised") == 3
    assert parameter(launched.text, "vehicle_node", "use_sim_time")[-1] == "false"


@pytest.mark.parametrize("agent", ["roadside", "vehicle"])
def test_an_agent_can_be_started_alone(prefix: Path, agent: str) -> None:
    file, node = f"{agent}.launch.py", f"{agent}_node"
    launched = Launched(prefix / "log", "cooptrack_ros", file, "namespace:=here", env=environment(prefix))
    launched.wait_for(f"{node} profile")
    launched.interrupt()
    launched.end()
    assert started(launched.text) == [node]
    assert "-r __ns:=/here " in launched.text
    assert "fastdds_network.xml" in launched.text  # not the loopback profile: the others are on other machines


def test_failure_of_the_replay_is_a_failure_of_the_launch(prefix: Path, bag: Path) -> None:
    code, text = run(prefix, "cooperative.launch.py", f"bag:={bag}", "exit_when_done:=true", REPLAY_CODE="3")
    assert code == 1
    assert "replay_node has failed with exit code 3" in text
    assert "vehicle_node finalised" in text


@pytest.mark.parametrize("agent", ["roadside_node", "vehicle_node"])
def test_an_agent_that_cannot_come_up_ends_the_launch_at_once(
    prefix: Path, bag: Path, tmp_path: Path, agent: str
) -> None:
    changes = {"DYING": agent, "DEATH_CERTIFICATE": str(tmp_path / "died"), "DYING_CODE": "1", "REPLAY_WAITS": "1"}
    code, text = run(prefix, "cooperative.launch.py", f"bag:={bag}", "exit_when_done:=true", **changes)
    assert code == 1 and "Traceback" not in text
    assert re.search(rf"{agent}-\d+ could not come up \(exit code 1\)", text)


def test_own_profile_is_not_overridden(prefix: Path, bag: Path) -> None:
    assert "vehicle_node profile: /my/own.xml" in played(prefix, bag, FASTDDS_DEFAULT_PROFILES_FILE="/my/own.xml")
    assert "vehicle_node profile: none" in played(prefix, bag, FASTRTPS_DEFAULT_PROFILES_FILE="/my/own.xml")


def test_profile_is_for_this_machine_only_by_default(prefix: Path, bag: Path) -> None:
    found = re.search(r"vehicle_node profile: (.*)", played(prefix, bag))[1]
    assert Path(found).resolve() == ROOT / "config" / "fastdds_local.xml"
    assert "vehicle_node profile: none" in played(prefix, bag, "dds_profile:=none")


def test_parameter_file_of_the_user_goes_before_the_defaults(prefix: Path, bag: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**:\n  ros__parameters:\n    late.gate_m: 9.0\n")
    text = played(prefix, bag, f"params_file:={mine}")
    arguments = re.search(r"vehicle_node arguments: (.*)", text)[1]
    files = re.findall(r"--params-file (\S+)", arguments)
    assert [Path(name).name for name in files[:2]] == ["vehicle_node.yaml", "mine.yaml"]
    assert parameter(text, "vehicle_node", "late.gate_m")[-1] == "9.0"


def test_network_reaches_the_nodes_and_images_are_the_frames_of_the_replay(prefix: Path, bag: Path) -> None:
    network = ("detector:=network", "mode:=distance", "preset:=r50", "weights:=a", "roadside_weights:=b", "device:=cpu")
    text = played(prefix, bag, *network)
    for node, weights in (("vehicle_node", "a"), ("roadside_node", "b")):
        assert parameter(text, node, "network.preset")[-1] == "r50"
        assert parameter(text, node, "network.weights")[-1] == weights
        assert parameter(text, node, "network.device")[-1] == "cpu"
    assert parameter(text, "vehicle_node", "mode")[-1] == "distance"
    assert parameter(text, "replay_node", "lockstep_frames")[-1] == "images"
    assert "replay_node parameters:     - /rsu/camera_info" in text
    assert float(parameter(text, "replay_node", "lockstep_timeout_ms")[-1]) == 60000.0


def test_lockstep_waits_long_enough_for_a_machine_that_others_use(prefix: Path, bag: Path) -> None:
    text = played(prefix, bag, "detector:=simulated", "mode:=late", "lockstep:=true")
    assert float(parameter(text, "replay_node", "lockstep_timeout_ms")[-1]) == 60000.0


def test_network_arguments_that_are_not_given_leave_the_parameter_files_alone(prefix: Path, bag: Path) -> None:
    text = played(prefix, bag, "weights:=mine")
    for node in ("vehicle_node", "roadside_node"):
        assert parameter(text, node, "network.weights")[-1] == "mine"
        assert parameter(text, node, "network.preset") == parameter(text, node, "network.device") == []


@pytest.mark.parametrize(
    ("given", "detector", "mode", "frames"),
    [([], "network", "learned", "images"), (["detector:=simulated"], "simulated", "late", "detections")],
)
def test_without_a_mode_each_detector_has_its_own_and_the_network_is_the_default(
    prefix: Path, bag: Path, given: list[str], detector: str, mode: str, frames: str
) -> None:
    text = played(prefix, bag, *given)
    for node in ("vehicle_node", "roadside_node"):
        assert parameter(text, node, "detector")[-1] == detector
        assert parameter(text, node, "network.weights") == []
    assert parameter(text, "vehicle_node", "mode")[-1] == mode
    assert parameter(text, "replay_node", "lockstep_frames")[-1] == frames


@pytest.mark.parametrize(
    ("argument", "what"),
    [
        ("detector:=simulated mode:=learned", "mode:=learned: needs features; give detector:=network too"),
        ("preset:=gigantic", "gigantic"),
        ("device:=tpu", "tpu"),
    ],
)
def test_network_arguments_that_cannot_work_start_nothing(prefix: Path, bag: Path, argument: str, what: str) -> None:
    code, text = run(prefix, "cooperative.launch.py", f"bag:={bag}", *argument.split())
    assert code == 1 and started(text) == [] and what in text and "Traceback" not in text


def test_dead_node_is_started_again_if_asked_for(prefix: Path, tmp_path: Path) -> None:
    env = environment(prefix, DYING="roadside_node", DEATH_CERTIFICATE=str(tmp_path / "died"))
    launched = Launched(prefix / "log", "cooptrack_ros", "cooperative.launch.py", "use_respawn:=true", env=env)
    launched.wait_for("roadside_node profile", count=2)
    launched.interrupt()
    launched.end()
    assert started(launched.text).count("roadside_node") == 2
    assert started(launched.text).count("vehicle_node") == 1


def test_dead_roadside_node_does_not_take_the_vehicle_with_it(prefix: Path, bag: Path, tmp_path: Path) -> None:
    env = environment(prefix, DYING="roadside_node", DEATH_CERTIFICATE=str(tmp_path / "died"))
    launched = Launched(prefix / "log", "cooptrack_ros", "cooperative.launch.py", env=env)
    launched.wait_for("process has died")
    launched.wait_for("vehicle_node profile")
    launched.interrupt()
    launched.end()
    assert "vehicle_node finalised" in launched.text
    assert started(launched.text).count("roadside_node") == 1


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("mode:=telepathy", r"mode.*telepathy.*ego.*late"),
        ("detector:=eyes", r"detector.*eyes.*simulated"),
        ("rviz:=true", r"rviz2 is not installed"),
        ("bag:=/no/where", r"bag:=/no/where: no such directory"),
        ("record:=/tmp", r"record:=/tmp: exists already"),
        ("params_file:=/no/where.yaml", r"params_file:=/no/where.yaml: no such file"),
        ("rate:=fast", r"rate:=fast: not a number"),
        ("roadside:=1st", r"roadside:=1st: '1st' is not a namespace"),
        ("roadside:=rsu,rsu", r"given twice"),
        ("roadside:=vehicle", r"namespaces of their own"),
    ],
)
def test_bad_argument_is_one_clear_line_and_nothing_stays_running(
    prefix: Path, bag: Path, argument: str, says: str
) -> None:
    given = [] if argument.startswith("bag:=") else [f"bag:={bag}"]
    code, text = run(prefix, "cooperative.launch.py", *given, "exit_when_done:=true", argument)
    assert code == 1
    assert any(re.search(says, line) and "ERROR" in line for line in text.splitlines()), text
    assert "replay_node" not in started(text)
    assert "Traceback" not in text


@pytest.mark.parametrize("file", ["cooperative.launch.py", "roadside.launch.py", "vehicle.launch.py"])
def test_every_argument_is_described(prefix: Path, file: str) -> None:
    code, text = run(prefix, file, "--show-args")
    assert code == 0
    entries = re.findall(r"\n    '(\w+)':\n        (.+)", text)
    assert len(entries) >= 8 and all(len(description) > 10 for _, description in entries)
    assert "no description given" not in text
    assert text.count("(default:") == len(entries)  # every one may be left out


def test_impairments_stand_between_roadside_units_and_vehicles(prefix: Path, bag: Path, tmp_path: Path) -> None:
    (tmp_path / "radio.yaml").write_text("delay_ms: 100.0\n")
    text = played(prefix, bag, f"impair:={tmp_path / 'radio.yaml'}", "roadside:=rsu,rsu_2")
    assert started(text).count("impairment_node") == 1 and started(text).count("roadside_node") == 2
    assert parameter(text, "impairment_node", "impairment")[-1] == str(tmp_path / "radio.yaml")
    for topic in ("/rsu/instances", "/rsu_2/instances"):
        assert text.count(f"impairment_node parameters:     - {topic}\n") == 1
        assert text.count(f"vehicle_node parameters:     - {topic}_impaired") == 1
        assert f"vehicle_node parameters:     - {topic}\n" not in text
    assert "impairment_node" not in started(played(prefix, bag))


def test_a_bad_file_of_impairments_is_one_line_before_anything_starts(prefix: Path, bag: Path, tmp_path: Path) -> None:
    (tmp_path / "radio.yaml").write_text("lag: 100.0\n")
    code, text = run(prefix, "cooperative.launch.py", f"bag:={bag}", f"impair:={tmp_path / 'radio.yaml'}")
    assert code == 1 and started(text) == []
    assert len([line for line in text.splitlines() if "'lag' is no impairment" in line]) == 1


def keystore(folder: Path, *enclaves: str) -> Path:
    for path in enclaves:
        (folder / "enclaves" / path).mkdir(parents=True)
    return folder


def test_security_is_enforced_and_every_node_has_an_enclave(prefix: Path, bag: Path, tmp_path: Path) -> None:
    keys = keystore(
        tmp_path / "keys", "rsu/roadside_node", "vehicle/vehicle_node", "vehicle/marker_node", "replay_node"
    )
    text = played(prefix, bag, "security:=true", f"keystore:={keys}")
    for node, path in (("roadside_node", "/rsu"), ("vehicle_node", "/vehicle"), ("marker_node", "/vehicle")):
        assert f"--enclave {path}/{node}" in re.search(rf"{node} arguments: (.*)", text)[1]
        assert f"{node} security: true Enforce {keys}" in text
    assert "--enclave /replay_node" in re.search(r"replay_node arguments: (.*)", text)[1]
    plain = played(prefix, bag)
    assert "--enclave" not in plain and "vehicle_node security: off" in plain


@pytest.mark.parametrize(
    ("file", "node"), [("vehicle.launch.py", "vehicle_node"), ("roadside.launch.py", "roadside_node")]
)
def test_an_agent_alone_is_secured_too(prefix: Path, tmp_path: Path, file: str, node: str) -> None:
    keys = keystore(tmp_path / "keys", f"here/{node}")
    options = ("namespace:=here", "security:=true", f"keystore:={keys}")
    launched = Launched(prefix / "log", "cooptrack_ros", file, *options, env=environment(prefix))
    launched.wait_for(f"{node} security: true Enforce {keys}")
    launched.interrupt()
    launched.end()
    assert f"--enclave /here/{node}" in launched.text


def test_security_without_keys_is_one_line_and_no_vehicle_starts(prefix: Path, bag: Path, tmp_path: Path) -> None:
    empty = keystore(tmp_path / "keys", "rsu/roadside_node")
    for options, said in (
        ((), "security:=true: no keystore; give keystore:=FOLDER"),
        ((f"keystore:={tmp_path / 'none'}",), "none: no such keystore"),
        ((f"keystore:={empty}",), "no keys for /vehicle/"),
    ):
        code, text = run(prefix, "cooperative.launch.py", f"bag:={bag}", "security:=true", *options)
        assert code == 1 and len([line for line in text.splitlines() if said in line]) == 1, text
        assert "vehicle_node" not in started(text)
