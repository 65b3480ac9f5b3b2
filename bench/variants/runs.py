"""One run of a series: its folder, its command, and what came of it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.variants.series import Variant
from feedline.cli.flags import as_words
from feedline.cli.same_command import FREE_ON_RESUME
from feedline.pipeline.errors import InputError
from feedline.pipeline.files import plain, write_json

ROOT = Path(__file__).parents[2]
TRAIN = (sys.executable, str(ROOT / "train.py"))
WEIGHTS = ("last.pt", "previous.pt", "best.pt")


@dataclass(frozen=True)
class Run:
    """A variant with a seed.

    Attributes:
        variant, seed: what is trained.
        out: the run folder.
        train: the program, before `--mode train`.
    """

    variant: Variant
    seed: int
    out: Path
    train: Sequence[str] = TRAIN

    @property
    def log(self) -> Path:
        """What the trainer prints."""
        return self.out.with_suffix(".log")

    @property
    def _about(self) -> Path:
        return self.out / "variant.json"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            content = json.loads((self.out / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def summary(self) -> dict[str, Any] | None:
        """The run's summary.json; None before it is complete."""
        return self._read("summary.json")

    def problem(self) -> str | None:
        """Why the run failed; None if it did not."""
        about = self._read(self._about.name)
        return None if about is None or self.summary() else about.get("problem")

    def commit(self) -> str | None:
        """The commit that the run was started with."""
        about = self._read(self._about.name)
        return about.get("commit") if about else None

    def is_done(self) -> bool:
        """Whether starting it again would change nothing: it is complete, or it diverged."""
        return self.summary() is not None or bool(self.problem() and (self.out / "nonfinite.json").exists())

    def check(self) -> None:
        """Raises InputError if the folder holds a run with other settings."""
        about = self._read(self._about.name)
        if about is None:
            return
        then, now = about["settings"], plain(self.variant.config(self.seed).flat())
        for name in then.keys() & now.keys() - FREE_ON_RESUME:
            if then[name] != now[name]:
                raise InputError(
                    f"{self.out}: holds a run with {name.replace('_', '-')} = {then[name]}, now it is {now[name]}; "
                    "remove that folder, or give the variant another name"
                )

    def start(self, threads: int) -> "subprocess.Popen[bytes]":
        """Starts the run, or resumes it where it stood.

        Args:
            threads: of torch and of the loader.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        command = [*self.train, *self.words(threads)]
        settings = self.variant.config(self.seed).flat()
        about = {"variant": self.variant.name, "seed": self.seed, "commit": commit(), "settings": settings}
        write_json(self._about, about if self._read(self._about.name) is None else {**about, "commit": self.commit()})
        if (self.out / "last.pt").exists():
            command += ["--resume", str(self.out)]
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C reaches this process alone, which then asks the run to stop and save.
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                start_new_session=True,
                close_fds=False,  # those of `only_one` are passed on; Python makes no others inheritable
            )

    def words(self, threads: int) -> list[str]:
        """The arguments of train.py, without `--resume`."""
        settings = {"threads": threads, **self.variant.settings, "seed": self.seed}
        return ["--mode", "train", "--recipe", self.variant.recipe, "--out", str(self.out), *as_words(settings)]

    def finish(self, status: int) -> None:
        """Notes why a run failed, or removes the weights of a complete one: about 100 MB each.

        Args:
            status: the exit status of the program.
        """
        if self.summary() is not None:
            for name in WEIGHTS:
                (self.out / name).unlink(missing_ok=True)
        elif about := self._read(self._about.name):
            write_json(self._about, {**about, "problem": self._last_line() or f"exit status {status}"})

    def _last_line(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def commit() -> str | None:
    """The commit of this checkout, with a + if files differ from it; None if it is none."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=10", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
