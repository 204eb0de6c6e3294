"""The machine beside the numbers, in one line."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

# Instruction sets that decide how fast a network is, as Linux names them.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
_GPU = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"


def gpu_name() -> str:
    """Name of the GPU that torch would use; empty: none. Asked in another process, so that none of it stays here."""
    done = subprocess.run([sys.executable, "-c", _GPU], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def instruction_sets() -> list[str]:
    """Those of _FLAGS that the processor has; nothing where the system does not say."""
    return [flag for flag in _FLAGS if flag in _cpuinfo("flags", "Features").split()]


def machine_line(gpu: str) -> str:
    """Processor, cores, instruction sets, versions, GPU."""
    import importlib.metadata

    cpu = _cpuinfo("model name") or platform.processor() or platform.machine()
    sets = ", ".join(instruction_sets()) or "instruction sets unknown"
    torch = f"torch {importlib.metadata.version('torch')}"
    return f"{cpu}, {os.cpu_count()} cores ({sets}); Python {platform.python_version()}, {torch}; {gpu or 'no GPU'}"


def peak_memory_mb(pid: int | str = "self") -> float:
    """Of a process. Its resource usage would hold that of the process that started it as well."""
    path = Path(f"/proc/{pid}/status")
    lines = path.read_text().splitlines() if path.is_file() else []
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return kilobytes[0] / 1024 if kilobytes else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpuinfo(*keys: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    found = [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() in keys]
    return found[0] if found else ""
