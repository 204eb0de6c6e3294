"""Sheets of paper for figures: axes placed in inches, a heading above, a legend below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cooptrack_core.visualization import print_palette as colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PT_PER_INCH = 72.0
AXIS_IN = 0.62  # beside a plan, for the numbers and the name of its axis
EDGE_IN = 0.12  # between axes and the edge of the sheet
_CHARACTERS_PER_INCH = 14.5  # of the words of a heading


@dataclass(frozen=True)
class Together:
    """Several handles as one entry of a legend: over each other, or side by side."""

    handles: tuple[Any, ...]
    label: str
    apart: bool = False


class Sheet:
    """A figure of a size in inches whose axes are placed from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure: Figure = Figure(figsize=(width, height))
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes of a size in inches, so far from the left and from the top."""
        bottom = self.height - top - height
        rect = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(rect)

    def heading(self, title: str, words: str, left: float, width: float) -> None:
        """At the top, what is shown, and of what run and frame in as many lines as `heading_height` counts."""
        x = left / self.width
        self.figure.text(x, 1 - 0.10 / self.height, title, fontsize=10.5, weight="bold", va="top", color=colors.TEXT)
        self.figure.text(x, 1 - 0.32 / self.height, "\n".join(_lines(words, width)), fontsize=8, va="top",
                         color=colors.MUTED, linespacing=1.3)  # fmt: skip

    def legend(self, handles: Sequence[Any], columns: int, left: float) -> None:
        """Legend at the bottom, from a distance from the left in inches."""
        from matplotlib.legend_handler import HandlerTuple

        apart = {
            item.handles: HandlerTuple(ndivide=None, pad=0.2)
            for item in handles if isinstance(item, Together) and item.apart
        }  # fmt: skip
        signs: list[Any] = [item.handles if isinstance(item, Together) else item for item in handles]
        labels = [str(item.label if isinstance(item, Together) else item.get_label()) for item in handles]
        self.figure.legend(
            signs, labels,
            handler_map=apart, loc="lower left", bbox_to_anchor=(left / self.width, 0.04 / self.height), ncols=columns,
            fontsize=7.8, frameon=False, handlelength=2.0, handletextpad=0.6, columnspacing=2.2, labelspacing=0.45,
            borderaxespad=0.0,
        )  # fmt: skip


def heading_height(words: str, width: float) -> float:
    """Inches that a heading takes whose words may be so many inches wide."""
    return 0.46 + 0.15 * max(len(_lines(words, width)), 1)


def _lines(words: str, width: float) -> list[str]:
    return textwrap.wrap(words, max(round(_CHARACTERS_PER_INCH * width), 20))


__all__ = ["AXIS_IN", "EDGE_IN", "PT_PER_INCH", "Sheet", "Together", "heading_height"]
