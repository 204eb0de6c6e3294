"""Make an installed set of ROS wheels usable for building: mend what their build container left behind.

Run with the interpreter of the environment that holds the wheels. Does nothing the second time.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

PYTHON_EXPORTS = "share/*/cmake/*__rosidl_generator_pyExport.cmake"
FASTDDS_TARGETS = "share/fastdds/cmake/fastdds-shared-targets.cmake"


def rewrite(path: Path, text: str) -> bool:
    """Write `text` to `path` if that changes it."""
    if path.read_text() == text:
        return False
    path.write_text(text)
    return True


def mend(prefix: Path) -> int:
    """Replace the absolute paths that the wheels export; returns how many files changed."""
    import numpy

    include = f"{sysconfig.get_path('include')};{numpy.get_include()}"
    changed = 0
    for path in prefix.glob(PYTHON_EXPORTS):
        text = re.sub(
            r'INTERFACE_INCLUDE_DIRECTORIES "[^"]*"',
            lambda _: f'INTERFACE_INCLUDE_DIRECTORIES "{include}"',
            path.read_text(),
        )
        changed += rewrite(path, text)
    targets = prefix / FASTDDS_TARGETS
    if targets.exists():
        changed += rewrite(targets, targets.read_text().replace(";/usr/lib64/libtinyxml2.so", ""))
    return changed


if __name__ == "__main__":
    print(f"ROS wheels in {sys.prefix}: {mend(Path(sys.prefix))} files mended")
