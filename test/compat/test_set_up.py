"""Setting up: what is missing is found and named, stand-ins step back for the real thing, work is done once."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import environment
import free_domain
import pytest
import pytorch_source
import steps
import system_check

ROOT = Path(__file__).resolve().parents[2]


def _of_scripts(name: str) -> ModuleType:
    """The root has a setup.py as well."""
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


set_up = _of_scripts("setup")


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in front of everything on the module path."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_folder_without_code_is_not_taken_for_the_package(on_path: Path) -> None:
    (on_path / "launch_like").mkdir()
    importlib.invalidate_caches()
    assert importlib.util.find_spec("launch_like") is not None  # a namespace package, like launch/ of this repository
    assert not environment.installed("launch_like")
    assert not environment.installed("no_such_package_at_all")


def test_real_package_is_preferred(on_path: Path) -> None:
    (on_path / "launch_like").mkdir()
    (on_path / "launch_like" / "__init__.py").touch()
    importlib.invalidate_caches()
    assert environment.installed("launch_like")
    assert environment.missing(("launch_like", "no_such_package_at_all")) == ["no_such_package_at_all"]


def test_stand_in_is_not_taken_for_the_real_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "compat" / "cv_bridge"))
    sys.modules.pop("cv_bridge", None)
    importlib.invalidate_caches()
    assert not environment.installed("cv_bridge")


def test_sourcing_twice_adds_nothing(tmp_path: Path) -> None:
    script = """
        . scripts/env.sh; first=$PATH:$PYTHONPATH:$LD_LIBRARY_PATH
        . scripts/env.sh; [ "$first" = "$PATH:$PYTHONPATH:$LD_LIBRARY_PATH" ] || exit 3
        python -c "import cooptrack_msgs.msg, tf2_ros"
    """
    bare = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    if "ROS_DISTRO" in os.environ:  # a sourced ROS 2 has to stay sourced
        bare = dict(os.environ)
    for shell in ("bash", "sh"):
        done = subprocess.run([shell, "-c", script], cwd=ROOT, env=bare, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_environment_of_an_unbuilt_checkout_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "env.sh", tmp_path / "scripts")
    script = ". scripts/env.sh || echo stopped"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "make build" in done.stderr and "stopped" in done.stdout


def test_everything_missing_is_named_with_one_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for check in ("has_compiler", "has_headers", "has_venv", "has_egl"):
        monkeypatch.setattr(system_check, check, lambda: False)
    text = system_check.describe(system_check.required(venv=True))
    assert text.count("apt-get install") == 1 and text.count("missing:") == 3
    assert text.endswith(f"{system_check._python_package('venv')}") and "g++" in text
    assert "libegl1" not in text  # there is a fallback for that
    assert "libegl1" in system_check.describe(system_check.optional())


def test_complete_machine_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for check in ("has_compiler", "has_headers", "has_venv", "has_egl"):
        monkeypatch.setattr(system_check, check, lambda: True)
    assert system_check.required(venv=True) == [] and system_check.optional() == []


def test_interpreter_outside_the_range_is_refused(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "dirname", "cat"):
        (tools / tool).symlink_to(shutil.which(tool))
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # what the range check of any other version answers
    old.chmod(0o755)
    (tmp_path / "scripts").mkdir()
    for name in ("setup.sh", "find_python.sh"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
    done = subprocess.run(
        [str(tools / "sh"), "scripts/setup.sh"], cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no Python 3.10" in done.stderr and "apt-get install -y python3 python3-venv" in done.stderr


def test_old_ros_is_refused_with_the_way_round_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "humble")
    monkeypatch.setattr(set_up.shutil, "which", lambda name: "/bin/true")  # its rclpy can be imported
    with pytest.raises(set_up.SetupError, match=r"Jazzy or newer.*env -u ROS_DISTRO"):
        set_up.sourced_distribution()


def test_failed_step_shows_the_end_of_its_log_and_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs" / "step.log"
    command = [sys.executable, "-c", "print('\\n'.join(map(str, range(100)))); print('boom'); raise SystemExit(7)"]
    with pytest.raises(steps.StepFailed, match=r"(?s)exit code 7.*step\.log.*try that"):
        steps.run("a step", command, log, remedy="try that", environment=os.environ)
    shown = capsys.readouterr().err
    assert "boom" in shown and "\n99\n" in shown and "\n10\n" not in shown


def test_changed_message_is_noticed_and_changed_code_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CMakeLists.txt", "package.xml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "cooptrack_msgs", tmp_path / "cooptrack_msgs")
    (tmp_path / "cooptrack_core").mkdir()
    (tmp_path / "cooptrack_core" / "a.py").write_text("1")
    monkeypatch.setattr(set_up, "ROOT", tmp_path)
    inputs = [tmp_path / name for name in set_up.BUILD_INPUTS]

    before = set_up.digest(inputs), set_up.tree_names()
    (tmp_path / "cooptrack_core" / "a.py").write_text("2")  # linked: nothing to build
    assert (set_up.digest(inputs), set_up.tree_names()) == before
    (tmp_path / "cooptrack_core" / "b.py").write_text("")  # a new file has to be linked
    assert set_up.tree_names() != before[1]
    with (tmp_path / "cooptrack_msgs" / "msg" / "FrameInfo.msg").open("a") as message:
        message.write("uint8 more\n")
    assert set_up.digest(inputs) != before[0]


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("own_index", [False, True])
@pytest.mark.parametrize("index_answers", [False, True])
def test_pytorch_comes_as_cpu_build_only_where_that_is_wanted_and_reachable(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, own_index: bool, index_answers: bool
) -> None:
    monkeypatch.setattr(pytorch_source, "has_gpu", lambda: gpu)
    monkeypatch.setattr(pytorch_source, "has_own_index", lambda *_: own_index)
    monkeypatch.setattr(pytorch_source, "answers", lambda _: index_answers)
    source = pytorch_source.choose(["pip"], {})
    if index_answers and not gpu and not own_index:
        assert source.arguments == ("--extra-index-url", pytorch_source.CPU_INDEX) and "0.8 GB" in source.description
    else:
        assert source.arguments == () and "several GB" in source.description  # the user is told what may come


@pytest.mark.parametrize("option", ["INDEX_URL", "EXTRA_INDEX_URL", "NO_INDEX"])
def test_package_index_of_the_user_is_respected(tmp_path: Path, option: str) -> None:
    pip = [sys.executable, "-m", "pip"]
    bare = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull}
    assert not pytorch_source.has_own_index(pip, bare)
    assert not pytorch_source.has_own_index(pip, {**bare, "PIP_FIND_LINKS": "/wheels"})
    assert pytorch_source.has_own_index(pip, {**bare, f"PIP_{option}": "1"})
    (tmp_path / "pip.conf").write_text(f"[install]\n{option.lower().replace('_', '-')} = 1\n")
    assert pytorch_source.has_own_index(pip, {**bare, "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})


def test_server_that_never_answers_does_not_hold_up_the_set_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert not pytorch_source.answers(f"http://127.0.0.1:{silent.getsockname()[1]}/", within_s=0.2)
    assert not pytorch_source.answers("http://127.0.0.1:1/") and not pytorch_source.answers("no address")


def test_versions_of_pytorch_and_setuptools_are_fixed_beside_any_ros(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(set_up, "ROOT", tmp_path)
    lines = set_up.system_constraints().read_text().splitlines()
    assert [line.partition("=")[0] for line in lines if "=" in line and "<" not in line] == [
        "numpy", "safetensors", "torch",
    ]  # fmt: skip
    assert any(line.startswith("setuptools<80") for line in lines)


def test_domain_in_use_is_not_chosen() -> None:
    domain = free_domain.free_domain_id()
    assert 1 <= domain <= free_domain.LARGEST
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("", free_domain.ports(domain)[1]))
        assert not free_domain.is_free(domain)
    assert free_domain.is_free(domain)


def test_domain_of_a_running_node_is_seen_as_taken(ros_context: object) -> None:
    from rclpy.node import Node

    occupant = Node("occupant", context=ros_context)
    assert not free_domain.is_free(ros_context.get_domain_id())
    occupant.destroy_node()


def test_what_is_installed_by_itself_is_pinned_and_not_asked_for_elsewhere() -> None:
    alone = set_up.pinned_lines(set_up.WITHOUT_DEPENDENCIES)
    assert alone and all("==" in line and "#" not in line for line in alone)
    project = (ROOT / "pyproject.toml").read_text().split("[tool.")[0]
    for line in alone:  # as a dependency it would bring what it asks for
        assert f'"{line.partition("==")[0]}' not in project
