"""The machine: what it is, how busy it is, how much memory this process has had."""

import os
import platform
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")  # these three exist on Linux only
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_CPUS = Path("/proc/cpuinfo")

#: Cores that others may use while we measure.
BUSY_CORES = 0.25


def cpu_name() -> str:
    if _CPUS.exists():
        for line in _CPUS.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


@dataclass(frozen=True, slots=True)
class CpuTime:
    """A moment, to tell how much of the CPU others used since."""

    wall: float  # s
    busy: float | None  # s of all cores, since boot; None if the system does not say
    own: float  # s of this process

    @classmethod
    def now(cls) -> "CpuTime":
        return cls(time.monotonic(), _busy_seconds(), time.process_time())

    def others_since(self) -> float | None:
        """Cores used by other processes on average since then, None if unknown."""
        now = CpuTime.now()
        if now.busy is None or self.busy is None or now.wall == self.wall:
            return None
        return max(0.0, (now.busy - self.busy - (now.own - self.own)) / (now.wall - self.wall))


def _busy_seconds() -> float | None:
    if not _STAT.exists():
        return None
    user, nice, system, _, _, *interrupts = (int(v) for v in _STAT.read_text().split("\n", 1)[0].split()[1:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def others_now(seconds: float = 3.0) -> float:
    """Cores that others use, watched for some seconds; where that is unknown, the load average."""
    start = CpuTime.now()
    time.sleep(seconds)
    others = start.others_since()
    return load_average() if others is None else others


def reset_peak_memory() -> None:
    """Forget the peak of loading, where the system can (Linux); elsewhere the peak stays what it was."""
    with suppress(OSError):  # absent, or not allowed in this container
        _CLEAR.write_text("5")


def peak_memory() -> int:
    """The most memory that this process has had resident (bytes)."""
    if _STATUS.exists():  # ru_maxrss would include the process that started this one
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
