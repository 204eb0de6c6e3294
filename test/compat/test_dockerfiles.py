"""The Dockerfiles copy what is there and install what the manifests name, in the versions that are tested."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = {kind: ROOT / "docker" / f"Dockerfile.{kind}" for kind in ("cpu", "cuda")}
INDICES = {"cpu": "https://download.pytorch.org/whl/cpu", "cuda": "https://download.pytorch.org/whl/cu130"}
# Another would not load what ROS has compiled.
NUMPY_OF_THE_SYSTEM = "numpy==$(python3 -c 'import numpy; print(numpy.__version__)')"
# What pip's packages are called in package.xml.
SYSTEM_NAMES = {"opencv-python-headless": "python3-opencv", "pyyaml": "python3-yaml"}


def instructions(kind: str) -> list[tuple[str, str]]:
    """Name and rest of every instruction, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILES[kind].read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line]  # type: ignore[misc]


def all_of(kind: str, name: str) -> list[str]:
    return [rest for instruction, rest in instructions(kind) if instruction == name]


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path of the repository through: the last pattern that matches it decides."""
    found = True
    for pattern in (ROOT / ".dockerignore").read_text().split("\n"):
        plain = pattern.removeprefix("!").removeprefix("**/")
        parents = ["/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 2)]
        names = [Path(parent).name for parent in parents] if "**/" in pattern else parents
        if plain and not plain.startswith("#") and any(fnmatch.fnmatchcase(name, plain) for name in names):
            found = pattern.startswith("!")
    return found


def pip_installs(kind: str) -> dict[str, str]:
    """Version conditions of the packages that pip installs."""
    commands = [part for rest in all_of(kind, "RUN") for part in rest.split("&&") if "pip install" in part]
    words = [
        w for command in commands for w in shlex.split(command.partition("pip install")[2].partition("--index")[0])
    ]
    return {re.split(r"[=<>]", w)[0]: w for w in words if not w.startswith("-")}


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_what_is_copied_exists_and_is_in_the_context(kind: str) -> None:
    sources = [source for rest in all_of(kind, "COPY") for source in rest.split()[:-1]]
    assert sources == ["package.xml", "."]
    assert all((ROOT / source).exists() for source in sources) and in_context("package.xml")


def test_the_context_is_what_colcon_builds_and_nothing_else() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text()
    packages = re.findall(r"(?:ament_python_install_package|add_nested_package)\((\w+)", cmake)
    (programs,) = re.findall(r"install\(PROGRAMS (\S+) ", cmake)
    (folders,) = re.findall(r"install\(DIRECTORY ([\w ]+) DESTINATION", cmake)
    wanted = [*packages, programs, *folders.split(), "cmake", "CMakeLists.txt", "package.xml", "LICENSE"]
    assert {"cooptrack_core", "cooptrack_ros", "cooptrack_msgs", "launch"} < set(wanted)
    assert all(in_context(path) and (ROOT / path).exists() for path in wanted)
    assert in_context("cooptrack_core/weights/tiny_inf.safetensors")
    out = (".git", "test", "docs", "build", "install", ".venv", "scripts/setup.py", "cooptrack_ros/__pycache__/a.pyc")
    assert not any(in_context(path) for path in out)


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_pip_installs_the_versions_that_are_tested_and_torch_from_its_index(kind: str) -> None:
    lines = (ROOT / "scripts" / "constraints.txt").read_text().splitlines()
    tested = {line.split("#")[0].split(";")[0].strip() for line in lines}
    found = pip_installs(kind)
    assert found.pop("numpy") == NUMPY_OF_THE_SYSTEM
    assert set(found.values()) <= tested
    assert set(found) == {"setuptools", "rosbags", "safetensors", "onnx", "onnxruntime", "torch"}
    (run,) = [rest for rest in all_of(kind, "RUN") if "torch==" in rest]
    assert run.endswith(f"{found['torch']} --index-url {INDICES[kind]}")


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_everything_that_the_package_needs_comes_by_rosdep_or_pip(kind: str) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    lists = [
        re.findall(rf"^{key} = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)[0]
        for key in ("dependencies", "network", "onnx")
    ]
    needed = [re.split(r"[<>=]", item)[0] for text in lists for item in re.findall(r'"(.*?)"', text)]
    assert {"numpy", "torch", "onnxruntime"} <= set(needed)
    declared = set(re.findall(r"<exec_depend>(\S+)</exec_depend>", (ROOT / "package.xml").read_text()))
    by_rosdep = {name for name in needed if SYSTEM_NAMES.get(name, f"python3-{name}") in declared}
    assert set(needed) <= by_rosdep | set(pip_installs(kind))
    (rosdep,) = [rest for rest in all_of(kind, "RUN") if "rosdep install" in rest]
    assert all(f"-t {kind_of} " in rosdep for kind_of in ("buildtool", "build", "build_export", "exec"))


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_it_runs_as_a_user_in_the_environment_of_the_workspace(kind: str) -> None:
    names = [name for name, _ in instructions(kind)]
    assert all_of(kind, "USER") == ["cooptrack"] and names.index("USER") > max(
        number for number, name in enumerate(names) if name in ("RUN", "COPY")
    )
    (entry,) = re.findall(r'"/ws/src/cooptrack/(\S+)"', all_of(kind, "ENTRYPOINT")[0])
    assert in_context(entry) and os.access(ROOT / entry, os.X_OK)
    script = (ROOT / entry).read_text()
    assert ". /ws/install/setup.bash" in script and script.rstrip().endswith('exec "$@"')
    (launch,) = re.findall(r'"(\w+\.launch\.py)"', all_of(kind, "CMD")[0])
    assert (ROOT / "launch" / launch).exists()


def test_the_two_differ_in_the_index_of_torch_and_the_access_to_the_gpu_alone() -> None:
    cpu, cuda = ([f"{name} {rest}" for name, rest in instructions(kind)] for kind in ("cpu", "cuda"))
    gpu = [line for line in cuda if "NVIDIA" in line]
    assert gpu == ["ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility"]
    assert [line.replace(INDICES["cuda"], INDICES["cpu"]) for line in cuda if line not in gpu] == cpu


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_the_command_to_build_it_is_documented(kind: str) -> None:
    command = f"docker build -f docker/Dockerfile.{kind} -t cooptrack:{kind} ."
    assert command in DOCKERFILES[kind].read_text() and command in (ROOT / "docs" / "deployment.md").read_text()
