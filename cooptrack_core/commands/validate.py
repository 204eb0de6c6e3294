"""`cooptrack validate`: every defect of a dataset, one line each."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "list every defect of a V2X-Seq-SPD or DAIR-V2X-C tree; exit code 1 if there is any"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `cooptrack validate`."""
    parser.add_argument("dataset", type=Path, help="root of the dataset: the folder that holds vehicle-side/")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--deep", action="store_true", help="decode every image and point cloud, not only their ends")
    parser.add_argument(
        "--metadata-only", action="store_true", help="absent images and point clouds are a note, not a defect"
    )
    parser.add_argument("--split-file", type=Path, help="split lists; by default the file in or beside the dataset")


def run(args: argparse.Namespace) -> int:
    """Prints the report; returns 1 if there are defects."""
    from cooptrack_core.data.validate import validate

    report = validate(args.dataset, deep=args.deep, metadata_only=args.metadata_only, split_file=args.split_file)
    if args.json:
        print(json.dumps(report.as_json(), indent=1))
    else:
        for defect in report.defects:
            print(defect)
        for note in report.notes:
            print(f"note: {note}")
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report.counts.items())
        print(f"{args.dataset}: {counts}: {f'{len(report.defects)} defects' if report.defects else 'valid'}")
    return 1 if report.defects else 0
