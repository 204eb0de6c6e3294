"""The lint finds what must not be in the packages that run on a vehicle: pickle, and networks other than DDS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ruff")
ROOT = Path(__file__).resolve().parents[2]
LINES = (
    "import pickle", "from pickle import loads", "import shelve", "import marshal", "import joblib", "import socket",
    "import urllib.request", "from urllib.request import urlopen", "import http.client", "import requests",
)  # fmt: skip


def found(code: str, file: str) -> list[str]:
    """Lines of code that the import rule objects to, were they in this file."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251", "--output-format", "concise"]
    done = subprocess.run(
        [*command, "--stdin-filename", file, "-"], input=code, cwd=ROOT, capture_output=True, text=True, check=False
    )
    rows = {int(line.split(":")[1]) for line in done.stdout.splitlines() if "TID251" in line}
    return [code.splitlines()[row - 1] for row in sorted(rows)]


@pytest.mark.parametrize("file", ["cooptrack_core/new.py", "cooptrack_core/data/new.py", "cooptrack_ros/new.py"])
def test_pickle_and_networks_are_refused_where_vehicles_run(file: str) -> None:
    inside = "def later():\n    import pickle\n    return pickle\n"
    assert found("\n".join(LINES), file) == list(LINES)
    assert found(inside, file) == ["    import pickle"]
    assert found("import torch\ntorch.load('weights.pth')\n", file) == ["torch.load('weights.pth')"]


def test_scripts_and_tests_may_do_so() -> None:
    assert found("\n".join(LINES), "scripts/new.py") == found("\n".join(LINES), "test/core/new.py") == []
