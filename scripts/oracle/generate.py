"""Writes the inputs and the kit's scores of every stored comparison, and says what differs from those stored.

Run by `make oracle` in an environment of its own (requirements.txt); the project itself never needs the kit.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cases
import degenerate_cases  # noqa: F401  registers its cases
import kit

TOLERANCE = 1e-9  # what two environments may differ by
KINDS = ("gt", "pred", "kit")


def write(path: Path, content: Any) -> None:
    """Compressed JSON that is the same bytes each time."""
    text = json.dumps(content, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def difference(stored: Any, made: Any, where: str = "") -> str | None:
    """The first place where two JSON values differ by more than the tolerance, or None."""
    if isinstance(stored, dict) and isinstance(made, dict) and list(stored) == list(made):
        pairs = [(f"{where}.{key}", stored[key], made[key]) for key in stored]
    elif isinstance(stored, list) and isinstance(made, list) and len(stored) == len(made):
        pairs = [(f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(stored, made, strict=True))]
    else:
        numbers = isinstance(stored, (int, float)) and isinstance(made, (int, float))
        if numbers and (abs(stored - made) <= TOLERANCE or (math.isnan(stored) and math.isnan(made))):
            return None
        return None if stored == made else f"{where or 'top level'}: stored {stored!r}, made {made!r}"
    return next((found for name, a, b in pairs if (found := difference(a, b, name))), None)


def compare(stored: Path, made: Path) -> list[str]:
    """What differs between two folders, one line each."""
    names = sorted({p.name for p in stored.glob("*.json.gz")} | {p.name for p in made.glob("*.json.gz")})
    lines = []
    for name in names:
        if not (stored / name).exists() or not (made / name).exists():
            lines.append(f"{name}: only {'made' if (made / name).exists() else 'stored'}")
            continue
        both = [json.loads(gzip.decompress((folder / name).read_bytes())) for folder in (stored, made)]
        if found := difference(both[0], both[1]):
            lines.append(f"{name}: {found}")
    return lines


def main() -> int:
    """0 if what is stored is what the kit gives, 1 if not (or 0 after --write)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the comparisons are stored")
    parser.add_argument("--write", action="store_true", help="replace what is stored by what was made")
    parser.add_argument("--only", metavar="CASE", action="append", help="only this one, with --write")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="Mean of empty slice")
    with tempfile.TemporaryDirectory() as temporary:
        made = args.folder if args.write else Path(temporary)
        for name in args.only or cases.CASES:
            gt, pred = json.loads(json.dumps(cases.CASES[name]()))
            for kind, content in zip(KINDS, (gt, pred, kit.score(gt, pred)), strict=True):
                write(made / f"{name}.{kind}.json.gz", content)
            print(f"{name}", flush=True)
        if args.write:
            return 0
        lines = compare(args.folder, made)
    print("\n".join(lines) or f"{len(cases.CASES)} comparisons: stored and made agree to {TOLERANCE:g}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
