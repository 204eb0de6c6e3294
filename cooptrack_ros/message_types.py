"""Definitions of message types installed on this machine, for writing bags."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from ament_index_python.resources import get_resources
from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore


def add_installed_types(store: Typestore) -> None:
    """Adds the messages of every interface package in the ament index whose package the store does not know."""
    known = {name.split("/")[0] for name in store.fielddefs}
    for package in set(get_resources("rosidl_interfaces")) - known:
        for path in sorted((Path(get_package_share_directory(package)) / "msg").glob("*.msg")):
            store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"{package}/msg/{path.stem}"))
