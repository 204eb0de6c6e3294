"""Packages that the evaluation needs are asked for before anything runs."""

import importlib.util

import pytest

from cooptrack_core import cli
from cooptrack_core.evaluation.packages import PACKAGES, package_of, remedy_for, require_packages
from cooptrack_core.types import CooptrackError


@pytest.fixture
def without(monkeypatch):
    """Hides packages from everybody who looks for them."""
    find = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in names else find(name, *a))

    return hide


def test_missing_packages_are_named_with_the_remedy(without):
    require_packages()
    without("shapely")
    with pytest.raises(CooptrackError, match=r"shapely missing; pip install shapely, in the repository '\.\[eval\]'"):
        require_packages()
    without(*PACKAGES)
    with pytest.raises(CooptrackError, match="matplotlib and shapely missing; pip install matplotlib shapely"):
        require_packages()


@pytest.mark.parametrize("command", ["evaluate", "compare", "robustness"])
def test_commands_say_so_in_one_line_before_they_look_at_the_data(without, capsys, tmp_path, command):
    without("matplotlib")
    assert cli.main([command, str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "matplotlib missing; pip install matplotlib" in lines[0]


def test_a_missing_module_is_named_by_the_package_that_brings_it():
    assert package_of("cycler") == package_of("matplotlib.figure") == "matplotlib"
    assert package_of("shapely.geometry") == "shapely"
    assert remedy_for("torch").startswith("the network needs it: pip install torch safetensors,")


def test_figures_without_matplotlib_say_so_in_one_line(monkeypatch, capsys, tmp_path):
    from cooptrack_core.commands import figures

    def fails(args):
        raise ModuleNotFoundError("No module named 'cycler'", name="cycler")

    monkeypatch.setattr(figures, "run", fails)
    assert cli.main(["figures", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(
        "cooptrack figures: error: Python package matplotlib is missing; pip install matplotlib, or all:"
    )
