"""Every static check, in one command: style, types, import rules, Dockerfiles, manifests. Exit code 1 if one fails."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import time
from pathlib import Path

import manifests

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
IMPORT_LINTER = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def pinned(package: str) -> str:
    """The version in constraints.txt; the last of several, which is that of newer Pythons."""
    lines = (ROOT / "scripts" / "constraints.txt").read_text().splitlines()
    return [line.split(";")[0].partition("==")[2].strip() for line in lines if line.startswith(f"{package}==")][-1]


def run(name: str, *command: str) -> bool:
    """One tool; its output is shown if it finds something."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    passed = done.returncode == 0
    print(f"  {'ok  ' if passed else 'FAIL'} {name} ({time.monotonic() - started:.1f} s)", flush=True)
    if not passed:
        print(done.stdout + done.stderr, end="", flush=True)
    return passed


def check_types() -> bool:
    """mypy, whose findings depend on the annotations of the installed numpy."""
    installed, wanted = importlib.metadata.version("numpy"), pinned("numpy")
    if installed != wanted:
        print(f"  --   types (mypy): checked with numpy {wanted} only, here is {installed}")
        return True
    return run("types of cooptrack_core (mypy --strict)", PYTHON, "-m", "mypy")


def check_dockerfiles() -> bool:
    """hadolint, a program that is not made for every processor; what it is to overlook stands in the files."""
    program = Path(PYTHON).with_name("hadolint")
    if not program.is_file():
        print("  --   Dockerfiles (hadolint): there is none for this machine")
        return True
    return run("Dockerfiles (hadolint)", str(program), *sorted(map(str, (ROOT / "docker").glob("Dockerfile.*"))))


def check_manifests() -> bool:
    """XML, YAML, versions, and what CMake and the manifests list."""
    defects = manifests.defects(ROOT)
    print(f"  {'FAIL' if defects else 'ok  '} manifests (XML, YAML, versions, what is installed)")
    for defect in defects:
        print(defect)
    return not defects


def main() -> int:
    """0 if all is well."""
    print("Checks")
    results = [
        run("style (ruff check)", PYTHON, "-m", "ruff", "check", "--output-format", "concise", "."),
        run("format (ruff format)", PYTHON, "-m", "ruff", "format", "--check", "--output-format", "concise", "."),
        check_types(),
        run("import rules (import-linter)", PYTHON, "-c", IMPORT_LINTER, "--no-cache"),
        check_dockerfiles(),
        check_manifests(),
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
