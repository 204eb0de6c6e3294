"""What a machine must have that pip cannot bring, and the one line that installs it on Debian and Ubuntu."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Lack:
    """Something missing: what it is and the packages that bring it."""

    what: str
    packages: tuple[str, ...]


def _python_package(suffix: str) -> str:
    """Debian's package for this interpreter: python3-venv for its own Python, python3.12-venv for another."""
    own = Path("/usr/bin/python3")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if own.exists() and own.resolve().name == f"python{version}":
        return f"python3-{suffix}"
    return f"python{version}-{suffix}"


def has_compiler() -> bool:
    """Whether there is a C++ compiler."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++") if name)


def has_cmake(path: str) -> bool:
    """Whether there is a cmake on `path`, of version 3.22 or newer."""
    command = shutil.which("cmake", path=path)
    if command is None:
        return False
    text = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"version (\d+)\.(\d+)", text)
    return version is not None and (int(version[1]), int(version[2])) >= (3, 22)


def has_headers() -> bool:
    """Whether Python.h of this interpreter is there."""
    return Path(sysconfig.get_path("include"), "Python.h").is_file()


def has_venv() -> bool:
    """Whether this interpreter can make virtual environments."""
    return all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))


def has_egl() -> bool:
    """Whether OpenGL without a display is there."""
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    return True


def required(*, venv: bool) -> list[Lack]:
    """What is missing and needed; `venv`: an environment has to be made."""
    lacks = []
    if venv and not has_venv():
        lacks.append(Lack("virtual environments (venv, ensurepip)", (_python_package("venv"),)))
    if not has_headers():
        lacks.append(Lack("Python headers (Python.h)", (_python_package("dev"),)))
    if not has_compiler():
        lacks.append(Lack("a C++ compiler", ("g++",)))
    if not shutil.which("make"):
        lacks.append(Lack("make", ("make",)))
    return lacks


def optional() -> list[Lack]:
    """What is missing and has a fallback."""
    if has_egl():
        return []
    return [
        Lack(
            "EGL: scenes are drawn by the ray caster, more plainly and more slowly",
            ("libegl1", "libegl-mesa0", "libgl1", "libgl1-mesa-dri"),
        )
    ]


def describe(lacks: list[Lack]) -> str:
    """The lacks and the line that mends them."""
    packages = sorted({package for lack in lacks for package in lack.packages})
    lines = [f"  missing: {lack.what}" for lack in lacks]
    return "\n".join([*lines, f"  sudo apt-get install -y {' '.join(packages)}"])
