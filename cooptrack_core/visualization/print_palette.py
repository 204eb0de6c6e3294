"""Colours of pictures on white paper. Blue, green and greys have a meaning, so no track is drawn in them."""

from __future__ import annotations

EGO = "#1565d8"  # the vehicle, and its unmatched instances, as in the paper's association figures
REMOTE = "#159a45"  # in association figures the roadside, and its unmatched instances
TRUTH = "#159a45"  # in tracking figures ground truth
QUIET_REMOTE = "#867866"  # in tracking figures the roadside, since green is ground truth there
FAINT_TRUTH = "#b3bcc6"  # in association figures ground truth, which is only their ground
TEXT, MUTED, LINE = "#1c2530", "#5b6673", "#cdd5dd"

# Neighbours differ in hue and lightness, so that they stay apart for colour-blind readers too.
TRACKS = (
    "#d62728", "#7b3fa0", "#f08a00", "#7a4a2b", "#e0559f", "#00929c",
    "#b28600", "#8c1d40", "#a884e0", "#ff6f52", "#4a4e9e", "#c06a28",
    "#c2379a", "#6d5c00",
)  # fmt: skip

__all__ = ["EGO", "FAINT_TRUTH", "LINE", "MUTED", "QUIET_REMOTE", "REMOTE", "TEXT", "TRACKS", "TRUTH"]
