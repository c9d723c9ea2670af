"""The machine that this process runs on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def usable_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident_mib() -> float | None:
    """Return the memory that this process holds now, in MiB, or ``None`` where the system does not tell."""
    return _status_mib("VmRSS")


def peak_resident_mib() -> float:
    """Return the most memory that this process has held, in MiB, since :func:`forget_peak` if that could be done."""
    # Linux's ru_maxrss is handed down by the process that started this one; VmHWM is this program's own.
    peak = _status_mib("VmHWM")
    if peak is not None:
        return peak
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if platform.system() == "Darwin" else most / 2**10


def forget_peak() -> bool:
    """Let :func:`peak_resident_mib` begin anew, and return whether this system can do that; Linux can.

    Source:
        ``/proc/PID/clear_refs`` in proc(5), https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return _status_mib("VmHWM") is not None


def _status_mib(key: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(found[0]) / 1024 if found else None
