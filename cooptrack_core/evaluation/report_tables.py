"""The tables of a report, for the terminal and the page alike, from the content of metrics.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cooptrack_core.evaluation.clear_mot import COUNTED, WORST
from cooptrack_core.evaluation.page import DASH

Metrics = Mapping[str, Any]
Cell = float | int | str | None

UP, DOWN = "\N{UPWARDS ARROW}", "\N{DOWNWARDS ARROW}"
_DETECTION = {
    "ap": f"AP {UP}", "ap_0.5": "AP 0.5 m", "ap_1.0": "AP 1 m", "ap_2.0": "AP 2 m", "ap_4.0": "AP 4 m",
    "trans_err": f"ATE {DOWN} m", "scale_err": f"ASE {DOWN}", "orient_err": f"AOE {DOWN} rad",
    "vel_err": f"AVE {DOWN} m/s",
}  # fmt: skip
_DETECTION_MEANS = {
    "ap": "mAP", "trans_err": "mATE", "scale_err": "mASE", "orient_err": "mAOE", "vel_err": "mAVE",
}  # fmt: skip
_TRACKING = {
    "amota": f"AMOTA {UP}", "amotp": f"AMOTP {DOWN} m", "recall": f"recall {UP}", "motar": f"MOTAR {UP}",
    "mota": f"MOTA {UP}", "motp": f"MOTP {DOWN} m", "gt": "objects (boxes)", "mt": f"MT {UP}", "ml": f"ML {DOWN}",
    "faf": f"FAF {DOWN} per 100 frames", "tp": f"TP {UP}", "fp": f"FP {DOWN}", "fn": f"FN {DOWN}",
    "ids": f"IDS {DOWN}", "frag": f"FRAG {DOWN}", "tid": f"TID {DOWN} kit's s", "lgd": f"LGD {DOWN} kit's s",
}  # fmt: skip
_SECONDS = {"tid_s": f"TID {DOWN} s", "lgd_s": f"LGD {DOWN} s"}
# How the vehicle's camera sees an object. roadside_only stands in for the first two where nobody knows (real data).
_VIEWS = {
    "outside_view": "outside view", "occluded": "occluded", "roadside_only": "roadside only (proxy)",
    "visible": "visible", "unknown": "unknown", "any": "any",
}  # fmt: skip
_HOTA = {
    "hota": f"HOTA {UP}", "deta": f"DetA {UP}", "assa": f"AssA {UP}", "loca": f"LocA {UP}", "detre": "DetRe",
    "detpr": "DetPr", "assre": "AssRe", "asspr": "AssPr",
}  # fmt: skip
ASSOCIATION = {
    "precision": f"precision {UP}", "recall": f"recall {UP}", "precision_all": "precision of all", "pairs": "pairs",
    "judged": "judged", "right": "right", "possible": "possible",
}  # fmt: skip
_BANDWIDTH = {
    "encoded": "encoded", "encoded_without_header": "encoded, without header and pose",
    "papers": "papers' floats", "papers_with_header": "papers' floats, with pose",
    "dair_ab": "DAIR AB", "dair_ab_with_header": "DAIR AB, with header and pose",
    "dair_ab_boxes": "DAIR AB of the boxes alone",
}  # fmt: skip
_PER = ("per_message", "per_instance", "per_frame", "per_second")
_AMOUNTS = {
    "messages": "{} messages", "messages_per_second": "{} per second", "instances_per_message": "{} instances each",
    "header_per_message": "header and pose {} B each", "floats_per_instance": "{} floats per instance",
}  # fmt: skip


NOTHING_TRACKED = "the kit's worst values, where the tracks of a class never reach a recall of 0.1"


@dataclass(frozen=True)
class ReportTable:
    """A table; its first column names the rows. Numbers are printed with so many digits, None as a dash.

    note: what the numbers mean, in lines, below the table wherever it is; details: more of it, on the page only.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    digits: int = 3
    details: str = ""


def report_tables(metrics: Metrics) -> list[ReportTable]:
    """What there is to print, in the order of its weight; metrics that are not there give no table."""
    makers = (_headline, _detection, _tracking, _hota, _iou_ap, _hidden, _association, _bandwidth, _by_sequence)
    return [table for maker in makers for table in maker(metrics) if table.rows]


def value_of(metrics: Any, *path: str) -> Any:
    """The value at a path of keys, None where there is none."""
    for key in path:
        if not isinstance(metrics, Mapping) or key not in metrics:
            return None
        metrics = metrics[key]
    return metrics


def classes_of(section: Any) -> list[str]:
    """The classes of a section: the keys that hold tables of numbers."""
    if not isinstance(section, Mapping):
        return []
    return [name for name, value in section.items() if isinstance(value, Mapping)]


