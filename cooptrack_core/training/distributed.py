"""One process, or several that `torchrun` started: who this one is, and what they do together."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cooptrack_core.training.stage import StoppedElsewhere
from cooptrack_core.types import CooptrackError

# The first process evaluates and writes while the others wait for it.
_PATIENCE = timedelta(hours=24)


@dataclass(frozen=True)
class Processes:
    """This process among all of a run."""

    rank: int = 0
    world: int = 1
    on_machine: int = 0  # rank among those of this machine, the index of its GPU

    @property
    def first(self) -> bool:
        """The one that writes, evaluates and talks."""
        return self.rank == 0


def this_process() -> Processes:
    """By what torchrun says in the environment; without it the only one."""
    try:
        rank, world, on_machine = (
            int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
    except ValueError as error:
        raise CooptrackError(f"environment: RANK, WORLD_SIZE, LOCAL_RANK: {error}; start with torchrun") from None
    return Processes(rank, world, on_machine)


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Inside, the processes of a run can talk to each other; nothing happens where there is only one."""
    processes = this_process()
    if device.type == "cuda":
        torch.cuda.set_device(processes.on_machine)
    if processes.world == 1 or dist.is_initialized():
        yield processes
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    yield processes
    # After an error this could wait for processes that are gone. What still holds the group goes before it, and nobody
    # leaves while another still talks: under load a process has been seen to abort in its threads otherwise.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


@contextlib.contextmanager
def all_or_none(device: torch.device) -> Iterator[None]:
    """Ends when every process has come to its end; what goes wrong in one of them is StoppedElsewhere in the others.

    Without it they would wait for ever, or end with errors that explain nothing.
    """
    try:
        yield
    except Exception:
        _anywhere(True, device)
        raise
    if _anywhere(False, device):
        raise StoppedElsewhere("another process had to stop")


def _anywhere(here: bool, device: torch.device) -> bool:
    """Whether it is so in any process; every process asks at the same time."""
    if not dist.is_initialized():
        return here
    flag = torch.tensor(float(here), device=device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


def replicated(network: nn.Module, device: torch.device) -> nn.Module:
    """The network as its losses are to be asked for: gradients are averaged over the processes, if there are more."""
    if not dist.is_initialized():
        return network
    devices = [torch.cuda.current_device()] if device.type == "cuda" else None
    # Some parameters get no gradient in some steps, a few never (spec 7.4).
    return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=True)


def without_exchange(network: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Inside, gradients stay in this process: for all micro-batches of a step but the last."""
    if isinstance(network, DistributedDataParallel):
        return network.no_sync()
    return contextlib.nullcontext()


__all__ = ["Processes", "all_or_none", "joined", "replicated", "this_process", "without_exchange"]
