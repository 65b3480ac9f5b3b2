"""Memory of a process that the system cannot drop."""

from pathlib import Path


def held_mib(process: "int | str" = "self") -> float:
    """Anonymous and shared pages in MiB, each divided by those who share it; pages of files do not count.

    Args:
        process: its id, or `self`.
    """
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    fields = dict(line.split(":", 1) for line in lines)
    return sum(int(fields[key].split()[0]) for key in ("Pss_Anon", "Pss_Shmem") if key in fields) / 1024
