"""The process of one contestant: starts it, then measures a round for each line it is sent."""

import json
import os
import sys
import time
from pathlib import Path

import psutil

from bench.memory import held_mib
from bench.peers.contestants import Job, by_name


def tree() -> tuple[float, float]:
    """CPU seconds so far and memory held, in MiB, of this process and its children."""
    me = psutil.Process()
    seconds, mib = 0.0, 0.0
    for process in [me, *me.children(recursive=True)]:
        times = process.cpu_times()
        seconds += times.user + times.system
        mib += held_mib(process.pid)
    return seconds, mib


def main() -> None:
    name, job = sys.argv[1], json.loads(sys.argv[2])
    out = sys.stdout
    sys.stdout = sys.stderr  # contestants may print
    batches = by_name(name).make(Job(**{**job, "data": Path(job["data"]), "files": Path(job["files"])}))
    next(batches)
    say = {"first_batch_s": time.time() - float(sys.argv[3])}
    out.write(json.dumps(say) + "\n")
    out.flush()
    for line in sys.stdin:
        seconds = float(line)
        # What was made ahead while others were measured does not count: warm up for a third of the round.
        until = time.perf_counter() + seconds / 3
        while time.perf_counter() < until:
            next(batches)
        images, took, cpu, begun = 0, 0.0, tree()[0], time.perf_counter()
        while took < seconds:  # one batch at least
            images += len(next(batches)[1])
            took = time.perf_counter() - begun
        after, memory = tree()
        say = {"images_per_s": images / took, "cpu_us": (after - cpu) / images * 1e6, "memory_mib": memory}
        out.write(json.dumps(say) + "\n")
        out.flush()
    sys.stderr.close()
    os._exit(0)  # loaders under way have nothing to save


if __name__ == "__main__":
    main()
