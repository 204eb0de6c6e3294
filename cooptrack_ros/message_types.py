"""Definitions of all message types installed on this machine, for writing bags."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from ament_index_python.resources import get_resources
from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore

from cooptrack_core.data.message_definitions import new_typestore


def complete_store() -> Typestore:
    """The types of the core's store and of every other interface package in the ament index."""
    store = new_typestore()
    known = {name.split("/")[0] for name in store.fielddefs}
    for package in get_resources("rosidl_interfaces"):
        if package in known:
            continue
        for path in sorted((Path(get_package_share_directory(package)) / "msg").glob("*.msg")):
            name = f"{package}/msg/{path.stem}"
            store.register(get_types_from_msg(path.read_text(encoding="utf-8"), name))
    return store
