"""Which parts of ROS 2 this machine has, and the environment that makes the rest of the suite find them.

Run with the interpreter of the environment. Writes build/environment.sh, which scripts/env.sh sources.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INTERFACE_STAND_INS = ("tf2_msgs", "vision_msgs")
PYTHON_STAND_INS = ("cv_bridge", "launch", "launch_ros", "message_filters", "tf2_ros")

HELPERS = """\
# Written by scripts/setup.py; do not edit.
_cooptrack_prepend() {  # variable directory: put it first, once
  eval "_cooptrack_value=\\${$1:-}"
  case ":$_cooptrack_value:" in
    *":$2:"*) ;;
    *) eval "export $1=\\"\\$2\\${_cooptrack_value:+:\\$_cooptrack_value}\\"" ;;
  esac
}
"""


def installed(name: str) -> bool:
    """Whether the real package `name` can be imported.

    A folder of that name on the path, such as launch/ of this repository, is a namespace package
    (its spec has no origin), and what lies in compat/ is not the real one.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return False
    origin = Path(spec.origin).resolve()
    return not any(origin.is_relative_to(ROOT / place) for place in ("compat", "install", "build"))


def missing(names: tuple[str, ...]) -> list[str]:
    """Those of `names` for which this machine has no real package."""
    return [name for name in names if not installed(name)]


def has_ros2_command() -> bool:
    """Whether a real `ros2` is on the path."""
    command = shutil.which("ros2")
    return command is not None and not Path(command).resolve().is_relative_to(ROOT / "compat")


def wheel_library_dirs(prefix: Path) -> list[Path]:
    """Directories with shared libraries of ROS wheels in the environment `prefix`."""
    return [prefix / "lib", *sorted(prefix.glob("lib/python3*/site-packages/ros_*.libs"))]


def environment_script(prefix: Path, from_wheels: bool) -> str:
    """Text of build/environment.sh for the virtual environment `prefix`."""

    def prepend(variable: str, path: Path) -> str:
        return f"_cooptrack_prepend {variable} {shlex.quote(str(path))}"

    lines = [HELPERS, f"export VIRTUAL_ENV={shlex.quote(str(prefix))}", "unset PYTHONHOME"]
    if from_wheels:
        lines += [prepend("LD_LIBRARY_PATH", path) for path in reversed(wheel_library_dirs(prefix))]
        lines += [prepend("AMENT_PREFIX_PATH", prefix), prepend("CMAKE_PREFIX_PATH", prefix)]
        lines.append("export RMW_IMPLEMENTATION=rmw_fastrtps_cpp")
    else:
        distribution = os.environ["ROS_DISTRO"]
        lines.append(
            f'[ "${{ROS_DISTRO:-}}" = {shlex.quote(distribution)} ] || echo "scripts/env.sh: built with ROS 2 '
            f'{distribution}, which is not sourced; source it, or run make clean" >&2'
        )
    lines.append(prepend("PATH", prefix / "bin"))
    install = ROOT / "install"
    lines += [
        f"export COLCON_CURRENT_PREFIX={shlex.quote(str(install))}",
        f". {shlex.quote(str(install / 'local_setup.sh'))}",
        "unset COLCON_CURRENT_PREFIX",
    ]
    lines += [prepend("PYTHONPATH", ROOT / "compat" / name) for name in missing(PYTHON_STAND_INS)]
    if not has_ros2_command():
        lines.append(prepend("PATH", ROOT / "compat" / "ros2cli" / "bin"))
    lines.append("unset -f _cooptrack_prepend")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write build/environment.sh for the running interpreter; `--wheels` if its ROS came from wheels.

    With `--interface-stand-ins` print which of compat's interface packages have to be built instead.
    """
    if "--interface-stand-ins" in sys.argv[1:]:
        print(*missing(INTERFACE_STAND_INS))
        return
    text = environment_script(Path(sys.prefix), "--wheels" in sys.argv[1:])
    path = ROOT / "build" / "environment.sh"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main()
