"""The process of one contestant. Starts it, then measures a round for each line on standard input."""

import json
import multiprocessing
import os
import sys
import time
from typing import TextIO

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


def redirect_stdout() -> TextIO:
    """Contestants and their worker processes may print: that goes to stderr. Returns the way to the parent."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def leave() -> None:
    """Ends this process and those of its loader, which have nothing to save."""
    sys.stderr.close()
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(0)


def main() -> None:
    out = redirect_stdout()
    batches = by_name(sys.argv[1]).make(Job.parse(sys.argv[2]))
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
    leave()


if __name__ == "__main__":
    main()
