"""ROS parameter files offline: the sections and names of the nodes, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.parameter_files import read_parameters
from cooptrack_core.types import CooptrackError

CONFIG = Path(__file__).resolve().parents[2] / "config"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def test_the_files_of_the_nodes_give_the_defaults() -> None:
    for name in ("vehicle_node", "roadside_node"):
        found = read_parameters(CONFIG / f"{name}.yaml")
        assert "autostart" in found.of_nodes
        assert found.vehicle_config() == VehicleConfig() and found.roadside_config() == RoadsideConfig()


@pytest.mark.parametrize("node", ["vehicle_node", "/vehicle/vehicle_node", "/**/vehicle_node"])
def test_a_section_of_a_node_comes_before_that_of_all(tmp_path: Path, node: str) -> None:
    text = f"""
{node}:
  ros__parameters:
    tracker.gate_m: 7
    late:
      gate_m: 2.5
/**:
  ros__parameters:
    tracker: {{gate_m: 3.0, birth_hits: 2}}
marker_node:
  ros__parameters: {{tracker.gate_m: 9.0}}
"""
    found = read_parameters(written(tmp_path, text))
    vehicle, roadside = found.vehicle_config(), found.roadside_config()
    assert (vehicle.tracker.gate_m, vehicle.tracker.birth_hits, vehicle.late.gate_m) == (7.0, 2, 2.5)
    assert (roadside.tracker.gate_m, roadside.tracker.birth_hits) == (3.0, 2)


def test_namespaces_may_be_nested_and_given_values_come_first(tmp_path: Path) -> None:
    text = "rsu:\n  roadside_node:\n    ros__parameters: {min_score: 0.3, network: {preset: r50}}\n"
    found = read_parameters(written(tmp_path, text))
    assert found.roadside_config().min_score == 0.3 and found.vehicle_config() == VehicleConfig()
    changed = found.roadside_config(network__preset="tiny", min_score=None)
    assert changed.network.preset == "tiny" and changed.min_score == 0.3


def test_parameters_of_every_node_of_ours_and_of_ros_itself_are_left_alone(tmp_path: Path) -> None:
    names = "use_sim_time: true, rate: 2.0, map_frame: world, qos_overrides: {/tf: {publisher: {depth: 3}}}"
    found = read_parameters(written(tmp_path, f"/**:\n  ros__parameters: {{{names}}}\n"))
    assert found.of_nodes == ["use_sim_time", "rate", "map_frame", "qos_overrides./tf.publisher.depth"]
    assert found.vehicle_config() == VehicleConfig()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "top level: has no parameters of a node; write `/**:`"),
        ("- 1\n", "top level: has no parameters of a node"),
        ("/**:\n  mode: ego\n", "mode: has no parameters of a node"),
        ("/**:\n  ros__parameters: 3\n", "/**.ros__parameters: is not a mapping"),
        ("/**: [\n", "file: is not valid YAML"),
        ("/**:\n  ros__parameters: {tracker.gait_m: 1.0}\n", "tracker.gait_m: is no parameter of an agent or a node;"),
        ("/**:\n  ros__parameters: {auto_start: true}\n", "auto_start: is no parameter of an agent or a node"),
        (
            "roadside_node:\n  ros__parameters: {max_agents: 3}\n",
            "max_agents: is no parameter of roadside_node; compare",
        ),
        (
            "/car/vehicel_node:\n  ros__parameters: {mode: ego}\n",
            "vehicel_node: is no node of cooptrack; they are vehicle_node, roadside_node, marker_node, recorder_node,",
        ),
        (
            "/**:\n  ros__parameters: {tracker.gate_m: 1000.0}\n",
            "parameter tracker.gate_m: 1000.0 is outside 0.1 .. 50",
        ),
        ("/**:\n  ros__parameters: {mode: psychic}\n", "parameter mode: 'psychic' is unknown; choose one of"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(CooptrackError) as error:
        read_parameters(path).vehicle_config()
    assert says in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
