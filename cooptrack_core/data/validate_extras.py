"""Rules for the split file and the maps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cooptrack_core.data import splits
from cooptrack_core.data.files import DataProblem, expect_object, read_json
from cooptrack_core.data.report import Report
from cooptrack_core.data.rows import Side
from cooptrack_core.data.validate_rows import LOCATIONS, frame_id_of, pair_ids, sequence_of

Row = dict[str, Any]

LANE_TYPES = ("CITY_DRIVING", "LEFT_TURN_WAITING_ZONE", "EMERGENCY_LANE", "ROUNDABOUT", "BIKING")
_POINT = re.compile(r"\(-?[\d.e+-]+, -?[\d.e+-]+\)")


def check_split(report: Report, path: Path | None, rows: Mapping[Side, Sequence[Row]], pairs: Sequence[Row]) -> None:
    """The split file against the data; without one the published assignment of sequences is used."""
    source: Path | str = "official split" if path is None else path
    try:
        split = splits.official() if path is None else splits.load(path)
    except DataProblem as error:
        report.add(error.source, error.field, error.what, error.remedy)
        return
    for sequence in set(split.sequences.get("test_A", ())) - set(split.sequences.get("test", ())):
        report.add(source, "batch_split.test_A", f"sequence {sequence} is not in test", "test_A is part of test")
    present = {sequence_of(row) for row in rows["vehicle"]}
    assigned = {sequence: split.lists_of(sequence) for sequence in sorted(present)}
    for sequence, lists in assigned.items():
        if not lists:
            what = f"sequence {sequence} is in no list"
            report.add(source, "batch_split", what, "add it to train or val, or give a --split-file that has it")
        elif len(lists) > 1:  # the converters need a sequence of each kind, so a lone scene is listed twice
            report.note(f"sequence {sequence} is in {' and in '.join(lists)}; do not measure on what was trained on")
    names = {name for lists in assigned.values() for name in lists}
    for name in ("train", "val"):
        if names and name not in names:
            report.note(f"no sequence of the dataset is in {name}; the official converters need one of each")
    frames = {
        "vehicle": {frame_id_of(row): sequence_of(row) for row in rows["vehicle"]},
        "infrastructure": {frame_id_of(row): sequence_of(row) for row in rows["infrastructure"]},
        "cooperative": {pair_ids(row)[0]: str(row.get("vehicle_sequence", "")) for row in pairs},
    }
    for kind, members in frames.items():
        _check_frame_lists(report, source, kind, getattr(split, kind), members, assigned)


def _check_frame_lists(
    report: Report,
    source: Path | str,
    kind: str,
    lists: Mapping[str, Sequence[str]],
    members: Mapping[str, str],
    assigned: Mapping[str, Sequence[str]],
) -> None:
    """Frames of the dataset that are listed elsewhere than their sequence; one line per sequence and list."""
    wrong: dict[tuple[str, str, str], int] = {}
    for name in splits.NAMES[:3]:
        for frame_id in lists.get(name, ()):
            sequence = members.get(frame_id)
            expected = assigned.get(sequence, ()) if sequence is not None else ()
            if sequence is not None and expected and name not in expected:
                key = (sequence, ", ".join(expected), name)
                wrong[key] = wrong.get(key, 0) + 1
    for (sequence, expected, name), count in wrong.items():
        what = f"{count} frames of sequence {sequence} ({expected}) are listed"
        report.add(source, f"{kind}_split.{name}", what, "list frames where their sequence is")


def check_maps(report: Report) -> None:
    """maps/<location>.json as the map converter reads them; a dataset without maps is noted."""
    folder = report.root / "maps"
    if not folder.is_dir():
        report.note("maps/ is absent; only the official map converter needs it")
        return
    for path in sorted(folder.iterdir()):
        if path.suffix != ".json" or path.stem not in LOCATIONS:
            report.add(path, "file", "does not belong in maps/", "keep only <intersection_loc>.json there")
            continue
        with report.guard():
            content = expect_object(read_json(path), path)
            for key in ("LANE", "JUNCTION", "CROSSWALK"):
                elements = expect_object(content.get(key), path, key)
                for name, element in elements.items():
                    field = f"{key}.{name}"
                    with report.guard():
                        _check_element(report, path, key, field, expect_object(element, path, field))


def _check_element(report: Report, path: Path, kind: str, field: str, element: Row) -> None:
    if kind == "LANE" and element.get("lane_type") not in LANE_TYPES:
        what = f"is {element.get('lane_type')!r}"
        report.add(path, f"{field}.lane_type", what, f"the converter knows {', '.join(LANE_TYPES)}")
    for key in ("left_boundary", "right_boundary") if kind == "LANE" else ("polygon",):
        points = element.get(key)
        if not isinstance(points, list) or len(points) < 2:
            report.add(path, f"{field}.{key}", "has fewer than 2 points", "complete the map")
        elif bad := [p for p in points if not (isinstance(p, str) and _POINT.fullmatch(p))]:
            report.add(path, f"{field}.{key}", f"has the point {bad[0]!r}", "write points as strings '(x, y)'")


__all__ = ["LANE_TYPES", "check_maps", "check_split"]
