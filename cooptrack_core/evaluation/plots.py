"""The look of all plots: one style, one colour per mode and class, files that are equal when the data are."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cooptrack_core.data.files import write_file
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that stay apart for colour-blind readers (Okabe and Ito, 2008), without the yellow that is lost on white.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MODE_COLORS = {"learned": COLORS[1], "distance": COLORS[3], "late": COLORS[0], "ego": "#5b6673"}
CLASS_COLORS = {"car": COLORS[0], "bicycle": COLORS[2], "pedestrian": COLORS[1]}

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.labelsize": 9, "axes.labelcolor": "#1c2530", "text.color": "#1c2530",
    "axes.edgecolor": "#9aa6b3", "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#e3e8ed", "grid.linewidth": 0.7, "axes.axisbelow": True,
    "xtick.color": "#5b6673", "ytick.color": "#5b6673", "xtick.labelsize": 8, "ytick.labelsize": 8,
    "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.6, "lines.markersize": 4,
    "figure.facecolor": "white", "figure.dpi": 100, "savefig.dpi": 200, "svg.hashsalt": "cooptrack",
}  # fmt: skip


@contextmanager
def plot_style() -> Iterator[None]:
    """The style of every plot made inside; matplotlib reads it when lines and axes are made."""
    from cycler import cycler
    from matplotlib import rc_context

    style: Any = {**_RC, "axes.prop_cycle": cycler(color=COLORS)}
    with rc_context(style):
        yield


def subplots(rows: int = 1, columns: int = 1, *, width: float = 11.6, height: float = 3.2, **options: Any) -> Any:
    """(figure, axes [rows, columns]) of a size in inches, without any window or global state; inside plot_style."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save_figure(fig: Figure, path: Path) -> Path:
    """Writes .png, .svg or .pdf; the same figure gives the same bytes."""
    from matplotlib import rc_context

    kind = path.suffix.lower().lstrip(".")
    dates = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
    if kind not in dates:
        raise CooptrackError(f"{path}: output: is no kind of picture; choose .png, .svg or .pdf")
    out = io.BytesIO()
    with rc_context({"svg.hashsalt": "cooptrack", "savefig.dpi": 200}):
        fig.savefig(out, format=kind, metadata=dates[kind])
    write_file(path, out.getvalue())
    return path


__all__ = ["CLASS_COLORS", "COLORS", "MODE_COLORS", "plot_style", "save_figure", "subplots"]
