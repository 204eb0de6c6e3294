"""The RViz configuration names what the nodes publish, with classes that RViz has."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cooptrack_ros.markers import ASSOCIATION_KINDS, GROUND_TRUTH, TRACK_KINDS

FILE = Path(__file__).resolve().parent.parent.parent / "rviz" / "cooperative.rviz"
KNOWN_CLASSES = {
    *(f"rviz_common/{name}" for name in ("Displays", "Selection", "Time", "Tool Properties", "Views")),
    *(f"rviz_default_plugins/{name}" for name in ("Grid", "Image", "MarkerArray", "TF")),
    *(f"rviz_default_plugins/{name}" for name in ("FocusCamera", "Interact", "Measure", "MoveCamera", "Select")),
    *(f"rviz_default_plugins/{name}" for name in ("ThirdPersonFollower", "TopDownOrtho")),
}


@pytest.fixture(scope="module")
def config():
    return yaml.safe_load(FILE.read_text())


def classes(tree):
    if isinstance(tree, dict):
        found = {tree["Class"]} if tree.get("Class") else set()
        return found.union(*(classes(value) for value in tree.values()))
    return set().union(*(classes(item) for item in tree)) if isinstance(tree, list) else set()


def test_only_classes_of_a_plain_rviz_are_used(config):
    assert classes(config) <= KNOWN_CLASSES
    assert {panel["Class"] for panel in config["Panels"]} >= {"rviz_common/Time", "rviz_common/Tool Properties"}


def test_everything_is_drawn_in_the_map(config):
    manager = config["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "map"
    views = {view["Class"].split("/")[1] for view in manager["Views"]["Saved"]}
    assert views == {"ThirdPersonFollower", "TopDownOrtho"}


def test_every_display_has_a_name_of_its_own_and_a_topic_of_ours(config):
    displays = config["Visualization Manager"]["Displays"]
    names = [display["Name"] for display in displays]
    assert len(set(names)) == len(names) and all(display["Enabled"] for display in displays)
    topics = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    assert topics == {"/vehicle/markers", "/vehicle/image/compressed", "/rsu/image/compressed"}


def test_every_kind_of_marker_is_shown_by_exactly_one_display(config):
    every = {*TRACK_KINDS, *ASSOCIATION_KINDS, GROUND_TRUTH}
    markers = [d for d in config["Visualization Manager"]["Displays"] if d["Class"].endswith("MarkerArray")]
    assert all(set(display["Namespaces"]) == every for display in markers)
    assert all(sum(display["Namespaces"][kind] for display in markers) == 1 for kind in every)