def leaves(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value below a mapping or a list with its path."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from leaves(value, (*path, str(key)))
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from leaves(value, (*path, str(index)))
    else:
        yield path, content


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines for the terminal, the first column to the left, the others to the right."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = ([row[0].ljust(first), *(map(str.rjust, row[1:], others))] for row in rows)
    return ["  " + "  ".join(cells).rstrip() for cells in lines]


def _headline(metrics: Metrics) -> Iterator[ReportTable]:
    views = [view for view in _shown_views(metrics) if view in ("outside_view", "occluded", "roadside_only")]
    columns = (
        "", f"AP {UP}", f"AMOTA {UP}", f"AMOTP {DOWN}", f"MOTA {UP}", f"IDS {DOWN}", f"HOTA {UP}",
        *(f"recall {_VIEWS[view]} {UP}" for view in views),
    )  # fmt: skip
    rows = []
    for name, own, mean in (("car", "car", ""), ("mean of classes", "mean", "mean")):
        ap = value_of(metrics, "detection", "mAP") if mean else value_of(metrics, "detection", own, "ap")
        tracking = (
            value_of(metrics, "tracking", *(("mean", key) if mean else ("label_metrics", key, own)))
            for key in ("amota", "amotp", "mota", "ids")
        )
        hidden = (value_of(metrics, "hidden_recall", "all" if mean else own, view) for view in views)
        row = (ap, *tracking, value_of(metrics, "hota", own, "hota"), *hidden)
        if any(value is not None for value in row):
            rows.append((name, *row[:4], _count(row[4]), *row[5:]))
    note = (
        "Row mean of classes: IDS is the sum over the classes, recall by view that of all objects of all classes "
        "together; the others are means."
    )
    if any(row[3] == WORST["motp"] for row in rows):
        note += f" AMOTP {WORST['motp']:g}: {NOTHING_TRACKED}."
    yield ReportTable("Headline", columns, tuple(rows), note)


def _detection(metrics: Metrics) -> Iterator[ReportTable]:
    section = metrics.get("detection")
    keys = [*_DETECTION] + (["NDS"] if value_of(section, "NDS") is not None else [])
    rows: list[tuple[Cell, ...]] = [
        (name, *(value_of(section, name, key) for key in keys)) for name in classes_of(section)
    ]
    if rows:
        rows.append(("mean", *(value_of(section, _DETECTION_MEANS.get(key, key)) for key in keys)))
    note = "nuScenes protocol: AP over 0.5, 1, 2 and 4 m of ground-plane centre distance; errors of matches at 2 m."
    if "NDS" in keys:
        note += " NDS, of all classes together, has the four errors that exist here, without attributes."
    if any(
        value_of(section, name, "trans_err") == value_of(section, name, "vel_err") == 1.0
        for name in classes_of(section)
    ):
        note += " All errors 1: the kit's value where nothing is matched."
    columns = ("", *(_DETECTION.get(key, f"{key} {UP}") for key in keys))
    yield ReportTable("Detection", columns, tuple(rows), note)


def _tracking(metrics: Metrics) -> Iterator[ReportTable]:
    section = metrics.get("tracking")
    labels, mean = value_of(section, "label_metrics"), value_of(section, "mean")
    if not isinstance(labels, Mapping) or not labels:
        return
    names = list(next(iter(labels.values())))
    rows: list[tuple[Cell, ...]] = []
    for key in dict.fromkeys((*_TRACKING, *labels)):
        if key in labels:
            values = [*(value_of(labels, key, name) for name in names), value_of(mean, key)]
            rows.append((_TRACKING.get(key, key), *(_count(v) if key in COUNTED else v for v in values)))
    rows += [(_SECONDS.get(key, key), *values) for key, values in _seconds(section, names)]
    note = (
        "nuScenes protocol: 40 recalls, 2 m, tracks scored by the mean of their boxes; all but AMOTA and AMOTP at the "
        "recall with the best MOTA. The kit's TID and LGD count 0.5 s per frame, those in s the frames' own time. "
        "Mean: counts are summed, objects averaged, as the kit does."
    )
    if any(value_of(labels, "faf", name) == WORST["faf"] for name in names):
        worst = ", ".join(f"{_TRACKING[key].split()[0]} {WORST[key]:g}" for key in ("motp", "tid", "lgd", "faf"))
        note += f"\nAMOTP {WORST['motp']:g}, {worst}: {NOTHING_TRACKED}."
    yield ReportTable("Tracking", ("", *names, "mean"), tuple(rows), note)


def _seconds(section: Any, names: Sequence[str]) -> Iterator[tuple[str, list[Cell]]]:
    seconds = value_of(section, "seconds") or {}
    labels, mean = seconds.get("label_metrics", seconds), seconds.get("mean", {})
    for key in _SECONDS:
        if isinstance(labels.get(key), Mapping):
            own = labels[key]
            yield key, [*(own.get(name) for name in names), own.get("mean", value_of(mean, key))]


def _hota(metrics: Metrics) -> Iterator[ReportTable]:
    section: Metrics = metrics.get("hota") or {}
    keys = list(dict.fromkeys((*_HOTA, *(key for name in classes_of(section) for key in section[name]))))
    rows = [(name, *(value_of(section, name, key) for key in keys)) for name in classes_of(section)]
    similarity = value_of(section, "similarity")
    note = f"Similarity: {similarity}." if similarity else ""
    if any(value_of(section, name, "hota") is not None and value_of(section, name, "loca") is None for name in section):
        note += f" LocA {DASH}: nothing was matched; such classes are left out of its mean."
    yield ReportTable("HOTA", ("", *(_HOTA.get(key, key) for key in keys)), tuple(rows), note)


def _iou_ap(metrics: Metrics) -> Iterator[ReportTable]:
    section: Metrics = metrics.get("iou_ap") or {}
    keys = list(
        dict.fromkeys(
            (view, str(threshold))
            for name in classes_of(section)
            for view, values in section[name].items()
            if isinstance(values, Mapping)
            for threshold in values
        )
    )
    keys.sort(key=lambda key: (key[0], float(key[1])))
    columns = [f"{'BEV' if view == 'bev' else view.upper()} {threshold}" for view, threshold in keys]
    rows = [(name, *(value_of(section, name, *key) for key in keys)) for name in classes_of(section)]
    note = str(value_of(section, "text") or "DAIR-V2X: rotated IoU in the range of its lidar frame.")
    yield ReportTable(f"AP by IoU {UP}", ("", *columns), tuple(rows), note)


def _hidden(metrics: Metrics) -> Iterator[ReportTable]:
    section: Metrics = metrics.get("hidden_recall") or {}
    views = _shown_views(metrics)
    rows = []
    for name in classes_of(section):
        cells = ((section[name].get(view), value_of(section, name, "objects", view)) for view in views)
        rows.append((name, *(cell for pair in cells for cell in pair)))
    columns = [words for view in views for words in (f"{_VIEWS[view]} {UP}", "boxes")]
    note = str(value_of(section, "definition") or "")
    if "any" in views:
        note += "; any: all objects together"
    yield ReportTable("Recall by what the vehicle's camera sees", ("", *columns), tuple(rows), note)


def _shown_views(metrics: Metrics) -> list[str]:
    """The views of which there is any object."""
    section: Metrics = metrics.get("hidden_recall") or {}
    return [view for view in _VIEWS if any(value_of(section, n, "objects", view) for n in classes_of(section))]


def _association(metrics: Metrics) -> Iterator[ReportTable]:
    section: Metrics = metrics.get("association") or {}
    row = tuple(section.get(key) for key in ASSOCIATION)
    rows = (("vehicle and roadside", *row),) if section.get("pairs") or section.get("possible") else ()
    yield ReportTable("Association", ("", *ASSOCIATION.values()), rows, str(section.get("definition") or ""))


def _bandwidth(metrics: Metrics) -> Iterator[ReportTable]:
    section: Metrics = metrics.get("bandwidth") or {}
    texts = value_of(section, "text") or {}
    if texts and section.get("messages") == 0:
        yield ReportTable("Bandwidth", ("messages",), (("no messages",),))
        return
    rows = [(_BANDWIDTH.get(name, name), *(value_of(section, name, key) for key in _PER)) for name in texts]
    amounts = [(words, section.get(key)) for key, words in _AMOUNTS.items()]
    known = [words.format(f"{value:.4g}" if value < 1e4 else f"{value:.0f}") for words, value in amounts if value]
    explained = [f"{_BANDWIDTH.get(name, name)}: {text}" for name, text in texts.items()]
    columns = [f"B {key.replace('_', ' ')}" for key in _PER]
    yield ReportTable("Bandwidth", ("", *columns), tuple(rows), "; ".join(known), 1, "\n".join(explained))


def _by_sequence(metrics: Metrics) -> Iterator[ReportTable]:
    section = metrics.get("by_sequence") or {}
    keys = list(dict.fromkeys(key for values in section.values() for key in values))
    rows = [(name, *(values.get(key) for key in keys)) for name, values in section.items()]
    yield ReportTable("By sequence", ("sequence", *keys), tuple(rows))


def _count(value: Any) -> Cell:
    """A count as a whole number; the kit's are floats."""
    return int(value) if isinstance(value, (int, float)) and float(value).is_integer() else value


__all__ = ["NOTHING_TRACKED", "ReportTable", "aligned", "classes_of", "leaves", "report_tables", "value_of"]
