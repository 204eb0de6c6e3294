"""robustness.html: the curves and the tables behind them, in one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cooptrack_core.evaluation.page import (
    Html,
    code,
    figure,
    figure_svg,
    markup,
    page,
    paragraph,
    section,
    table,
    write_page,
)
from cooptrack_core.evaluation.plots import save_figure
from cooptrack_core.evaluation.robustness_curves import capital, curves, message_fates
from cooptrack_core.evaluation.robustness_tables import HEADER, about, explanation, notes_of, reference_rows, rows_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = Mapping[str, Any]

# Of every figure: the name of its files, its scores with the words on their axes, and its heading.
FIGURES: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "curves": ((("AMOTA", "AMOTA"), ("mAP", "mAP")), "Mean of the classes"),
    "curves_car": ((("AMOTA_car", "AMOTA, car"), ("AP_car", "AP, car")), "Cars, the convention of the field's tables"),
    "curves_hidden": ((("hidden_recall", "recall"),), "Recall of objects that the vehicle's camera does not see"),
    "messages": ((), "What became of the messages"),
}
MEANING = {
    "delay": "Time from sending to arrival. The vehicle refuses messages older than its max_age_ms (1500 ms).",
    "jitter": "Additional delay, uniform from 0 to the value. A message that was overtaken is refused by its number.",
    "async": "The message of the frame that many frames before the partner is used (VIC-Async-k of DAIR-V2X); labels, "
    "offset and vehicle frame stay.",
    "clock-offset": "The sender's stamps are shifted, so the vehicle moves objects by a wrong time. A message that is "
    "ahead of the vehicle's clock by more than clock_tolerance_ms (100 ms) on arrival is refused as from_future; one "
    "that is ahead of the frame by more waits for a later frame.",
    "loss": "Each message is lost on its own.",
    "burst": "The same share is lost in bursts of this mean length (Gilbert-Elliott).",
    "instance-loss": "Each instance is lost on its own, the message arrives (packet loss of Griffin).",
    "drop-roadside": "One piece of each sequence without any message.",
    "position-noise": "Gaussian noise on x, y and z of the sender's pose.",
    "yaw-noise": "Gaussian noise on the sender's yaw; Griffin also turns roll and pitch.",
}  # fmt: skip


def write_figures(result: Result, out: Path) -> tuple[dict[str, Figure], list[Path]]:
    """Draws all figures and writes each as SVG and PNG."""
    drawn, files = {}, []
    for name, (scores, _) in FIGURES.items():
        drawn[name] = curves(result, scores) if scores else message_fates(result)
        files += [save_figure(drawn[name], out / f"{name}.{kind}") for kind in ("svg", "png")]
    return drawn, files


def write_html(result: Result, figures: Mapping[str, Figure], path: Path) -> None:
    """The page: what was run, the curves, the table of each disturbance."""
    parts = [
        *(paragraph(line, "warning") for line in notes_of(result)),
        section(
            "Without disturbance",
            table(("mode", *HEADER[1:]), reference_rows(result)),
            paragraph(explanation(result), "note"),
        ),
        section("Curves", _how_to_read(result), *(_drawn(name, figures[name]) for name in figures)),
        *(_sweep(result, sweep) for sweep in result["sweeps"]),
    ]
    write_page(path, page("Robustness against disturbed messages", parts, lead=_lead(result)))


def _lead(result: Result) -> Html:
    command = result["run"].get("command", "")
    made = Html(f" Made by {code(command)}.") if command else ""
    return Html(f"{markup(about(result))}. Convention {markup(result['convention'])}.{made}")


def _how_to_read(result: Result) -> Html:
    repeats = result["run"]["repeats"]
    seeds = f" Random points are means of {repeats} seeds, the band shows their extremes." if repeats > 1 else ""
    return paragraph(
        "One disturbance at a time, simulated on the messages between roadside and vehicle; the axes of a score are "
        f"the same in all panels. Dashed: mode ego, which uses no messages.{seeds}"
    )


def _drawn(name: str, drawn: Figure) -> Html:
    heading = FIGURES[name][1]
    return Html(f"<h3>{markup(heading)}</h3>{figure(figure_svg(drawn, f'Robustness: {heading}'))}")


def _sweep(result: Result, sweep: Result) -> Html:
    tables = [
        table((sweep["unit"], *HEADER[1:]), rows_of(result, sweep, mode), caption=f"mode {mode}")
        for mode in sweep["modes"]
    ]
    return section(capital(sweep["title"]), paragraph(MEANING.get(sweep["name"], "")), *tables)


__all__ = ["FIGURES", "write_figures", "write_html"]
