"""Interface packages that are not the original speak the original's language: the same type hashes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory

# Hashes of the original packages.
HASHES = {
    "vision_msgs/msg/Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "vision_msgs/msg/Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "vision_msgs/msg/ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "vision_msgs/msg/ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "vision_msgs/msg/BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "tf2_msgs/msg/TF2Error": "db2485e7d6a0ec75bf087e058ee45df682acc3a621ca7780503d10aac141809a",
}


@pytest.mark.parametrize("name", HASHES)
def test_type_hash_is_the_originals(name: str) -> None:
    package, _, message = name.split("/")
    path = Path(get_package_share_directory(package)) / "msg" / f"{message}.json"
    hashes = {entry["type_name"]: entry["hash_string"] for entry in json.loads(path.read_text())["type_hashes"]}
    assert hashes[name] == f"RIHS01_{HASHES[name]}"


@pytest.mark.parametrize("name", sorted(HASHES.keys() - {"tf2_msgs/msg/TF2Error"}))  # that one is never in a bag
def test_bags_written_without_ros_carry_the_same_hash(name: str) -> None:
    from cooptrack_core.data.message_definitions import typestore

    assert typestore().hash_rihs01(name) == f"RIHS01_{HASHES[name]}"


def test_our_own_messages_have_one_hash_in_bags_and_on_the_wire() -> None:
    from cooptrack_core.data.message_definitions import typestore

    folder = Path(get_package_share_directory("cooptrack_msgs")) / "msg"
    files = sorted(folder.glob("*.json"))
    assert len(files) == 6
    for path in files:
        name = f"cooptrack_msgs/msg/{path.stem}"
        hashes = {entry["type_name"]: entry["hash_string"] for entry in json.loads(path.read_text())["type_hashes"]}
        assert typestore().hash_rihs01(name) == hashes[name]
