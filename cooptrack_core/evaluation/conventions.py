"""What counts as ground truth: the two conventions in use for V2X-Seq-SPD and one of another rate, as named options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cooptrack_core.types import CooptrackError

DATASET_RATE_HZ = 10.0
AS_IN_BAG = "labels as in the bag"
_PERIOD_NS = round(1e9 / DATASET_RATE_HZ)


@dataclass(frozen=True)
class Convention:
    """Which frames and which labels are scored (docs/evaluation.md).

    rate_hz: one frame of every 10 Hz / rate_hz vehicle frame numbers is kept. delete_cooperative: the list of
    deletions of cooperative labels (update_label_info.json) is applied. fill_tracks: a track that is not labelled
    between two sightings gets interpolated boxes there.
    """

    name: str
    rate_hz: float
    delete_cooperative: bool
    fill_tracks: bool

    @property
    def step(self) -> int:
        """Vehicle frame numbers per scored frame."""
        return round(DATASET_RATE_HZ / self.rate_hz)

    def kept(self, frame_ids: Sequence[str], stamps_ns: Sequence[int]) -> list[int]:
        """Positions of the scored frames of one sequence, given in time order.

        Buckets of `step` frame numbers start at the first frame; the first frame of each is kept. Frames without
        a numeric id are numbered by their stamps.
        """
        if all(name.isdecimal() for name in frame_ids):
            numbers = [int(name) for name in frame_ids]
        else:
            numbers = [round((stamp - stamps_ns[0]) / _PERIOD_NS) for stamp in stamps_ns]
        first_of: dict[int, int] = {}
        for position, number in enumerate(numbers):
            first_of.setdefault((number - numbers[0]) // self.step, position)
        return sorted(first_of.values())

    def describe(
        self, label_updates: str = "none", full_rate: bool = False, cooperative_deletions: int | None = None
    ) -> str:
        """One line for every print. label_updates: the file that was applied, 'none', or AS_IN_BAG.

        cooperative_deletions: how many of the file apply to labels of the run, None: not known.
        """
        parts = [f"{self.rate_hz:g} Hz"]
        if full_rate and self.step > 1:
            parts.append("the system at the full rate")
        if label_updates in ("none", AS_IN_BAG):
            parts.append("no label updates" if label_updates == "none" else AS_IN_BAG)
        else:
            parts.append(
                "label updates, none of them deletes a cooperative label of these sequences"
                if self.delete_cooperative and cooperative_deletions == 0
                else f"label updates {'with' if self.delete_cooperative else 'without'} cooperative deletions"
            )
        parts.append("tracks filled" if self.fill_tracks else "tracks not filled")
        return f"{self.name} ({', '.join(parts)})"


CONVENTIONS = {
    item.name: item
    for item in (
        # as the data preparation of CoopTrack and that of UniV2X have it
        Convention("cooptrack", 10.0, delete_cooperative=False, fill_tracks=True),
        Convention("univ2x", 2.0, delete_cooperative=True, fill_tracks=True),
        # ours, for the rate between both
        Convention("5hz", 5.0, delete_cooperative=False, fill_tracks=True),
    )
}
DEFAULT = "cooptrack"


def convention_of(name: str) -> Convention:
    """The convention of a name; CooptrackError for an unknown one."""
    if name not in CONVENTIONS:
        raise CooptrackError(f"convention: {name!r} is unknown; choose one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


__all__ = ["AS_IN_BAG", "CONVENTIONS", "DATASET_RATE_HZ", "DEFAULT", "Convention", "convention_of"]
