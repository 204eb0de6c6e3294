"""Runs `ros2 launch` in a process of its own, with executables that only say what they were started with."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXECUTABLES = ("impairment_node", "marker_node", "recorder_node", "replay_node", "roadside_node", "vehicle_node")
LIMIT_S = 60

# Says its arguments, parameters and DDS profile; replay_node ends by itself, the others when they are asked to.
STUB = """#!/bin/sh
trap 'echo "${0##*/} finalised"; exit 0' INT
name=${0##*/}
echo "$name arguments: $*"
for argument in "$@"; do
  case "$previous" in --params-file) sed "s|^|$name parameters: |" "$argument" ;; esac
  previous=$argument
done
security="${ROS_SECURITY_ENABLE:-off} ${ROS_SECURITY_STRATEGY:-} ${ROS_SECURITY_KEYSTORE:-}"
echo "$name security: $security"
echo "$name profile: ${FASTDDS_DEFAULT_PROFILES_FILE:-none}"
if [ "$name" = replay_node ] && [ -z "${REPLAY_WAITS:-}" ]; then
  if [ -n "${REPLAY_CODE:-}" ]; then sleep 1; fi  # until the others are there
  exit "${REPLAY_CODE:-0}"
fi
if [ "$name" = "${DYING:-}" ] && [ ! -e "$DEATH_CERTIFICATE" ]; then
  touch "$DEATH_CERTIFICATE"; exit "${DYING_CODE:-3}"
fi
while :; do sleep 0.05; done
"""


def stub_package(folder: Path) -> Path:
    """A prefix with a package cooptrack_ros that has our launch files and parameters, and stubs for nodes."""
    share = folder / "share" / "cooptrack_ros"
    for name in ("launch", "config"):
        (share / name).mkdir(parents=True)
        for path in (ROOT / name).iterdir():
            (share / name / path.name).symlink_to(path)
    marker = folder / "share" / "ament_index" / "resource_index" / "packages" / "cooptrack_ros"
    marker.parent.mkdir(parents=True)
    marker.touch()
    libexec = folder / "lib" / "cooptrack_ros"
    libexec.mkdir(parents=True)
    for name in EXECUTABLES:
        (libexec / name).write_text(STUB)
        (libexec / name).chmod(0o755)
    return folder


def environment(prefix: Path | None = None, **changes: str) -> dict[str, str]:
    """Environment for a launch, without a DDS profile from outside."""
    clean = {name: value for name, value in os.environ.items() if "DEFAULT_PROFILES_FILE" not in name}
    if prefix is not None:
        clean["AMENT_PREFIX_PATH"] = str(prefix)  # nothing else: what is installed here makes no difference
    return {**clean, **changes}


class Launched:
    """A running `ros2 launch`; its output goes to a file, so that it can be looked at while it runs."""

    def __init__(self, log: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                ["ros2", "launch", "--noninteractive", *arguments],
                env=environment() if env is None else dict(env),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        """Output so far."""
        return self.log.read_text()

    def wait_for(self, text: str, count: int = 1) -> None:
        """Until `text` has been said `count` times."""
        deadline = time.monotonic() + LIMIT_S
        while self.text.count(text) < count:
            assert time.monotonic() < deadline and self.process.poll() is None, f"{text!r} did not come:\n{self.text}"
            time.sleep(0.02)

    def interrupt(self) -> None:
        """As ctrl-c."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Exit code."""
        try:
            return self.process.wait(LIMIT_S)
        finally:
            self.process.kill()
