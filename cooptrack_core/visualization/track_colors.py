"""The colour of every track of a recording: one for all its frames and figures, unlike those of its neighbours."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial.distance import cdist

from cooptrack_core.visualization.print_palette import TRACKS
from cooptrack_core.visualization.scene import Float, FrameView, Scene

_NEAR_M = 8.0  # from here on tracks may look alike, the further the more
_ALIKE = 22.0  # difference in CIE Lab from which on colours are told apart easily
_SAME_COST = 0.2  # of tracks that meet, however far apart: with few of them all differ


def track_colors(scene: Scene) -> dict[int, str]:
    """Colour of every track id, chosen in the order in which the tracks appear.

    Each takes the colour least like those of the tracks that it meets, which count the more the nearer they ever
    come; of equally good colours the one that is used least. The same recording gives the same colours.
    """
    frames = [_places(frame) for frame in scene.frames]
    tracks = list(dict.fromkeys(track for places in frames for track in sorted(places)))
    row_of = {track: row for row, track in enumerate(tracks)}
    nearest = np.full((len(tracks), len(tracks)), np.inf)
    for places in frames:
        if places:
            at = np.array(list(places.values()))
            cells = np.ix_(*2 * [[row_of[track] for track in places]])
            nearest[cells] = np.minimum(nearest[cells], cdist(at, at))
    weight, alike, same = 1 / (1 + nearest / _NEAR_M) ** 2, _likeness(), np.eye(len(TRACKS))
    chosen, used = np.zeros(len(tracks), np.int64), np.zeros(len(TRACKS), np.int64)
    for row in range(len(tracks)):
        met = np.isfinite(nearest[row, :row])
        cost = weight[row, :row] @ alike[chosen[:row]] + _SAME_COST * met @ same[chosen[:row]]
        chosen[row] = np.lexsort((used, cost.round(6)))[0]
        used[chosen[row]] += 1
    return {track: TRACKS[color] for track, color in zip(tracks, chosen, strict=True)}


def _places(frame: FrameView) -> dict[int, Float]:
    """[2] in the world of each track of a frame, and of what is associated with one not reported yet."""
    instances = [(track, ego) for ego, _, track, _ in frame.pairs]
    instances += [(track, center) for center, track in (*frame.unmatched_ego, *frame.unmatched_remote)]
    places = {track: center[:2] for track, center in instances if track > 0}
    return places | {box.id: box.center_m[:2] for box in frame.tracks}


def _likeness() -> Float:
    """[C, C] how much alike the colours of tracks are, 1 on the diagonal."""
    rgb = np.array([[int(code[k : k + 2], 16) for k in (1, 3, 5)] for code in TRACKS], np.float32) / 255
    lab = cv2.cvtColor(rgb[None], cv2.COLOR_RGB2LAB)[0]
    return np.asarray(np.exp(-((cdist(lab, lab) / _ALIKE) ** 2)))


__all__ = ["track_colors"]
