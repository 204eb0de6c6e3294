"""The launch service: order, environment, escalation, and errors that leave nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from environment import PYTHON_STAND_INS
from launch_helpers import ROOT, Launched

HEAD = """
from launch import LaunchDescription
from launch.actions import (DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, LogInfo, OpaqueFunction,
    RegisterEventHandler, SetEnvironmentVariable, Shutdown, TimerAction)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

def process(script, **options):
    return ExecuteProcess(cmd=["sh", "-c", script], output="screen", **options)

def generate_launch_description():
    return LaunchDescription(actions())

"""


def launch(tmp_path: Path, actions: str, *arguments: str) -> Launched:
    file = tmp_path / "test.launch.py"
    file.write_text(HEAD + actions)
    return Launched(tmp_path / "log", str(file), *arguments)


def test_output_is_prefixed_with_name_and_number(tmp_path: Path) -> None:
    launched = launch(tmp_path, "def actions(): return [process('echo one'), process('echo two >&2')]")
    assert launched.end() == 0
    assert re.search(r"^\[sh-1\] one$", launched.text, re.MULTILINE)
    assert re.search(r"^\[sh-2\] two$", launched.text, re.MULTILINE)
    assert launched.text.count("process has finished cleanly") == 2


def test_argument_is_given_on_the_command_line_or_has_its_default(tmp_path: Path) -> None:
    actions = """
def actions():
    return [
        DeclareLaunchArgument("a", default_value="1", description="first"),
        DeclareLaunchArgument("b", default_value=[LaunchConfiguration("a"), "0"], description="second"),
        ExecuteProcess(cmd=["echo", LaunchConfiguration("a"), LaunchConfiguration("b")], output="screen"),
    ]
"""
    launched = launch(tmp_path, actions)
    assert launched.end() == 0 and "[echo-1] 1 10" in launched.text
    launched = launch(tmp_path, actions, "a:=7")
    assert launched.end() == 0 and "[echo-1] 7 70" in launched.text


def test_argument_without_default_is_required(tmp_path: Path) -> None:
    launched = launch(tmp_path, "def actions(): return [DeclareLaunchArgument('a'), process('echo never')]")
    assert launched.end() == 1
    assert '"a" was not provided' in launched.text and "never" not in launched.text.replace("echo never", "")


def test_environment_variable_holds_for_later_processes_only(tmp_path: Path) -> None:
    actions = """
def actions():
    return [
        process('echo before=$COLOUR'),
        SetEnvironmentVariable("COLOUR", "blue"),
        process('echo after=$COLOUR'),
    ]
"""
    launched = launch(tmp_path, actions)
    assert launched.end() == 0
    assert "before=\n" in launched.text and "after=blue" in launched.text
    assert "COLOUR" not in os.environ


def test_included_file_gets_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "inner.launch.py").write_text(
        HEAD
        + """
def actions():
    return [DeclareLaunchArgument("who", default_value="nobody"),
            ExecuteProcess(cmd=["echo", "hello", LaunchConfiguration("who")], output="screen")]
"""
    )
    actions = f"""
def actions():
    source = PythonLaunchDescriptionSource({str(tmp_path / "inner.launch.py")!r})
    return [IncludeLaunchDescription(source, launch_arguments=[("who", name)]) for name in ("anna", "bert")]
"""
    launched = launch(tmp_path, actions)
    assert launched.end() == 0
    assert "hello anna" in launched.text and "hello bert" in launched.text


def test_exit_of_one_process_can_end_the_others(tmp_path: Path) -> None:
    actions = """
def actions():
    first = process('sleep 1; echo working')
    end = [LogInfo(msg="first is done"), TimerAction(period=0.1, actions=[Shutdown(reason="all done")])]
    return [
        RegisterEventHandler(OnProcessExit(target_action=first, on_exit=end)),
        process("trap 'echo saved; exit 0' INT; while :; do sleep 0.05; done"),
        first,
    ]
