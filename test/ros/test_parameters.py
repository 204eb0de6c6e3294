"""The files in config/ and the parameters of the nodes are the same, with comments, types and ranges."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from rcl_interfaces.msg import ParameterType

from cooptrack_core.config import RoadsideConfig, VehicleConfig, specs
from cooptrack_core.parameter_files import NODE_PARAMETERS
from cooptrack_ros.impairment_node import ImpairmentNode
from cooptrack_ros.marker_node import MarkerNode
from cooptrack_ros.parameter_files import NODES, text
from cooptrack_ros.parameters import spec_value
from cooptrack_ros.recorder_node import RecorderNode
from cooptrack_ros.replay_node import ReplayNode
from cooptrack_ros.roadside_node import RoadsideNode
from cooptrack_ros.vehicle_node import VehicleNode

CONFIG = Path(__file__).resolve().parent.parent.parent / "config"
CLASSES = {
    "impairment_node": ImpairmentNode,
    "marker_node": MarkerNode,
    "recorder_node": RecorderNode,
    "replay_node": ReplayNode,
    "roadside_node": RoadsideNode,
    "vehicle_node": VehicleNode,
}
FOREIGN = ("use_sim_time", "start_type_description_service")  # rclpy's own
TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
    tuple: ParameterType.PARAMETER_STRING_ARRAY,
}


def flat(tree, prefix=""):
    found = {}
    for name, value in tree.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


@pytest.fixture
def make(graph, tmp_path):
    def made(name):
        from processes import write_bag

        needed = {"recorder_node": {"output": str(tmp_path / "out")}}
        if name == "replay_node":
            needed["replay_node"] = {"bag": str(write_bag(tmp_path / "bag"))}
        return graph.add(CLASSES[name], "/agent", needed.get(name))

    return made


@pytest.mark.parametrize("name", sorted(NODES))
def test_file_holds_every_declared_parameter_with_its_default(make, name):
    node = make(name)
    declared = {n for n in node._parameters if n not in FOREIGN and not n.startswith("qos_overrides.")}
    file = yaml.safe_load((CONFIG / f"{name}.yaml").read_text())
    assert list(file) == ["/**"] and list(file["/**"]) == ["ros__parameters"]
    values = flat(file["/**"]["ros__parameters"])
    assert set(values) == declared
    every = {spec.name: spec for cls in NODES[name] for spec in specs(cls)}
    assert values == {n: spec_value(spec.default) for n, spec in every.items()}


@pytest.mark.parametrize("name", sorted(NODES))
def test_file_is_what_the_parameters_say(name):
    assert (CONFIG / f"{name}.yaml").read_text() == text(name), "run: python -m cooptrack_ros.parameter_files config"


def test_offline_runs_know_the_parameters_of_every_node():
    configs = (VehicleConfig, RoadsideConfig)
    own = {name: {spec.name for cls in NODES[name] if cls not in configs for spec in specs(cls)} for name in NODES}
    assert own == NODE_PARAMETERS


@pytest.mark.parametrize("name", sorted(NODES))
def test_every_parameter_has_a_description_and_its_range(make, name):
    node = make(name)
    for spec in (spec for cls in NODES[name] for spec in specs(cls)):
        described = node.describe_parameter(spec.name)
        assert described.description == spec.description and len(spec.description) > 10
        assert described.type == TYPES[type(spec.default)]
        if spec.minimum is not None and isinstance(spec.default, (int, float)):
            ranges = [*described.floating_point_range, *described.integer_range]
            assert len(ranges) == 1 and ranges[0].from_value == spec.minimum
        if spec.choices is not None:
            assert all(choice in described.additional_constraints for choice in spec.choices)


def test_a_file_sets_the_parameters_of_a_node(tmp_path):
    from processes import Process

    changed = (CONFIG / "vehicle_node.yaml").read_text().replace('mode: "learned"', 'mode: "telepathy"')
    (tmp_path / "mine.yaml").write_text(changed)
    node = Process("vehicle_node", "--params-file", str(tmp_path / "mine.yaml"), "-r", "__ns:=/vehicle")
    assert node.wait() == 1
    assert len(node.lines) == 1
    assert "cannot configure: /vehicle/vehicle_node: parameter mode: 'telepathy'" in node.lines[0]


def test_a_misspelt_parameter_is_named_with_the_one_that_was_meant(tmp_path):
    from processes import Process

    (tmp_path / "mine.yaml").write_text("/**:\n  ros__parameters:\n    mdoe: late\n    trail_length: 3\n    mode: x\n")
    node = Process("vehicle_node", "--params-file", str(tmp_path / "mine.yaml"), "-r", "__ns:=/vehicle")
    assert node.wait() == 1
    assert len(node.lines) == 2  # trail_length is another node's
    assert "parameter mdoe: unknown, its value is ignored; did you mean mode?" in node.lines[0]


def test_a_file_that_is_not_there_is_one_line():
    from processes import Process

    node = Process("vehicle_node", "--params-file", "/nonexistent.yaml")
    assert node.wait() == 2
    assert "/nonexistent.yaml" in node.lines[-1] and not any("Traceback" in line for line in node.lines)


def test_qos_can_be_overridden(graph):
    from drives import PARAMETERS
    from rclpy.qos import QoSReliabilityPolicy

    overrides = {"qos_overrides./rsu/instances.publisher.reliability": "reliable"}
    graph.start(RoadsideNode, "/rsu", {**PARAMETERS, **overrides})
    info = graph.node.get_publishers_info_by_topic("/rsu/instances")[0]
    assert info.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE


def test_tuned_parameters_reach_the_agents_they_are_for_in_any_namespace(graph, tmp_path):
    from dataclasses import replace

    from rclpy.node import Node

    from cooptrack_core.config import RoadsideConfig, VehicleConfig, from_parameters
    from cooptrack_core.evaluation.calibration import Calibration
    from cooptrack_core.evaluation.tuned_file import text as tuned_text
    from cooptrack_core.evaluation.tuning import Tuned
    from cooptrack_ros.launch_parts import check_params_file
    from cooptrack_ros.parameters import NodeParameters, RoadsideParameters, VehicleParameters

    values = {"min_score": 0.2, "tracker.birth_hits": 2, "late.gate_m": 3.0, "late.remote_score_offset": -1.5}
    scores = {"objective": 0.5, "amota": 0.4, "map": 0.6}
    path = tmp_path / "tuned.yaml"
    tuned = Tuned("late", values, {"ego": Calibration()}, scores, scores, scores, 1, 0)
    path.write_text(tuned_text(tuned, ["0001"], []))
    check_params_file(str(path))

    def read(name, namespace, own, config):
        arguments = ["--ros-args", "--params-file", str(path)]
        node = Node(name, namespace=namespace, context=graph.context, cli_args=arguments)
        try:
            return NodeParameters(node, own, config).read(config)
        finally:
            node.destroy_node()

    for namespace in ("/vehicle", "/fleet/car_7"):
        found = read("vehicle_node", namespace, VehicleParameters, VehicleConfig)
        assert found == from_parameters(VehicleConfig, values)
    assert read("roadside_node", "/rsu", RoadsideParameters, RoadsideConfig) == RoadsideConfig()

    roadside = {"tracker.birth_hits": 1}
    path.write_text(tuned_text(replace(tuned, roadside=roadside), ["0001"], []))
    found = read("roadside_node", "/rsu2", RoadsideParameters, RoadsideConfig)
    assert found == from_parameters(RoadsideConfig, roadside)
    assert read("vehicle_node", "/vehicle", VehicleParameters, VehicleConfig).tracker.birth_hits == 2
