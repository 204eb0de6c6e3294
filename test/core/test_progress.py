"""Progress: plain lines where nobody looks at a terminal, now and then, each by itself."""

from __future__ import annotations

import pytest

import cooptrack_core.progress as module
from cooptrack_core.progress import progress_bar


def test_without_a_terminal_plain_lines_say_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "PERIOD_S", 0.0)
    assert list(progress_bar(["a", "b"], desc="late", unit="sequence")) == ["a", "b"]
    assert capsys.readouterr().err.splitlines() == ["late: sequence 1 of 2", "late: sequence 2 of 2"]
    with progress_bar(total=8, initial=2, desc="images", unit="image") as steps:
        steps.update(3)
        steps.set_description("more")
        steps.update(3)
    assert capsys.readouterr().err.splitlines() == ["images: image 5 of 8", "more: image 8 of 8"]
    assert list(progress_bar(iter("a"), desc="tracking", unit="frame")) == ["a"]
    assert capsys.readouterr().err == "tracking: frame 1\n"


def test_what_is_quickly_done_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 4.0, 9.0, 12.0, 15.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    assert len(list(progress_bar(range(4), desc="late", unit="sequence"))) == 4
    assert capsys.readouterr().err == "late: sequence 3 of 4\n"
