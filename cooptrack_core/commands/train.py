"""`cooptrack train`: one stage of a recipe, from the last checkpoint on."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from cooptrack_core.commands.common import check_positive
from cooptrack_core.config import DEVICES
from cooptrack_core.training.stage import FLAGS, PRECISIONS, StoppedElsewhere, TrainingStopped
from cooptrack_core.training.stages import STAGES, StageOptions, build, entry_of, loop_options
from cooptrack_core.types import CooptrackError

if TYPE_CHECKING:
    from cooptrack_core.training.loop import Result

HELP = "train one stage of a network's recipe; the same command goes on where a run was interrupted"

_EPILOG = """\
The run folder gets checkpoints (the last two and the best), metrics.jsonl, the same for TensorBoard
(tensorboard --logdir RUN), and at the end the best weights under weights/. The same command again goes on from the
last checkpoint and ends with the same weights as without the interruption.

several processes:  torchrun --standalone --nproc-per-node 2 -m cooptrack_core.cli train STAGE ...
exit status:        0 done, 1 stopped on the way (data, memory, a loss that is no number), 2 bad input,
                    130 or 143 interrupted
"""
_WHOLE, _REAL = int, float
# Field of LoopOptions, type, placeholder, help.
_LOOP_OPTIONS: tuple[tuple[str, type, str, str], ...] = (
    ("learning_rate", _REAL, "RATE", "learning rate of AdamW after the warm-up"),
    ("weight_decay", _REAL, "X", "weight decay of AdamW"),
    ("warm_up_steps", _WHOLE, "N", "steps in which the learning rate rises"),
    ("warm_up_from", _REAL, "SHARE", "share of the learning rate at the first step"),
    ("last_rate", _REAL, "SHARE", "share of the learning rate at the end of the cosine"),
    ("max_gradient_norm", _REAL, "NORM", "longer gradients are shortened to this; inf: never"),
    ("accumulate", _WHOLE, "N", "micro-batches in a step, for a larger batch than fits the memory"),
    ("ema_decay", _REAL, "X", "decay of the average of the weights that is evaluated and exported; 0: none"),
    ("seed", _WHOLE, "N", "of everything random"),
    ("keep_every", _WHOLE, "N", "steps between checkpoints, rounded up to where the streams of the stage start anew"),
    ("evaluate_every", _WHOLE, "N", "steps between evaluations, rounded up to checkpoints; 0: only at the end"),
    ("log_every", _WHOLE, "N", "steps that a line of the log averages"),
    ("file_bytes", _WHOLE, "N", "larger files of a checkpoint are split into numbered parts"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter  # stages in lines
    width = max(map(len, STAGES), default=0)
    lines = [f"  {name:{width}}  {entry.about}" for name, entry in STAGES.items()]
    parser.epilog = "\n".join(["stages:", *(lines or ["  none in this version"]), "", _EPILOG])
    add = parser.add_argument
    add("stage", metavar="STAGE", help="one of those below")
    add("--preset", required=True, metavar="NAME", help="network with its role, such as tiny_inf or official_r50_coop")
    add("--data", type=Path, required=True, metavar="DIR", help="dataset in the V2X-Seq-SPD layout")
    add("--out", type=Path, required=True, metavar="RUN", help="folder of the run; an interrupted one is continued")
    add("--init", type=Path, metavar="FILE", help="weights of the stage before, where there is one")
    add("--roadside", type=Path, metavar="FILE", help="weights of the roadside network that sends the messages")
    add("--steps", type=int, metavar="N", help="optimizer steps")
    add("--batch", type=int, metavar="N", help="frames of all processes together in a micro-batch")
    add(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="changes",
        help="another value for a part of the recipe, such as visibility=all, message_dropout=0.3 or clip_frames=10; "
        "may be given several times, a wrong name lists them",
    )  # fmt: skip
    group = parser.add_argument_group(
        "optimization", "The default of each, and of --steps and --batch, is what the recipe of stage and preset says."
    )
    for field, kind, metavar, text in _LOOP_OPTIONS:
        group.add_argument(FLAGS[field], dest=field, type=kind, metavar=metavar, help=text)
    group.add_argument("--precision", choices=PRECISIONS, help="bf16: forward in mixed precision, weights in fp32")
    group.add_argument("--device", choices=DEVICES, help="where it runs; auto: a GPU if there is")


def run(args: argparse.Namespace) -> int:
    """Trains; prints where the weights are, or how to go on."""
    entry_of(args.stage)
    for name in ("steps", "batch"):
        check_positive(f"--{name}", getattr(args, name))
    from cooptrack_core.training.distributed import this_process

    first = this_process().first
    with _terminable():
        try:
            result = _train(args)
        except StoppedElsewhere:
            return 1  # that process says why
        except TrainingStopped as error:
            print(f"cooptrack train: error: {error} ({_kept(args.out)})", file=sys.stderr)
            return 1
        except CooptrackError:
            if first:
                raise
            return 2  # the first process says the same
        except KeyboardInterrupt as interrupt:
            if first:
                print(f"\ncooptrack train: interrupted ({_kept(args.out)}); the same command goes on", file=sys.stderr)
            return 128 + (signal.SIGTERM if isinstance(interrupt, _Terminated) else signal.SIGINT)
    if first:
        _print(args, result)
    return 0


def _train(args: argparse.Namespace) -> Result:
    from cooptrack_core.model.loading import choose_device
    from cooptrack_core.training.distributed import joined
    from cooptrack_core.training.loop import train

    given = {field: getattr(args, field) for field in FLAGS if getattr(args, field) is not None}
    options = loop_options(args.stage, args.preset, given)
    with joined(choose_device(options.device)) as processes:
        if args.batch is not None and args.batch % processes.world:
            raise CooptrackError(f"--batch: {args.batch} is not a multiple of the {processes.world} processes")
        stage_options = StageOptions(
            steps=args.steps, batch=args.batch, init=args.init, roadside=args.roadside, device=options.device,
            seed=options.seed, rank=processes.rank, world=processes.world, changes=tuple(args.changes),
        )  # fmt: skip
        stage = build(args.stage, args.preset, args.data, stage_options)

        def began(done: int) -> None:
            where = f"goes on after step {done}" if done else "starts"
            print(f"{args.out}: {stage.name} of {args.preset}, {stage.total_steps} steps, {where}", flush=True)

        return train(stage, options, args.out, _settings(args), args.command_line, began)


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """What decides the run beside the options of the loop, by option."""
    paths = {name: getattr(args, name) for name in ("data", "init", "roadside")}
    named = {name: None if path is None else str(path.resolve()) for name, path in paths.items()}
    settings = {"--preset": args.preset, **{f"--{name}": path for name, path in named.items()}, "--batch": args.batch}
    return settings | {"--set": ", ".join(sorted(args.changes))}


def _kept(out: Path) -> str:
    """What is left of a run that did not come to its end."""
    from cooptrack_core.training.run_store import last_checkpoint

    step = last_checkpoint(out)
    return f"{out} is kept up to step {step}" if step else f"{out} has no checkpoint yet"


def _print(args: argparse.Namespace, result: Result) -> None:
    score = "nothing was evaluated" if result.score is None else f"score {result.score:.4f}"
    before = ", all done before" if result.already else ""
    print(f"{args.stage}: {result.steps} steps{before}; best after step {result.best_step}: {score}")
    for file in result.files:
        print(f"weights: {file}")


class _Terminated(KeyboardInterrupt):
    """SIGTERM."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Inside, SIGTERM ends the command as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
