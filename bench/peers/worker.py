"""The process of one contestant. Starts it, then measures a round for each line on standard input."""

import json
import os
import sys
import time
from pathlib import Path

import psutil

from bench.memory import resident_mib
from bench.peers.contestants import by_name
from bench.peers.job import Job


def usage() -> tuple[float, float]:
    """CPU seconds so far and memory in MiB, of this process and its children."""
    this = psutil.Process()
    seconds, mib = 0.0, 0.0
    for process in [this, *this.children(recursive=True)]:
        times = process.cpu_times()
        seconds += times.user + times.system
        mib += resident_mib(process.pid)
    return seconds, mib


def main() -> None:
    name, job = sys.argv[1], json.loads(sys.argv[2])
    out = sys.stdout
    sys.stdout = sys.stderr  # contestants may print
    batches = by_name(name).make(Job(**{**job, "data": Path(job["data"]), "files": Path(job["files"])}))
    next(batches)
    answer = {"first_batch_s": time.time() - float(sys.argv[3])}
    out.write(json.dumps(answer) + "\n")
    out.flush()
    for line in sys.stdin:
        seconds = float(line)
        # Warm up for a third of the round: batches prefetched while others were measured must not count.
        until = time.perf_counter() + seconds / 3
        while time.perf_counter() < until:
            next(batches)
        images, elapsed, cpu, started = 0, 0.0, usage()[0], time.perf_counter()
        while elapsed < seconds:  # at least one batch
            images += len(next(batches)[1])
            elapsed = time.perf_counter() - started
        cpu_after, memory = usage()
        answer = {"images_per_s": images / elapsed, "cpu_us": (cpu_after - cpu) / images * 1e6, "memory_mib": memory}
        out.write(json.dumps(answer) + "\n")
        out.flush()
    sys.stderr.close()
    os._exit(0)  # running loaders have nothing to save


if __name__ == "__main__":
    main()
