"""Compares the network with reference vectors of the published one.

python test/parity.py FOLDER runs every kind of file that it knows and finds (test/data/reference/README.md), prints
file, tensor, largest error and tolerance, and exits with 1 if any tensor misses.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(ROOT.parent)]

import parity_frames as frames  # noqa: E402
import parity_operators as operators  # noqa: E402
import parity_training as training  # noqa: E402
import torch  # noqa: E402
from parity_report import Report  # noqa: E402

KINDS: tuple[tuple[str, Callable[[Path, Report], None]], ...] = (
    (r"helpers\.npz", operators.helpers),
    (r"motion_extractor\.npz", operators.motion_extractor),
    (r"latent_transformation\.npz", operators.latent_transformation),
    (r"bbox_coder\.npz", operators.bbox_coder),
    (r"runtime_tracker\.json", operators.runtime_tracker),
    (r"st_reasoner_single\.npz", operators.st_reasoner_single),
    (r"st_reasoner_coop_(eval|empty)\.npz", operators.st_reasoner_coop),
    (r"st_reasoner_coop_train\.npz", training.st_reasoner_coop_train),
    (r"full_(inf|veh|coop)_frame\d+\.npz", frames.check),
    (r"train_(inf|veh|coop)_(b|seq)\d+\.json", training.iterations),
)


def main(arguments: list[str] | None = None) -> int:
    """0 if every tensor is within its tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="folder with reference vectors; any subset of the kinds")
    parser.add_argument("--only", default="", help="regular expression of file names")
    args = parser.parse_args(arguments)
    if not args.folder.is_dir():
        print(f"parity: {args.folder}: no such folder", file=sys.stderr)
        return 2
    report = Report()
    print(f"{'file':32} {'tensor':44} {'max error':>14}  {'limit':>8}")
    found = 0
    for path in sorted(args.folder.iterdir()):
        for pattern, check in KINDS:
            if re.fullmatch(pattern, path.name) and re.search(args.only, path.name):
                found, report.file = found + 1, path.name
                check(path, report)
    if not found:
        print(f"parity: {args.folder}: holds no reference vectors of a known kind", file=sys.stderr)
        return 2
    print(f"{found} files, {report.checked} tensors, {len(report.misses)} misses (torch {torch.__version__})")
    for miss in report.misses:
        print(f"MISS {miss}", file=sys.stderr)
    return 1 if report.misses else 0


if __name__ == "__main__":
    sys.exit(main())
