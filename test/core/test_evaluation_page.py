"""Guarantees of the page: it stands by itself, equal data give equal text, what is unknown is a dash."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cooptrack_core.evaluation.page import (
    DASH,
    Html,
    code,
    figure,
    figure_svg,
    number,
    page,
    paragraph,
    section,
    table,
    write_page,
)
from cooptrack_core.evaluation.plots import plot_style, save_figure, subplots
from cooptrack_core.types import CooptrackError

_VOID = {"meta", "br", "img", "hr", "input", "link"}


class Elements(HTMLParser):
    """Tags with their attributes, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.balanced = True
        self.feed(text)
        self.close()
        self.balanced &= not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.balanced &= bool(self.open) and self.open.pop() == tag


def plot(values: list[float]) -> Any:
    with plot_style():
        fig, axes = subplots(1, 2)
        axes[0][0].plot(values, label="a line")
        axes[0][0].legend()
        axes[0][1].imshow([[0.0, 1.0], [1.0, 0.0]])
    return fig


def example() -> str:
    rows = [("late", 0.5, 3), ("ego", None, 12)]
    return page(
        "A title", [section("One", "words", table(("mode", "AP", "IDS"), rows), figure(figure_svg(plot([1.0, 2.0]))))]
    )


def test_a_page_refers_to_nothing_outside_itself() -> None:
    text = example()
    assert not re.search(r"https?:|ftp:|//", text)
    elements = Elements(text)
    assert elements.balanced
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in elements.found:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "src", "xlink:href"):
                assert value is not None and value.startswith(("#", "data:")), (tag, name, value)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_the_policy_of_a_page_forbids_every_request() -> None:
    policies = [a.get("content") for tag, a in Elements(example()).found if a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_equal_figures_give_equal_text_and_different_ones_share_no_id() -> None:
    first, again, other = figure_svg(plot([1.0, 2.0])), figure_svg(plot([1.0, 2.0])), figure_svg(plot([2.0, 1.0]))
    assert first == again
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, other)]
    assert ids[0] and not ids[0] & ids[1]
    for text, known in zip((first, other), ids, strict=True):
        assert set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text)) <= known


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_equal_figures_give_equal_files(tmp_path: Path, kind: str) -> None:
    paths = [save_figure(plot([1.0, 3.0]), tmp_path / f"{k}.{kind}") for k in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_unknown_kind_of_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CooptrackError, match=r"x\.gif: output: is no kind of picture"):
        save_figure(plot([1.0]), tmp_path / "x.gif")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 3, DASH), (float("nan"), 3, DASH), (0.0, 3, "0.000"), (-0.0001, 3, "0.000"),
        (-1.25, 2, "\N{MINUS SIGN}1.25"), (12345.0, 0, "12\N{THIN SPACE}345"), (float("inf"), 1, "\N{INFINITY}"),
    ],
)  # fmt: skip
def test_numbers_are_printed_alike(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


def test_what_is_unknown_is_a_dash_in_a_table() -> None:
    text = table(("a", "b", "c"), [("row", None, float("nan"))])
    assert text.count(f">{DASH}</td>") == 2 and "0.0" not in text


def test_tables_mark_the_best_number_and_align_numbers() -> None:
    text = table(
        ("mode", "AP", "IDS"), [("0003", 0.5, 7), ("0004", 0.7, 9), ("0005", None, 2)], best={1: "max", 2: "min"}
    )
    assert '<td class="number best">0.700</td>' in text and '<td class="number best">2</td>' in text
    assert text.count("best") == 2
    assert '<th scope="row">0003</th>' in text  # a name, although it looks like a number


def test_words_are_escaped_and_markup_is_not() -> None:
    assert paragraph("a < b & c") == "<p>a &lt; b &amp; c</p>"
    assert paragraph(code("x")) == "<p><code>x</code></p>"
    text = page("<t>", [section("<h>", "<p>", Html("<p>yes</p>"))], lead="<l>")
    assert "<p>yes</p>" in text and "<t>" not in text and "<h>" not in text and "<l>" not in text


def test_a_page_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CooptrackError, match=r"file/page\.html: output: cannot be written"):
        write_page(tmp_path / "file" / "page.html", "x")
