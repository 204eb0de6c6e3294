"""Message definitions for reading and writing bags without ROS: rosbags' Kilted types, vision_msgs and ours.

The .msg files are the single source of field lines; they are looked for in the installed package, then in
the repository, then in the share folders of AMENT_PREFIX_PATH. RIHS01 hashes are computed from them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from cooptrack_core.types import CooptrackError

PACKAGES = ("vision_msgs", "cooptrack_msgs")
_CORE = Path(__file__).resolve().parent.parent


def _folders(package: str) -> Iterator[Path]:
    yield _CORE / "message_definitions" / package
    yield _CORE.parent / package / "msg"
    yield _CORE.parent / "compat" / package / "msg"
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / "share" / package / "msg"


def definition_files(package: str) -> list[Path]:
    """The .msg files of a package, from the first place that has them."""
    for folder in _folders(package):
        if files := sorted(folder.glob("*.msg")):
            return files
    raise CooptrackError(
        f"{package}: message definitions: not found; install cooptrack with pip, run from the repository, "
        "or source the workspace that holds them"
    )


@functools.cache
def typestore() -> Typestore:
    """All types that our bags use. Shared: copy it before registering anything else."""
    return new_typestore()


def new_typestore() -> Typestore:
    """A store of one's own, to which the types of a foreign bag may be added."""
    store = get_typestore(Stores.ROS2_KILTED)
    types = {}
    for package in PACKAGES:
        for path in definition_files(package):
            types.update(get_types_from_msg(path.read_text(encoding="utf-8"), f"{package}/msg/{path.stem}"))
    store.register(types)
    return store


__all__ = ["PACKAGES", "definition_files", "new_typestore", "typestore"]
