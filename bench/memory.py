"""Memory of a process that the system cannot reclaim."""

from pathlib import Path


def resident_mib(process: "int | str" = "self") -> float:
    """Anonymous and shared memory in MiB; a page shared by n processes counts 1/n. Pages of files do not count.

    Args:
        process: a process id, or `self`.
    """
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    fields = dict(line.split(":", 1) for line in lines)
    return sum(int(fields[key].split()[0]) for key in ("Pss_Anon", "Pss_Shmem") if key in fields) / 1024
