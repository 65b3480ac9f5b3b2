"""How many cores this process may use: fewer than the machine has in a container, or below `taskset`."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath


def available_cores(process: Path = Path("/proc/self")) -> int:
    """Cores that this process may use: by its affinity, and by the CPU quota of its control group, rounded up.

    Args:
        process: its folder in /proc. Where there is none, as on macOS, no control group is known.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = (quota for group in _groups(process) if (quota := _quota(group)) is not None)
    return max(min(cores, math.ceil(min(quotas, default=cores))), 1)


def _groups(process: Path) -> Iterator[Path]:
    """The folders of the control groups that limit a process: its own and those around it, of version 1 and 2.

    See cgroups(7) on `/proc/self/cgroup`, and proc_pid_mountinfo(5).
    """
    paths: dict[str, str] = {}  # {controller: the group's path}; version 2 has no controller in its line
    with suppress(OSError, ValueError):
        for line in (process / "cgroup").read_text(errors="replace").splitlines():
            _, controllers, path = line.split(":", 2)
            paths |= dict.fromkeys(controllers.split(","), path)
        for line in (process / "mountinfo").read_text(errors="replace").splitlines():
            fields, _, kind = line.partition(" - ")
            root, mounted_at = fields.split()[3:5]
            file_system, _, options = kind.split()[:3]
            if file_system == "cgroup2" and "" in paths:
                yield from _with_parents(Path(mounted_at), root, paths[""])
            elif file_system == "cgroup" and "cpu" in options.split(",") and "cpu" in paths:
                yield from _with_parents(Path(mounted_at), root, paths["cpu"])


def _with_parents(mounted_at: Path, root: str, path: str) -> Iterator[Path]:
    """The folder of a group in a file system whose top folder is the group `root`, and those above it."""
    group = PurePosixPath(path)
    # In a container the path may be the host's, and the container's own group the top folder.
    inside = group.relative_to(root) if group.is_relative_to(root) and ".." not in group.parts else PurePosixPath()
    yield from (mounted_at / parent for parent in (inside, *inside.parents))


def _quota(group: Path) -> float | None:
    """Cores that a control group grants; None if it has no limit."""
    with suppress(OSError, ValueError):
        if (limit := group / "cpu.max").exists():  # version 2: `max 100000`, or `150000 100000`
            quota, period = limit.read_text().split()
            return int(quota) / int(period) if quota != "max" and int(period) > 0 else None
        microseconds = int((group / "cpu.cfs_quota_us").read_text())  # version 1: -1 for no limit
        period_us = int((group / "cpu.cfs_period_us").read_text())
        return microseconds / period_us if microseconds > 0 and period_us > 0 else None
    return None
