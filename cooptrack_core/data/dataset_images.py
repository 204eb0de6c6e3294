"""Camera images of a dataset sequence by agent and stamp, as BagImages gives those of its bag."""

from __future__ import annotations

from cooptrack_core.data.files import problem
from cooptrack_core.data.rows import FrameRow
from cooptrack_core.data.v2x_seq import Dataset


class DatasetImages:
    """`images("vehicle", stamp_ns)` -> the file's bytes, None without an image of exactly this stamp.

    Raises CooptrackError for a sequence that the dataset does not have.
    """

    def __init__(self, dataset: Dataset, sequence_id: str, vehicle: str = "vehicle", roadside: str = "rsu") -> None:
        rows = dataset.frames("vehicle", sequence_id)
        if not rows:
            known = ", ".join(dataset.sequences[:10]) + (" ..." if len(dataset.sequences) > 10 else "")
            raise problem(dataset.root, "sequence", f"{sequence_id} has no vehicle frames", f"choose one of {known}")
        self.dataset = dataset
        self._rows: dict[str, dict[int, FrameRow]] = {
            vehicle: {row.image_stamp_ns: row for row in rows},
            roadside: {row.image_stamp_ns: row for row in dataset.infrastructure_frames(sequence_id)},
        }

    @property
    def stamps_ns(self) -> dict[str, list[int]]:
        """Stamps of the images of each agent that has any, in order."""
        found = {
            agent: sorted(stamp for stamp, row in rows.items() if row.image_path.exists())
            for agent, rows in self._rows.items()
        }
        return {agent: stamps for agent, stamps in found.items() if stamps}

    def __call__(self, agent: str, stamp_ns: int) -> bytes | None:
        """The file content of one image."""
        row = self._rows.get(agent, {}).get(stamp_ns)
        return None if row is None else self.dataset.image_bytes(row.side, row.frame_id)


__all__ = ["DatasetImages"]
