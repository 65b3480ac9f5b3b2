"""Runs the contestants, each in its own process: first their pixels are compared, then they are timed in rounds."""

import contextlib
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import psutil

from bench.peers.agreement import Agreement
from bench.peers.checkset import CheckSet
from bench.peers.files import warm
from bench.peers.job import WORKS, Contestant, Job

CHECK_SECONDS = 180


@dataclass
class Entry:
    """A contestant and its measurements, or the `problem` if it could not run."""

    contestant: Contestant
    agreement: Agreement = field(default_factory=lambda: Agreement(skipped="it did not run"))
    first_batch_s: list[float] = field(default_factory=list)
    rounds: list[dict[str, float]] = field(default_factory=list)
    problem: str = ""

    def median(self, key: str) -> float:
        return statistics.median(r[key] for r in self.rounds)

    @property
    def speeds(self) -> list[float]:
        """Images/s of every round."""
        return [r["images_per_s"] for r in self.rounds]

    def conditions(self, job: Job) -> dict[str, str]:
        """Under which conditions this contestant is measured."""
        contestant = self.contestant
        return {
            "stored as": contestant.reads,
            "decoder": contestant.decoder,
            "runs in": contestant.runs_in.format(threads=job.threads),
            "order": self.agreement.order or ("with replacement" if contestant.replaces else "not compared"),
            "crop": WORKS[job.work].crop,
            "output": self.agreement.output or "not compared",
            "page cache": "warm",
            "pixels": self.agreement.verdict,
        }

    def summary(self, job: Job) -> dict[str, Any]:
        kind = "ours" if self.contestant.ours else "floor" if self.contestant.floor else "peer"
        line: dict[str, Any] = {"name": self.contestant.name, "kind": kind}
        if not self.contestant.floor:
            line |= {"conditions": self.conditions(job), "agreement": self.agreement.summary()}
        if self.problem or not self.rounds:
            return {**line, "problem": self.problem}
        return {
            **line,
            "images_per_s": round(self.median("images_per_s"), 1),
            "lowest": round(min(self.speeds), 1),
            "highest": round(max(self.speeds), 1),
            "cpu_us_per_image": round(self.median("cpu_us"), 2),
            "memory_mib": round(max(r["memory_mib"] for r in self.rounds)),
            "first_batch_s": round(statistics.median(self.first_batch_s), 2),
            "rounds": [round(v, 1) for v in self.speeds],
        }


class Running:
    """The process of a contestant."""

    def __init__(self, entry: Entry, job: Job) -> None:
        self.entry = entry
        words = [entry.contestant.name, job.text(), repr(time.time())]
        command = [sys.executable, "-m", "bench.peers.worker", *words]
        self.log = (job.files / "log.txt").open("ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )

    def read_answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"exit status {self.process.wait()}; see {self.log.name}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def measure(self, seconds: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        self.entry.rounds.append(self.read_answer())
        settle(psutil.Process(self.process.pid))

    def stop(self) -> None:
        assert self.process.stdin is not None
        if self.entry.problem:
            _kill(self.process)
        with contextlib.suppress(BrokenPipeError):  # it died, and a line for it is left
            self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            _kill(self.process)
        self.log.close()


def agree(entries: list[Entry], job: Job, check: CheckSet | str) -> None:
    """Compares every contestant's pixels on the check set. Who differs is marked, and timed nevertheless."""
    for entry in entries:
        if entry.problem or entry.contestant.floor:
            continue
        if isinstance(check, str):
            entry.agreement = Agreement(skipped=check)
            continue
        print(f"comparing pixels: {entry.contestant.name}", file=sys.stderr)
        entry.agreement = _check(entry.contestant, Job(check.data, check.files, job.work, job.batch_size, job.threads))


def _check(contestant: Contestant, job: Job) -> Agreement:
    command = [sys.executable, "-m", "bench.peers.checker", contestant.name, job.text()]
    log = job.files / "log.txt"
    with log.open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            answer, _ = process.communicate(timeout=CHECK_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)
            return Agreement(problem=f"not two epochs of the check set in {CHECK_SECONDS} s; see {log}")
    if not answer:
        return Agreement(problem=f"the comparison failed with exit status {process.returncode}; see {log}")
    return Agreement(**json.loads(answer))


def settle(process: psutil.Process, *, still: float = 0.1, share: float = 0.05, most: float = 5.0) -> None:
    """Waits until a process and those that it started no longer work, so that they do not slow down who comes next.

    Worker processes fill their queues after a round.

    Args:
        process: of a contestant whose round is over.
        still: seconds for which it is watched.
        share: of a core that is no work.
        most: seconds after which it is left as it is.
    """
    until = time.monotonic() + most
    before = _cpu_seconds(process)
    while time.monotonic() < until:
        time.sleep(still)
        now = _cpu_seconds(process)
        if now - before <= share * still:
            return
        before = now


def _cpu_seconds(process: psutil.Process) -> float:
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def _kill(process: subprocess.Popen[str]) -> None:
    """Kills a process and those that it started."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.kill()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def compete(entries: list[Entry], job: Job, *, rounds: int, starts: int, seconds: float) -> None:
    """Measures all entries. If one fails, its `problem` is set."""
    ready: list[Running] = []
    folders = [job.data, job.files]
    for number in range(starts):
        warm(folders)
        for entry in entries:
            if entry.problem:
                continue
            running = Running(entry, job)
            try:
                entry.first_batch_s.append(running.read_answer()["first_batch_s"])
            except RuntimeError as error:
                entry.problem = str(error)
            if number == starts - 1 and not entry.problem:
                ready.append(running)
            else:
                running.stop()
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        warm(folders)
        for running in ready:
            if not running.entry.problem:
                try:
                    running.measure(seconds)
                except (RuntimeError, OSError) as error:
                    running.entry.problem = str(error)
    for running in ready:
        running.stop()
