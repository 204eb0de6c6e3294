"""What a validation found: defects, each with file, field, what and remedy, and notes that are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cooptrack_core.data.files import DataProblem


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong. `file` is relative to the dataset root where it lies inside."""

    file: str
    field: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.what}; {self.remedy}"


@dataclass
class Report:
    """Defects and notes in the order in which they were found, and what was looked at."""

    root: Path
    defects: list[Defect] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, file: Path | str, name: str, what: str, remedy: str) -> None:
        """Records a defect."""
        self.defects.append(Defect(self.name_of(file), name, what, remedy))

    def note(self, text: str) -> None:
        """Records something worth knowing that is no defect."""
        self.notes.append(text)

    def name_of(self, file: Path | str) -> str:
        """The path below the dataset root, where it lies there."""
        text, prefix = str(file), f"{self.root}/"
        return text.removeprefix(prefix)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turns a DataProblem of the reader into a defect."""
        try:
            yield
        except DataProblem as error:
            self.add(error.source, error.field, error.what, error.remedy)

    def as_json(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return {
            "dataset": str(self.root),
            "valid": not self.defects,
            "counts": self.counts,
            "defects": [asdict(defect) for defect in self.defects],
            "notes": self.notes,
        }


__all__ = ["Defect", "Report"]
