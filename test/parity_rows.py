"""Which row of ours a row of a file of reference vectors is.

The cooperative network sorts queries by decoder score after fusion. Scores that are equal but for rounding may come
in either order, and so may the ids that rows get in their order, and the tracks of the next frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from parity_report import Report
from scipy.optimize import linear_sum_assignment
from torch import Tensor

if TYPE_CHECKING:
    from parity_frames import Run

EQUAL_SCORES = 1e-4


@dataclass(frozen=True)
class RowOrder:
    """Rows of ours for the rows of a file, and ours for their ids."""

    entering: Tensor  # [N] as the decoder gets them
    final: Tensor  # [N] after fusion
    ids: Mapping[int, int]

    def translated(self, ids: np.ndarray) -> np.ndarray:
        """Their ids in ours."""
        return np.array([self.ids.get(int(i), int(i)) for i in ids], np.int64)


def row_order(run: Run, arrays: dict[str, np.ndarray], known: dict[int, int], report: Report) -> RowOrder:
    """The order of a frame. `known`: their ids in ours where they differ, of the frames before; gets those of this one.

    Rows out of order are a miss unless their decoder scores are nearly equal.
    """
    count = len(run.step.refined)
    entering = _nearest(arrays.get("dec_in_ref_pts"), run.entering.ref_pts)
    final = _nearest(arrays.get("final_ref_pts"), run.step.refined.ref_pts)
    rows = torch.arange(count)
    fresh_moved = (entering != rows) & (run.entering.track_id < 0)
    final_moved = final != rows
    if run.step.cooperation is not None:
        scores, matched = run.step.cooperation.queries.scores, len(run.step.cooperation.ego_index)
        final_moved &= (scores[final] - scores).abs() > EQUAL_SCORES
        if not torch.equal(entering, rows):  # fused rows stand in the order in which they entered
            final_moved &= (rows >= matched) | (final >= matched)
    report.check("rows out of order", int(fresh_moved.sum() + final_moved.sum()), 0, 0.0)
    if "pre_assign_ids" in arrays:
        theirs = torch.from_numpy(arrays["pre_assign_ids"])
        after = torch.where(theirs < 0, run.next_id + torch.cumsum(theirs < 0, 0) - 1, theirs)
        ours = run.step.advanced.queries.track_id[final]
        for new, their_id, our_id in zip((theirs < 0).tolist(), after.tolist(), ours.tolist(), strict=True):
            if new and their_id != our_id:
                known[their_id] = our_id
    return RowOrder(entering, final, dict(known))


def _nearest(theirs: np.ndarray | None, ours: Tensor) -> Tensor:
    """[N] row of our points for each of theirs."""
    if theirs is None or theirs.shape != tuple(ours.shape):
        return torch.arange(len(ours))
    distance = torch.cdist(torch.from_numpy(theirs).double(), ours.double())
    return torch.from_numpy(linear_sum_assignment(distance.numpy())[1])
