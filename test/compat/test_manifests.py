"""The manifests list what there is, and a slip in one of them is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import manifests
import pytest

ROOT = Path(__file__).resolve().parents[2]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the checks look at."""
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in ("cooptrack_ros", "cooptrack_msgs", "compat", "config", "launch", "rviz", "player"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    (tmp_path / "cooptrack_core").mkdir()
    for name in ("CMakeLists.txt", "package.xml", "pyproject.toml", "CHANGELOG.rst", "cooptrack_core/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_manifests_list_every_message_node_launch_file_and_dependency() -> None:
    assert manifests.defects(ROOT) == []


SLIPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "message not built": (
        lambda root: (root / "cooptrack_msgs/msg/New.msg").touch(),
        "messages differ from msg/: ['New.msg']",
    ),
    "node without executable": (
        lambda root: (root / "cooptrack_ros/extra_node.py").write_text("def main(): ...\n"),
        "console_scripts differ from the nodes: ['extra_node']",
    ),
    "executable of another module": (
        lambda root: replace(root / "cooptrack_ros/setup.cfg", "_ros.replay_node:main", "_ros.x:main"),
        "replay_node is cooptrack_ros.x:main",
    ),
    "node without parameters": (lambda root: (root / "config/marker_node.yaml").unlink(), "config/marker_node.yaml"),
    "node never started": (
        lambda root: replace(root / "launch/vehicle.launch.py", "vehicle_node", "car_node"),
        "nodes started differ from the executables",
    ),
    "folder not installed": (
        lambda root: replace(root / "CMakeLists.txt", "DIRECTORY launch", "DIRECTORY"),
        "launch/ is not installed",
    ),
    "dependency not declared": (
        lambda root: replace(root / "package.xml", "<exec_depend>tf2_ros</exec_depend>", ""),
        "<exec_depend>tf2_ros</exec_depend> is missing",
    ),
    "versions differ": (
        lambda root: replace(root / "cooptrack_msgs/package.xml", "<version>", "<version>9"),
        "versions differ",
    ),
    "manifest not valid": (
        lambda root: replace(root / "package.xml", "<description>", "<summary>"),
        "package.xml",
    ),
    "broken XML": (
        lambda root: replace(root / "config/fastdds_local.xml", "</dds>", ""),
        "config/fastdds_local.xml",
    ),
    "broken YAML": (
        lambda root: (root / "config/marker_node.yaml").write_text("/**: [\n"),
        "config/marker_node.yaml",
    ),
    "parameters without their level": (
        lambda root: replace(root / "config/marker_node.yaml", "ros__parameters", "parameters"),
        "not of the form",
    ),
    "profile with a dangling transport": (
        lambda root: replace(root / "config/fastdds_network.xml", "<transport_id>cooptrack_shm", "<transport_id>shm"),
        "transports described",
    ),
    "network profile bound to the loopback": (
        lambda root: shutil.copy(root / "config/fastdds_local.xml", root / "config/fastdds_network.xml"),
        "interfaceWhiteList belongs into the local profile only",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_slip_is_found(copy: Path, slip: str) -> None:
    make, says = SLIPS[slip]
    assert not [line for line in manifests.defects(copy) if "versions" not in line]
    make(copy)
    found = manifests.defects(copy)
    assert any(says in line for line in found), found
