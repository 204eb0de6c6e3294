"""`cooptrack export`: a network as ONNX files or as programs of torch.export, each checked against the plain one."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from cooptrack_core.commands.common import check_positive, print_files
from cooptrack_core.config import SHIPPED_WEIGHTS
from cooptrack_core.types import CooptrackError

HELP = "write a network as ONNX or torch.export files with fixed shapes for other runtimes, each checked when written"
MAX_INSTANCES = 64
# As of cooptrack_core.model.export, which needs torch.
FORMATS = ("onnx", "torch-export")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("--preset", default="tiny_coop", metavar="NAME", help="of the network, with its role")
    add(
        "--weights", default=SHIPPED_WEIGHTS, metavar="FILE|NAME",
        help="a safetensors file or the name of shipped ones; 'untrained': random numbers",
    )  # fmt: skip
    add("--out", "-o", type=Path, required=True, metavar="DIR", help="new folder for the files and export.json")
    add("--format", choices=FORMATS, default="onnx", help="ONNX files, or .pt2 programs of torch.export")
    add(
        "--max-instances", type=int, default=MAX_INSTANCES, metavar="N",
        help="rows for the instances of messages in the graphs of cooperation, to which they are padded",
    )  # fmt: skip
    add("--overwrite", action="store_true", help="replace the files of an earlier export")


def run(args: argparse.Namespace) -> int:
    """Writes and checks the files one by one."""
    check_positive("--max-instances", args.max_instances)
    if args.out.exists() and not args.overwrite and (not args.out.is_dir() or any(args.out.iterdir())):
        raise CooptrackError(f"{args.out}: out: exists already; choose another --out, or add to it with --overwrite")
    from cooptrack_core.model import export
    from cooptrack_core.model.loading import network_and_identity
    from cooptrack_core.model.onnx_files import require
    from cooptrack_core.progress import progress_bar

    for package in ("onnx", "onnxruntime") if args.format == "onnx" else ():
        require(package, "to write ONNX files")
    model, identity = network_and_identity(args.preset, args.weights)
    if args.max_instances > model.config.num_queries:
        raise CooptrackError(
            f"--max-instances: {args.max_instances} are more than the {model.config.num_queries} queries of "
            f"{args.preset}; give at most as many"
        )
    parts = export.parts_of(model, args.max_instances)
    args.out.mkdir(parents=True, exist_ok=True)
    written = []
    # Nothing that has not been checked appears in the folder.
    with tempfile.TemporaryDirectory(prefix=".part-", dir=args.out) as folder:
        with progress_bar(total=len(parts), desc=f"export {args.preset}", unit="file") as bar:
            for part in parts:
                bar.set_description(f"export {args.preset}: {part.name}")
                written.append(export.write(part, Path(folder), args.format))
                bar.update()
        text = export.description(
            parts, written, model, identity.fingerprint, identity.source, args.format, args.max_instances
        )
        (Path(folder) / "export.json").write_text(text)
        paths = [args.out / file.path.name for file in written]
        for path in (*paths, args.out / "export.json"):
            (Path(folder) / path.name).replace(path)
    print(f"{args.preset}, weights {identity.source}, fingerprint {identity.fingerprint.hex()[:12]}")
    print(f"largest difference to the plain network, of at most {export.TOLERANCE:g}:")
    for path, file in zip(paths, written, strict=True):
        size_mb = path.stat().st_size / 1e6
        print(f"  {path.name:20}{file.largest_difference:9.1e}  in {file.where:22}{size_mb:8.1f} MB")
    if all(export.has_tied_peaks(parts[0], example) for example in parts[0].examples):
        print("note: no example tells its peaks apart (untrained weights?): only the grid and the scores were compared")
    if model.config.cooperative and model.config.fusion != "graph":
        print("note: it cooperates before decoding; that part stays in Python")
    print_files([*paths, args.out / "export.json"])
    return 0
