"""The SROS2 policies name exactly the topics and services that the nodes use, in every way of running them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from drives import PARAMETERS
from fake_network import FakeNetwork
from processes import WAIT_S

from cooptrack_ros.marker_node import MarkerNode
from cooptrack_ros.roadside_node import RoadsideNode
from cooptrack_ros.vehicle_node import VehicleNode

ROOT = Path(__file__).resolve().parents[2]
NODES = {"roadside_node": (RoadsideNode, "/rsu"), "vehicle_node": (VehicleNode, "/vehicle"),
         "marker_node": (MarkerNode, "/vehicle")}  # fmt: skip
KINDS = {("topics", "publish"): "get_publisher_names_and_types_by_node",
         ("topics", "subscribe"): "get_subscriber_names_and_types_by_node",
         ("services", "reply"): "get_service_names_and_types_by_node",
         ("services", "request"): "get_client_names_and_types_by_node"}  # fmt: skip
Names = dict[tuple[str, str], set[str]]


def allowed(name: str) -> Names:
    """What the policy of a node allows, by kind, as full names."""
    tree = ElementTree.parse(ROOT / "config" / "security" / f"{name}.policy.xml").getroot()
    profile = tree.find("enclaves/enclave/profiles/profile")
    assert profile is not None and profile.get("node") == name
    namespace = profile.get("ns")
    found: Names = {kind: set() for kind in KINDS}
    for group in profile:
        for verb, right in group.attrib.items():
            assert right == "ALLOW"
            for item in group:
                text = (item.text or "").replace("~", f"{namespace}/{name}")
                found[group.tag, verb].add(text if text.startswith("/") else f"{namespace}/{text}")
    return found


def used(graph: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> Names:
    """What a node uses: simulated detector or network, either kind of images, sim time, sharing what it sees."""
    node_class, namespace = NODES[name]
    ways: list[dict[str, Any]] = [{"use_sim_time": True}]
    if name != "marker_node":
        role = "coop" if name == "vehicle_node" else "inf"
        monkeypatch.setattr(
            "cooptrack_ros.agent_node.network_of",
            lambda config: FakeNetwork(role) if config.detector == "network" else None,
        )
        mode = {"mode": "learned"} if name == "vehicle_node" else {}
        network = {**PARAMETERS, "detector": "network", **mode}
        ways = [{**PARAMETERS, "use_sim_time": True, "mode": "late"}, network, {**network, "image_transport": "raw"}]
        ways.append({**ways[0], "publish_instances": True})
        if name == "roadside_node":
            ways = [{k: v for k, v in way.items() if k not in ("mode", "publish_instances")} for way in ways]
    # A place of its own for each, as the graph tells nodes apart by their names.
    start = graph.add if name == "marker_node" else graph.start
    nodes = {
        place: start(node_class, place, way) for number, way in enumerate(ways) if (place := f"{namespace}_{number}")
    }
    found: Names = {kind: set() for kind in KINDS}

    def complete() -> bool:
        for place, node in nodes.items():
            for kind, method in KINDS.items():
                found[kind] |= {topic.replace(place, namespace, 1) for topic, _ in getattr(node, method)(name, place)}
        return all(found[kind] >= names for kind, names in allowed(name).items())

    # The graph learns of a node's own topics some time after they are made; of one that is not allowed as well.
    at_least = time.monotonic() + 1.0
    graph.try_wait_for(lambda: complete() and time.monotonic() > at_least, WAIT_S)
    return found


@pytest.mark.parametrize("name", sorted(NODES))
def test_a_policy_names_exactly_what_its_node_uses(graph: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert used(graph, name, monkeypatch) == allowed(name)


@pytest.mark.parametrize("name", sorted(NODES))
def test_a_policy_is_that_of_the_enclave_that_the_launch_files_name(name: str) -> None:
    tree = ElementTree.parse(ROOT / "config" / "security" / f"{name}.policy.xml").getroot()
    enclave = tree.find("enclaves/enclave")
    assert tree.tag == "policy" and tree.get("version") == "0.2.0"
    assert enclave is not None and enclave.get("path") == f"{NODES[name][1]}/{name}"
    assert not [item.text for item in tree.iter() if item.text and "*" in item.text]  # nothing is open


@pytest.mark.parametrize("node", sorted(NODES))
def test_with_security_on_and_without_keys_a_node_ends_in_one_line_instead_of_running_open(
    node: str, tmp_path: Path
) -> None:
    (tmp_path / "enclaves").mkdir()
    secured = {"ENABLE": "true", "STRATEGY": "Enforce", "KEYSTORE": str(tmp_path)}
    environment = {**os.environ, **{f"ROS_SECURITY_{name}": value for name, value in secured.items()}}
    command = [sys.executable, "-m", f"cooptrack_ros.{node}", "--ros-args", "-r", "__ns:=/a", "--enclave", f"/a/{node}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and len(lines) == 1 and "Traceback" not in done.stderr
    assert "security" in lines[0].lower() or str(tmp_path) in lines[0]
