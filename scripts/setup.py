"""Set up this checkout: check the machine, make .venv, install, build. Does only what is not done yet.

ROS 2 is the one that is sourced (then .venv sees its packages too), else ROS 2 Kilted from wheels.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

import pytorch_source
import steps
import system_check

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOGS = ROOT / "log" / "setup"
INSTALL_STAMP = VENV / "cooptrack_install.json"
BUILD_STAMP = ROOT / "build" / "cooptrack_build.json"
REQUIREMENTS = ("compat/requirements-ros.txt", "scripts/constraints.txt", "pyproject.toml", "setup.py")
BUILD_INPUTS = (
    "CMakeLists.txt", "package.xml", "cmake", "cooptrack_msgs", "compat/tf2_msgs", "compat/vision_msgs",
    "cooptrack_ros/setup.cfg", "scripts/cooptrack", "scripts/environment.py",
)  # fmt: skip
INSTALLED_TREES = ("cooptrack_core", "cooptrack_ros", "config", "launch", "rviz")
CONSTRAINTS = ROOT / "scripts" / "constraints.txt"
PINNED_BESIDE_ROS = ("safetensors==", "setuptools<", "torch==")
# What asks for packages that cooptrack has in another form: scripts/constraints.txt says why.
WITHOUT_DEPENDENCIES = ("trackeval==",)
SIZE_OF_THE_REST = "about 1.1 GB on disk"
TOO_OLD = ("ardent", "bouncy", "crystal", "dashing", "eloquent", "foxy", "galactic", "humble", "iron")
# What another workspace or environment has set must not reach an environment made of wheels.
FOREIGN = (
    "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
)  # fmt: skip


class SetupError(Exception):
    """The set-up cannot go on; the message says what to do."""


def sourced_distribution() -> str | None:
    """Name of the ROS 2 distribution that is sourced and usable with this interpreter, if any."""
    name = os.environ.get("ROS_DISTRO")
    if not name:
        return None
    python = shutil.which("python3") or sys.executable
    if subprocess.run([python, "-c", "import rclpy"], capture_output=True, check=False).returncode != 0:
        print(f"  ROS_DISTRO is {name}, but its rclpy cannot be imported: ROS 2 Kilted from wheels is used instead")
        return None
    if name in TOO_OLD:
        raise SetupError(
            f"ROS 2 {name} is sourced; cooptrack needs Jazzy or newer. Run this where it is not sourced "
            "(env -u ROS_DISTRO make ...), then ROS 2 Kilted comes from wheels"
        )
    return name


def digest(paths: Iterable[Path]) -> str:
    """Hash of the names and contents of files, directories included."""
    hashed = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            hashed.update(f"{file.relative_to(ROOT)}\0".encode())
            hashed.update(file.read_bytes() if file.exists() else b"")
    return hashed.hexdigest()


def tree_names() -> str:
    """Hash of which files will be installed; they are linked, so that their contents do not matter."""
    names = [
        str(path.relative_to(ROOT))
        for tree in INSTALLED_TREES
        for path in sorted((ROOT / tree).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def is_current(stamp: Path, state: dict[str, str]) -> bool:
    """Whether `stamp` was written for this state."""
    try:
        return bool(json.loads(stamp.read_text()) == state)
    except (OSError, json.JSONDecodeError):
        return False


def changed(stamp: Path, place: dict[str, str]) -> bool:
    """Whether what `stamp` was written for is now in another place, or made with something else."""
    previous = json.loads(stamp.read_text()) if stamp.exists() else {}
    return any(previous.get(name, value) != value for name, value in place.items())


def base_environment(distribution: str | None) -> dict[str, str]:
    """Environment for pip and colcon."""
    environment = dict(os.environ)
    if distribution is None:
        environment = {name: value for name, value in environment.items() if name not in FOREIGN}
        environment["AMENT_PREFIX_PATH"] = environment["CMAKE_PREFIX_PATH"] = str(VENV)
    environment["PATH"] = f"{VENV / 'bin'}:{environment['PATH']}"
    environment["VIRTUAL_ENV"] = str(VENV)
    return environment


def check_machine(*, venv: bool) -> None:
    """Say what is missing, before anything takes time."""
    lacks = system_check.required(venv=venv)
    if lacks:
        raise SetupError("this machine lacks what pip cannot bring:\n" + system_check.describe(lacks))
    if venv and (fallbacks := system_check.optional()):
        print("  optional:\n" + system_check.describe(fallbacks))


def make_venv(distribution: str | None) -> None:
    """A fresh .venv of this interpreter."""
    if VENV.exists():
        shutil.rmtree(VENV)
    python = sys.executable if distribution is None else shutil.which("python3") or sys.executable
    options = [] if distribution is None else ["--system-site-packages"]
    steps.run(
        f"making .venv with {python}",
        [python, "-m", "venv", *options, str(VENV)],
        LOGS / "venv.log",
        remedy="is there room on the disk?",
        environment={name: value for name, value in os.environ.items() if name != "PYTHONHOME"},
    )


def install(distribution: str | None) -> None:
    """Python packages into .venv, and the wheels of ROS 2 mended."""
    environment = base_environment(distribution)
    pip = [str(PYTHON), "-m", "pip"]
    pytorch = pytorch_source.choose(pip, environment)
    arguments = ["-e", ".[eval,network,onnx,synth,video,dev]", *pytorch.arguments]
    if distribution is None:
        arguments += ["-r", "compat/requirements-ros.txt", "-c", "scripts/constraints.txt"]
        title = f"installing into .venv: ROS 2 Kilted and Python packages, {SIZE_OF_THE_REST}; {pytorch.description}"
    else:
        arguments += ["colcon-common-extensions", "-c", str(system_constraints())]
        title = f"installing into .venv: Python packages beside ROS 2 {distribution}; {pytorch.description}"
    if not system_check.has_cmake(environment["PATH"]):
        arguments += ["cmake>=3.22,<4"]
    steps.run(
        title,
        [*pip, "install", "--disable-pip-version-check", *arguments],
        LOGS / "pip.log",
        remedy="is the package index reachable (network, proxy)? `make clean` starts anew",
        environment=environment,
    )
    alone = pinned_lines(WITHOUT_DEPENDENCIES)
    steps.run(
        f"installing into .venv, without what they ask for: {', '.join(alone)}",
        [*pip, "install", "--disable-pip-version-check", "--no-deps", *alone],
        LOGS / "pip_no_deps.log",
        remedy="is the package index reachable (network, proxy)? `make clean` starts anew",
        environment=environment,
    )
    if distribution is None:
        subprocess.run([str(PYTHON), "scripts/ros_prefix.py"], cwd=ROOT, env=environment, check=True)


def system_constraints() -> Path:
    """Constraints beside a sourced ROS 2: the numpy it was built with, and what keeps PyTorch in its place."""
    path = ROOT / "build" / "system_constraints.txt"
    path.parent.mkdir(exist_ok=True)
    code = "import numpy; print(f'numpy=={numpy.__version__}')"
    python = shutil.which("python3") or sys.executable
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    path.write_text("\n".join([*found.stdout.splitlines(), *pinned_lines(PINNED_BESIDE_ROS), ""]))
    return path


def pinned_lines(names: tuple[str, ...]) -> list[str]:
    """The requirements in constraints.txt that start so, without comments."""
    lines = CONSTRAINTS.read_text().splitlines()
    return [line.partition("#")[0].strip() for line in lines if line.startswith(names)]


def build(distribution: str | None, *, afresh: bool) -> None:
    """colcon build of the root package and of the interface packages that are not there."""
    for name in ("build", "install") if afresh else ():  # CMake's cache holds the paths of another place or Python
        shutil.rmtree(ROOT / name, ignore_errors=True)
    environment = base_environment(distribution)
    query = [str(PYTHON), "scripts/environment.py", "--interface-stand-ins"]
    stand_ins = subprocess.run(query, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found = shutil.which("colcon", path=environment["PATH"])
    # A colcon among the modules of ROS has not left its script in .venv.
    colcon = (
        [found] if found else [str(PYTHON), "-c", "import sys; from colcon_core.command import main; sys.exit(main())"]
    )
    command = [
        *colcon, "--log-base", "log", "build", "--symlink-install",
        "--base-paths", ".", *(f"compat/{name}" for name in stand_ins.stdout.split()),
        "--event-handlers", "console_direct+",
        "--cmake-args", "-DBUILD_TESTING=OFF", "-DCMAKE_BUILD_TYPE=Release", "--no-warn-unused-cli",
        f"-DPython3_EXECUTABLE={PYTHON}", "-DPython3_FIND_VIRTUALENV=FIRST",
    ]  # fmt: skip
    steps.run(
        "building with colcon",
        command,
        LOGS / "colcon.log",
        remedy="the first error above says what; `make clean` starts anew",
        environment=environment,
    )
    arguments = [] if distribution else ["--wheels"]
    subprocess.run([str(PYTHON), "scripts/environment.py", *arguments], cwd=ROOT, env=environment, check=True)


@contextmanager
def only_one():
    """Another set-up of this checkout is waited for."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("  another set-up is running here: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up() -> None:
    """All that is not done yet."""
    distribution = sourced_distribution()
    place = {"root": str(ROOT), "ros": distribution or "wheels"}
    requirements = {**place, "files": digest(ROOT / name for name in REQUIREMENTS)}
    if not is_current(INSTALL_STAMP, requirements):
        print(f"Setting up with ROS 2 {distribution or 'Kilted from wheels'}")
        runs = PYTHON.exists() and subprocess.run([str(PYTHON), "-m", "pip", "-V"], capture_output=True).returncode == 0
        afresh = not runs or changed(INSTALL_STAMP, place)
        check_machine(venv=afresh)
        if afresh:
            make_venv(distribution)
        install(distribution)
        INSTALL_STAMP.write_text(json.dumps(requirements))

    place["python"] = str(PYTHON.resolve())
    state = {**place, "inputs": digest(ROOT / name for name in BUILD_INPUTS), "trees": tree_names()}
    if not is_current(BUILD_STAMP, state) or not (ROOT / "build" / "environment.sh").exists():
        check_machine(venv=False)
        build(distribution, afresh=changed(BUILD_STAMP, place))
        BUILD_STAMP.write_text(json.dumps(state))


def main() -> int:
    """0, or 1 with the reason on stderr."""
    os.chdir(ROOT)
    try:
        with only_one():
            set_up()
    except (SetupError, steps.StepFailed) as error:
        print(f"cooptrack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cooptrack: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
