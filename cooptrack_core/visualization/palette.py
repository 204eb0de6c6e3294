"""Colours on a dark ground, the same in video, player and markers.

Track colours repeat after `len(TRACKS)` ids; neighbours in the list differ in hue and in lightness, so that
consecutive ids stay apart for colour-blind viewers too. Meaning (who saw a thing) is never carried by colour
alone: dashes and marker shapes repeat it.
"""

from __future__ import annotations

RGB = tuple[int, int, int]


def rgb(code: str) -> RGB:
    """(r, g, b) 0..255 of "#rrggbb"."""
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


TRACK_HEX = (
    "#ffb454", "#59c2ff", "#f2728c", "#e3e16a", "#b99cff", "#66d9c2",
    "#ff8f40", "#f5b8e0", "#9fc6a5", "#e6c9a8", "#8f9dff", "#f4f1de",
    "#d96bd0", "#c2d94c", "#ff9e8a", "#7fb8c9",
)  # fmt: skip
TRACKS: tuple[RGB, ...] = tuple(rgb(code) for code in TRACK_HEX)

# Unmatched instances as in the paper's figure 2: ego blue, roadside green.
EGO_HEX = "#3d9bff"
REMOTE_HEX = "#3ddc84"
BOTH_HEX = "#e8edf2"
PREDICTED_HEX = "#7d8896"
PAIR_HEX = "#ffe08a"
TRUTH_HEX = "#c9d1da"
WARNING_HEX = "#ff6b6b"
BACKGROUND_HEX = "#0a0e13"
PANEL_HEX = "#10161e"
LINE_HEX = "#243040"
TEXT_HEX = "#e6ebf0"
MUTED_HEX = "#8896a6"

EGO, REMOTE, BOTH, PREDICTED = rgb(EGO_HEX), rgb(REMOTE_HEX), rgb(BOTH_HEX), rgb(PREDICTED_HEX)
PAIR, TRUTH, WARNING = rgb(PAIR_HEX), rgb(TRUTH_HEX), rgb(WARNING_HEX)
BACKGROUND, PANEL, LINE = rgb(BACKGROUND_HEX), rgb(PANEL_HEX), rgb(LINE_HEX)
TEXT, MUTED = rgb(TEXT_HEX), rgb(MUTED_HEX)


# Agents beside the vehicle, where there are several; the first is the roadside's green.
AGENTS: tuple[RGB, ...] = (REMOTE, *(rgb(code) for code in ("#c792ea", "#ff9f43", "#4dd0e1", "#ff5fa2", "#b8e986")))


def track_color(track_id: int) -> RGB:
    """Colour of a track, stable for its life and from run to run."""
    return TRACKS[(track_id - 1) % len(TRACKS)]


def mix(a: RGB, b: RGB, fraction: float) -> RGB:
    """Colour between a (fraction 0) and b (1)."""
    x, y, z = (round(p + (q - p) * fraction) for p, q in zip(a, b, strict=True))
    return x, y, z