"""
    launched = launch(tmp_path, actions)
    assert launched.end() == 0
    order = [launched.text.index(part) for part in ("working", "first is done", "sending signal 'SIGINT'", "saved")]
    assert order == sorted(order)


def test_stubborn_process_is_asked_more_and_more_firmly(tmp_path: Path) -> None:
    stubborn = 'trap "" INT TERM; echo ready; while :; do sleep 0.05; done'
    actions = f"""
def actions():
    return [process({stubborn!r}, sigterm_timeout="0.2", sigkill_timeout="0.2")]
"""
    launched = launch(tmp_path, actions)
    launched.wait_for("] ready")
    launched.interrupt()
    launched.end()
    order = [launched.text.index(f"sending signal '{name}'") for name in ("SIGINT", "SIGTERM", "SIGKILL")]
    assert order == sorted(order)
    assert launched.text.count("escalating to") == 2


def test_error_in_a_launch_file_ends_what_was_started_before_it(tmp_path: Path) -> None:
    actions = """
def fail(context):
    raise RuntimeError("no such thing")

def actions():
    return [process("trap 'echo ended; exit 0' INT; echo up; while :; do sleep 0.05; done"),
            TimerAction(period=1.5, actions=[OpaqueFunction(function=fail)])]
"""
    launched = launch(tmp_path, actions)
    assert launched.end() == 1
    assert re.search(r"\[ERROR\] \[launch\]: Caught exception in launch.*no such thing", launched.text)
    assert "ended" in launched.text and "Traceback" not in launched.text


def test_process_that_dies_is_reported_with_its_exit_code(tmp_path: Path) -> None:
    launched = launch(tmp_path, "def actions(): return [process('exit 4')]")
    launched.end()
    died = r"\[ERROR\] \[sh-1\]: process has died \[pid \d+, exit code 4, cmd 'sh -c exit 4'\]"
    assert re.search(died, launched.text)


def stand_in(*command: str) -> subprocess.CompletedProcess[str]:
    """A python with our stand-ins in front, wherever the real packages are."""
    folders = [str(ROOT / "compat" / name) for name in PYTHON_STAND_INS]
    path = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *command], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("module", "name", "package"),
    [
        ("launch", "LaunchIntrospector", "launch"),
        ("launch.actions", "GroupAction", "launch"),
        ("launch.events", "Shutdown", "launch"),
        ("launch.substitutions", "PythonExpression", "launch"),
        ("launch_ros.actions", "LifecycleNode", "launch_ros"),
        ("tf2_ros", "BufferClient", "tf2_ros_py"),
        ("cv_bridge", "cvtColor2", "cv_bridge"),
        ("message_filters", "ApproximateTimeSynchronizer", "message_filters"),
    ],
)
def test_what_a_stand_in_lacks_is_named_with_the_package_that_has_it(module: str, name: str, package: str) -> None:
    done = stand_in("-c", f"from {module} import {name}")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert name in last and "stand-in" in last and re.search(rf"package {package}\b", last)


@pytest.mark.parametrize("words", [["topic", "list"], ["bag", "play"], ["launch", "--launch-prefix", "gdb", "a", "b"]])
def test_ros2_command_that_is_not_offered_is_one_clear_line(words: list[str]) -> None:
    done = stand_in(str(ROOT / "compat" / "ros2cli" / "bin" / "ros2"), *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "not part of cooptrack's stand-in; install ROS 2" in done.stderr


def test_ros2_run_becomes_the_executable() -> None:
    done = stand_in(str(ROOT / "compat" / "ros2cli" / "bin" / "ros2"), "run", "cooptrack_ros", "no_such_node")
    assert done.returncode == 1 and "executable 'no_such_node' not found" in done.stderr
    done = stand_in(str(ROOT / "compat" / "ros2cli" / "bin" / "ros2"), "run", "no_such_package", "x")
    assert done.returncode == 1 and "no_such_package" in done.stderr
