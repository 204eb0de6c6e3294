"""The demo from the first wall to the last figure; each step can be run by hand with the command it prints."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from cooptrack_core.commands.network_options import network_configs
from cooptrack_core.config import LEARNED_MODES, UNTRAINED, NetworkConfig, default_mode
from cooptrack_core.report import write_report
from cooptrack_core.types import CooptrackError

_STEPS = 4
_RESULTS = ("summary.json", "recording.json", "player.html", "bev.mp4", "overview.png", "bev.png")
_START_ALLOWANCE_S = 90.0  # for starting five processes on a busy machine
_PER_SCENE_S = 20.0  # real time, with much to spare
_PER_SCENE_ON_CPU_S = 150.0  # the same for large networks on the CPU
_END_ALLOWANCE_S = 30.0  # for what was interrupted to end its own processes and files


class Demo:
    """One run of the demo with the options of `cooptrack demo`."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.out: Path = args.out
        self.pairs = 2 if args.scene == "multi" else 1
        self.scene = self.out / ("scene" if self.pairs == 1 else "scene_multi")
        self.bag, self.recorded = self.out / "bag", self.out / "recorded"
        self.mode: str = args.mode or default_mode(args.detector)
        self.network: NetworkConfig | None = None
        self.lockstep = bool(args.lockstep)
        self._on_cpu = False

    def run(self) -> int:
        """0 when every step succeeded; raises CooptrackError otherwise."""
        self._check()
        self._check_network()
        for number in (signal.SIGTERM, signal.SIGHUP):  # then, too, its processes have to end
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        started = time.monotonic()
        self.out.mkdir(parents=True, exist_ok=True)
        for name in _RESULTS:  # of an earlier run: a failed run must not look like a finished one
            (self.out / name).unlink(missing_ok=True)
        self._make_scene()
        self._make_bag()
        self._play()
        self._headline(4, "Result", "cooptrack report")
        self._report()
        print(f"\nDone in {time.monotonic() - started:.0f} s.")
        whose = "" if self.pairs == 1 else f" --vehicle {self._vehicles[0]}"
        command = f"cooptrack evaluate --bag {self.recorded} --source {self.bag}{whose}"
        print(f"Scores of what the nodes published: {command}")
        return 0

    @property
    def _vehicles(self) -> list[str]:
        return ["vehicle"] if self.pairs == 1 else [f"vehicle{k + 1}" for k in range(self.pairs)]

    def _report(self) -> None:
        """Of every vehicle; the film is that of the first."""
        extra = {"data": "synthetic", "seed": self.args.seed, "lockstep": self.lockstep}
        for k, vehicle in enumerate(self._vehicles):
            if self.pairs > 1:
                print(f"\n{vehicle}:")
            write_report(
                self.recorded, self.bag, self.out if k == 0 else self.out / vehicle, network=self.network, extra=extra,
                video=k == 0 and not self.args.no_video, vehicle=vehicle,
            )  # fmt: skip

    def _check(self) -> None:
        for option, value, possible, remedy in (
            ("--seed", self.args.seed, self.args.seed >= 0, "0 or more"),
            ("--rate", self.args.rate, 0 < self.args.rate < math.inf, "more than 0"),
            ("--duration-s", self.args.duration_s, 0 < self.args.duration_s < math.inf, "seconds, such as 10"),
        ):
            if not possible:
                raise CooptrackError(f"{option}: {value} is not possible; give {remedy}")

    def _check_network(self) -> None:
        """Looks for weights and device before anything is made, and decides about lock-step."""
        if self.args.detector != "network":
            if self.mode in LEARNED_MODES:
                raise CooptrackError(f"--mode: {self.mode} needs features; give --detector network too")
            return
        self.network, roadside = network_configs(self.args)
        self._on_cpu = find_network(self.network, roadside) == "cpu"
        if self.args.lockstep is None and self._on_cpu:
            self.lockstep = True
            print(
                "network on the CPU: lock-step, each frame waits for its result (--no-lockstep: at the camera's pace)"
            )
        if UNTRAINED in (self.network.weights, roadside.weights):
            print(
                f"network {self.network.preset}, untrained: random weights, so this shows that all runs, and the "
                "tracks mean nothing (--weights FILE gives others)"
            )

    def _headline(self, number: int, title: str, command: str) -> None:
        print(f"\n[{number}/{_STEPS}] {title}   ({command})", flush=True)

    def _cooptrack(self, number: int, title: str, *arguments: str) -> None:
        self._headline(number, title, " ".join(["cooptrack", *arguments]))
        # A process of its own: rendering with several workers is best started from a fresh interpreter.
        process = subprocess.Popen([sys.executable, "-m", "cooptrack_core.cli", *arguments], start_new_session=True)
        code = _outcome(process, None)
        if code != 0:
            raise CooptrackError(f"demo step {number} ({arguments[0]}) failed with exit code {code}; see above")

    def _make_scene(self) -> None:
        cameras, size = ("two", "1280x720") if self.pairs == 1 else ("four", "640x360")
        pairs = [] if self.pairs == 1 else ["--pairs", str(self.pairs), "--point-clouds", "none"]
        self._cooptrack(
            1, f"Synthetic intersection, {cameras} cameras", "synthesize", str(self.scene), "--seed",
            str(self.args.seed), "--duration-s", f"{self.args.duration_s:g}", "--image-size",
            self.args.image_size or size, *pairs, "--overwrite",
        )  # fmt: skip

    def _make_bag(self) -> None:
        scenes = [str(self.scene if self.pairs == 1 else self.scene / str(k + 1)) for k in range(self.pairs)]
        others = ["--with", *scenes[1:]] if self.pairs > 1 else []
        self._cooptrack(
            2, "rosbag2 of the scene", "to-bag", scenes[0], str(self.bag), "--seed", str(self.args.seed), "--overwrite",
            *others,
        )  # fmt: skip

    def _play(self) -> None:
        command = self._launch_command()
        nodes = "Roadside and vehicle nodes" if self.pairs == 1 else "Two roadside and two vehicle nodes"
        self._headline(3, f"{nodes} over DDS", " ".join(command))
        if shutil.which(command[0]) is None:
            raise CooptrackError("ros2: not found; run `make demo`, or source ROS 2 and this workspace first")
        if self.recorded.exists():
            shutil.rmtree(self.recorded)
        log_path = self.out / "launch.log"
        per_scene_s = _PER_SCENE_ON_CPU_S if self._on_cpu else _PER_SCENE_S
        limit_s = _START_ALLOWANCE_S * self.pairs + self.pairs * per_scene_s * self.args.duration_s / min(
            self.args.rate, 1.0
        )
        with log_path.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                code = _outcome(process, limit_s)
            except subprocess.TimeoutExpired:
                raise CooptrackError(f"the nodes did not finish within {limit_s:.0f} s; see {log_path}") from None
        if code != 0 or not self.recorded.exists():
            tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-15:])
            print(tail, file=sys.stderr)
            raise CooptrackError(f"the launch ended with exit code {code}; the whole log is {log_path}")
        print(f"log: {log_path}")

    def _launch_command(self) -> list[str]:
        arguments = {
            "bag": self.bag, "record": self.recorded, "mode": self.mode, "detector": self.args.detector,
            "rate": f"{self.args.rate:g}", "lockstep": str(self.lockstep).lower(),
            "rviz": str(self.args.rviz).lower(), "exit_when_done": "true",
        }  # fmt: skip
        if self.pairs > 1:
            units = [f"rsu{k + 1}" for k in range(self.pairs)]
            arguments |= {"vehicle": ",".join(self._vehicles), "roadside": ",".join(units), "share": "true"}
        if self.network is not None:
            arguments |= {name: getattr(self.network, name) for name in ("preset", "weights", "device", "engine")}
            if self.args.roadside_weights:
                arguments["roadside_weights"] = self.args.roadside_weights
        return ["ros2", "launch", "cooptrack_ros", "cooperative.launch.py"] + [
            f"{k}:={v}" for k, v in arguments.items()
        ]


def find_network(vehicle: NetworkConfig, roadside: NetworkConfig) -> str:
    """`cpu` or `cuda`, where the networks will run. CooptrackError without torch, weights that fit, or the device."""
    try:
        from cooptrack_core.checkpoints import store
        from cooptrack_core.model.loading import choose_device
    except ModuleNotFoundError as error:
        what = f"detector network: Python package {error.name} is missing"
        raise CooptrackError(f"{what}; pip install torch safetensors, or give --detector simulated") from None
    for config, role in ((vehicle, "coop"), (roadside, "inf")):
        path = store.find(config.weights, f"{config.preset}_{role}")
        if path is not None:
            store.load(path, f"{config.preset}_{role}")
    return str(choose_device(vehicle.device).type)


def _outcome(process: subprocess.Popen[bytes], limit_s: float | None) -> int:
    """Exit code of a process that leads a session; when we are interrupted or lose patience it ends first, tidily."""
    try:
        return process.wait(limit_s)
    except BaseException:
        _signal(process, signal.SIGINT)
        try:
            process.wait(_END_ALLOWANCE_S)
        finally:
            _signal(process, signal.SIGKILL)  # what is left of the session, should anything be
        raise


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
