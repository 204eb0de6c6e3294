"""Where pip gets PyTorch from: without an NVIDIA GPU the small CPU build, if its index can be reached."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
ANSWER_WITHIN_S = 3.0
GPU_DEVICE = Path("/dev/nvidia0")
# Options of pip, in a file or as PIP_<NAME>, that say where packages come from.
INDEX_OPTIONS = ("index-url", "extra-index-url", "no-index")
SIZE_CPU = "about 0.8 GB on disk"
SIZE_CUDA = "several GB with CUDA"


@dataclass(frozen=True)
class Source:
    """Arguments of pip, and what comes of it."""

    arguments: tuple[str, ...]
    description: str


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU."""
    return GPU_DEVICE.exists() or shutil.which("nvidia-smi") is not None


def has_own_index(pip: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether the user has told pip where packages come from; then nothing is added to that."""
    command = [*pip, "config", "list"]
    listed = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False).stdout
    return re.search(rf"\.({'|'.join(INDEX_OPTIONS)})=", listed.replace("_", "-")) is not None


def answers(url: str, within_s: float = ANSWER_WITHIN_S) -> bool:
    """Whether a web server answers in time; the look-up of its name, which has no time-out, included."""
    heard = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(url, timeout=within_s).close()
        except (OSError, ValueError):
            return
        heard.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(within_s)
    return heard.is_set()


def choose(pip: Sequence[str], environment: Mapping[str, str] = os.environ) -> Source:
    """The source for this machine. `pip`: command of the pip that will install."""
    if has_gpu():
        return Source((), f"PyTorch for the NVIDIA GPU, {SIZE_CUDA}")
    if has_own_index(pip, environment):
        return Source((), f"PyTorch from your package index, {SIZE_CPU} as CPU build, {SIZE_CUDA}")
    if answers(f"{CPU_INDEX}/torch/"):
        return Source(("--extra-index-url", CPU_INDEX), f"PyTorch for the CPU, {SIZE_CPU}")
    return Source((), f"PyTorch as the package index has it, {SIZE_CPU} as CPU build, {SIZE_CUDA}")
