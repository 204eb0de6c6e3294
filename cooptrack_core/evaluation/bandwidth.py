"""What a run sent over the air, counted in the three ways of the literature side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cooptrack_core.data.files import problem

Recording = Mapping[str, Any]
Row = Mapping[str, Any]
Figures = dict[str, float]

FLOAT_BYTES = 4
LATE_OBJECT_BYTES = 33  # label 1, score 4, box of 7 floats 28 (Griffin's count of late fusion)
PAPER_HEADER_BYTES = 12 * FLOAT_BYTES + 8  # a pose of 12 floats and a time stamp, which no paper counts
AB_NUMBER_BYTES = 8
AB_LATE_NUMBERS = 9  # box of 7 numbers, score, label: all that DAIR-V2X's own late fusion sends of an object

TEXT = {
    "encoded": "CDR bytes of the InstanceFeatures messages sent; frame: of the vehicle; second: at the actual rate",
    "encoded_without_header": "less the size of a message without instances: stamp, names, pose with covariance, "
    "range, fingerprint",
    "papers": "the papers' count (their BPS, per message or per second): 4 B a float, 2 C + 3 floats an instance of C "
    "channels (feature, motion, reference point; no positional embedding), in whatever precision it was sent; "
    f"{LATE_OBJECT_BYTES} B an object without features (label, score, box of 7 floats)",
    "papers_with_header": f"and {PAPER_HEADER_BYTES} B a message for a pose of 12 floats and a time stamp",
    "dair_ab": "average bytes of DAIR-V2X: 8 B for every number of the instances, per frame of the vehicle, no rate",
    "dair_ab_with_header": "and the numbers of the header, 1 B for each character in it",
    "dair_ab_boxes": f"what DAIR-V2X's own late fusion counts for these objects: {AB_LATE_NUMBERS} numbers each "
    "(box of 7, score, label)",
}


def bandwidth(recordings: Sequence[Recording]) -> dict[str, Any]:
    """What the roadside units of the recordings sent together, whether or not it arrived or was used.

    {"messages", "seconds", "frames": of the vehicle, "messages_per_second", "instances_per_message",
    "header_per_message": encoded bytes, "floats_per_instance": the papers' count, None without features,
    <convention>: {"per_message", "per_instance", "per_frame", "per_second": bytes, as far as it defines them},
    "text": {<convention>: what is counted}}. NaN where there is nothing to divide by. The papers' count is that of
    CoopTrack (2 C + 3 floats) and of Griffin's late fusion (33 B), neither with a header; average bytes as in
    v2x/models/model_utils/channel.py of AIR-THU/DAIR-V2X (Apache-2.0).
    CooptrackError for recordings that do not say what their messages consist of.
    """
    rows = [row for recording in recordings for row in _rows(recording)]
    spans = [span for recording in recordings for span in _spans(recording)]
    frames, seconds = sum(count for count, _ in spans), sum(span_s for _, span_s in spans)
    total = {name: sum(row[name] for row in rows) for name in ("bytes", "instances", "header_bytes")}

    def figures(count: float, *names: str) -> Figures:
        by = {"message": len(rows), "instance": total["instances"], "frame": frames, "second": seconds}
        return {f"per_{name}": _ratio(count, by[name]) for name in names}

    everywhere = ("message", "instance", "frame", "second")
    papers = sum(row["instances"] * _paper_bytes(row) for row in rows)
    ab = sum(row["instances"] * row["instance_numbers"] for row in rows) * AB_NUMBER_BYTES
    ab_header = sum(row["header_numbers"] * AB_NUMBER_BYTES + row["header_text"] for row in rows)
    return {
        "messages": len(rows),
        "seconds": seconds,
        "frames": frames,
        "messages_per_second": _ratio(len(rows), seconds),
        "instances_per_message": _ratio(total["instances"], len(rows)),
        "header_per_message": _ratio(total["header_bytes"], len(rows)),
        "floats_per_instance": _paper_floats(rows),
        "encoded": figures(total["bytes"], *everywhere),
        "encoded_without_header": figures(total["bytes"] - total["header_bytes"], *everywhere),
        "papers": figures(papers, *everywhere),
        "papers_with_header": figures(papers + len(rows) * PAPER_HEADER_BYTES, *everywhere),
        "dair_ab": figures(ab, "instance", "frame"),
        "dair_ab_with_header": figures(ab + ab_header, "instance", "frame"),
        "dair_ab_boxes": figures(total["instances"] * AB_LATE_NUMBERS * AB_NUMBER_BYTES, "instance", "frame"),
        "text": TEXT,
    }


def _rows(recording: Recording) -> Iterable[Row]:
    for row in recording["sent"]:
        if "header_bytes" not in row:
            source = recording.get("source_bag", "recording")
            what = f"message {row['sequence']} of {row['agent']} does not say how large its header is"
            raise problem(source, "sent", what, "make the recording again with this version")
        yield row


def _spans(recording: Recording) -> Iterable[tuple[int, float]]:
    """(frames of the vehicle, seconds) of every sequence: from its first to its last frame and one period more."""
    stamps_ns: dict[str, list[int]] = {}
    for frame in (*recording["frames"], *recording.get("missed", ())):
        stamps_ns.setdefault(frame["sequence_id"], []).append(frame["stamp_ns"])
    for stamps in stamps_ns.values():
        steps_s = np.diff(np.sort(np.array(stamps, np.int64))) / 1e9
        yield len(stamps), float(steps_s.sum() + (np.median(steps_s) if len(steps_s) else 0.1))


def _paper_bytes(row: Row) -> int:
    size = row["feature_size"]
    return FLOAT_BYTES * (2 * size + 3) if size else LATE_OBJECT_BYTES


def _paper_floats(rows: Sequence[Row]) -> int | None:
    """Of the largest features, all being equal in practice."""
    size = max((row["feature_size"] for row in rows), default=0)
    return 2 * size + 3 if size else None


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


__all__ = ["LATE_OBJECT_BYTES", "PAPER_HEADER_BYTES", "TEXT", "bandwidth"]
