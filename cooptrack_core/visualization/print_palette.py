"""Colours of pictures on white paper. Blue, green and grey have a meaning, so no track is drawn in them."""

from __future__ import annotations

EGO = "#1565d8"  # unmatched instances of the vehicle, as in the paper's association figures
REMOTE = "#159a45"  # unmatched instances of the roadside, and the roadside itself
TRUTH = "#159a45"  # ground truth in tracking figures
FAINT_TRUTH = "#b3bcc6"  # ground truth where it is only the ground of the picture
TEXT, MUTED, LINE = "#1c2530", "#5b6673", "#cdd5dd"

# Neighbours differ in hue and lightness, so consecutive ids stay apart for colour-blind readers too.
TRACKS = (
    "#d62728", "#7b3fa0", "#f08a00", "#7a4a2b", "#e0559f", "#00929c",
    "#b28600", "#8c1d40", "#a884e0", "#ff6f52", "#4a4e9e", "#c06a28",
    "#c2379a", "#6d5c00",
)  # fmt: skip


def track_color(track_id: int) -> str:
    """Colour of a track: the same in every frame and every figure; it repeats after len(TRACKS) ids."""
    return TRACKS[(track_id - 1) % len(TRACKS)]


__all__ = ["EGO", "FAINT_TRUTH", "LINE", "MUTED", "REMOTE", "TEXT", "TRACKS", "TRUTH", "track_color"]
