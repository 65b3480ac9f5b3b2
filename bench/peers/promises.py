"""The ratios that this project promises, computed round by round."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.peers.race import Entry


@dataclass(frozen=True)
class Promise:
    """One of our loaders is at least so many times as fast as a peer.

    Attributes:
        work: a key of `WORKS`.
        ours, peer: names of contestants.
        at_least: images/s of ours divided by the peer's.
    """

    work: str
    ours: str
    peer: str
    at_least: float


PROMISES = (
    Promise("train", "ours raw torch", "FFCV raw", 8.0),
    Promise("train", "ours jpeg torch", "FFCV jpg", 1.5),
    Promise("train", "ours files torch", "torchvision DataLoader", 4.0),
    Promise("pixels", "ours jpeg torch", "FFCV jpg", 1.0),
)


@dataclass(frozen=True)
class Ratio:
    """What was measured of a promise: median and range over the rounds."""

    promise: Promise
    median: float
    lowest: float
    highest: float

    @property
    def kept(self) -> bool:
        return self.median >= self.promise.at_least

    def summary(self) -> dict[str, Any]:
        promise = self.promise
        return {
            "ours": promise.ours,
            "peer": promise.peer,
            "promised": promise.at_least,
            "median": round(self.median, 2),
            "lowest": round(self.lowest, 2),
            "highest": round(self.highest, 2),
            "kept": self.kept,
        }

    def sentence(self) -> str:
        promise = self.promise
        return (
            f"{promise.ours} is {self.median:.2f} times ({self.lowest:.2f} - {self.highest:.2f}) as fast as "
            f"{promise.peer}: promised {promise.at_least:g}, {'kept' if self.kept else 'NOT KEPT'}"
        )


def ratios(entries: Sequence[Entry], work: str) -> list[Ratio]:
    """The promises about this work whose two contestants were measured."""
    ran = {entry.contestant.name: entry for entry in entries if entry.rounds and not entry.problem}
    found = []
    for promise in PROMISES:
        if promise.work == work and promise.ours in ran and promise.peer in ran:
            pairs = zip(ran[promise.ours].speeds, ran[promise.peer].speeds, strict=True)
            values = [ours / peer for ours, peer in pairs]
            found.append(Ratio(promise, statistics.median(values), min(values), max(values)))
    return found
