"""Loggers: what they are given, what is said of wrong ones, and that their errors end no training."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from tests.cli.commands import refused, run, train

HEAD = "import json\nfrom pathlib import Path\n"
WRITING = f"""{HEAD}
class Writing:
    def write(self, *what):
        with Path("calls.jsonl").open("a") as file:
            file.write(json.dumps(what, default=str) + "\\n")
    def start(self, config, out, step): self.write("start", config, out, step)
    def log(self, step, metrics): self.write("log", step, metrics)
    def end(self, summary): self.write("end", summary)
class Seeing(Writing):
    def image(self, step, name, pixels): self.write("image", step, name, pixels.shape, str(pixels.dtype))
class Failing(Writing):
    def log(self, step, metrics):
        super().log(step, metrics)
        raise ValueError("the server is away")
class NotStarting(Writing):
    def start(self, *_): raise OSError("no key")
class NotMade:
    def __init__(self): raise RuntimeError("no\\nway")
class Half:
    def start(self, *_): ...
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module in the current folder, under a name of its own in each test."""
    monkeypatch.chdir(tmp_path)
    name = f"mine_{abs(hash(request.node.name))}"
    Path(f"{name}.py").write_text(WRITING)
    Path("broken.py").write_text("import not_there_at_all\n")
    return name


def calls() -> list[list[Any]]:
    return [json.loads(line) for line in Path("calls.jsonl").read_text().splitlines()]


def records(out: str) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]


def test_a_logger_gets_what_the_log_has(dataset: Dataset, module: str) -> None:
    flags = ["--log-every", "4", "--out", "runs/a", "--logger", f"{module}:Seeing"]
    assert run("train", dataset, *flags) == 0
    (start, config, out, step), image, *logged, (end, summary) = calls()
    assert (start, out, step, end) == ("start", "runs/a", 0, "end")
    assert (config["recipe"], config["epochs"], config["batch_size"]) == ("demo", 2, 8)
    assert image == ["image", 0, "images/train", [2 + 2 * 18, 2 + 4 * 18, 3], "uint8"]
    assert summary == json.loads(Path("runs/a/summary.json").read_text())
    assert [step for _, step, _ in logged] == [4, 8, 12, 12, 16, 20, 24, 24] == [r["step"] for r in records("runs/a")]
    for record, (_, _, metrics) in zip(records("runs/a"), logged, strict=True):
        if "val_top1" in record:
            assert metrics == {
                "epoch": record["epoch"], "loss/val": record["val_loss"], "top1/val": record["val_top1"]
            }  # fmt: skip
        else:
            assert metrics == {
                "epoch": record["epoch"], "loss/train": record["loss"], "top1/train": record["top1"],
                "lr": record["lr"], "images/s": record["images_per_s_last"], "stall": record["stall"],
            }  # fmt: skip


def test_a_resumed_run_says_where(dataset: Dataset, module: str) -> None:
    """It keeps its loggers, and sends no images a second time."""
    flat = ["--schedule", "trapezoid", "--cooldown", "0", "--epochs", "1", "--logger", f"{module}:Seeing"]
    assert run("train", dataset, *flat, "--out", "runs/a") == 0
    Path("calls.jsonl").unlink()
    assert train("--mode", "train", "--resume", "runs/a", "--epochs", "2") == 0
    start, *logged, _ = calls()
    assert (start[0], start[3]) == ("start", 12)
    assert all(kind == "log" and step > 12 for kind, step, _ in logged)


def test_an_error_in_a_logger_is_said_once_and_ends_nothing(
    dataset: Dataset, module: str, caplog: pytest.LogCaptureFixture
) -> None:
    names = f"{module}:Failing,{module}:Writing"
    assert run("train", dataset, "--log-every", "4", "--out", "runs/a", "--logger", names) == 0
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and "logger" in r.getMessage()]
    assert said == [f"warning: logger {module}:Failing failed, and training goes on (ValueError: the server is away)"]
    kinds = [kind for kind, *_ in calls()]
    assert kinds.count("log") == 2 * 8, "it is called again, and so is the other"
    assert kinds[-2:] == ["end", "end"]


def test_a_run_that_does_not_end_well_ends_its_loggers(dataset: Dataset, module: str) -> None:
    diverging = ["--optimizer", "adam", "--max-lr", "1e30", "--log-every", "2", "--out", "runs/a"]
    assert run("train", dataset, *diverging, "--logger", f"{module}:Writing") == 2
    kind, summary = calls()[-1]
    assert (kind, summary["ended"]["by"]) == ("end", "error")
    assert "not finite" in summary["ended"]["text"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:Logger", "there is no module nowhere (looked for in Python's path and the current folder)"),
        ("broken:Logger", "there is no module not_there_at_all"),
        ("{}:Nothing", "module {} has no Nothing"),
        ("{}:NotMade", "cannot be made (RuntimeError: no"),
        ("{}:Half", "lacks log, end; a logger has start, log, end"),
        ("{}:NotStarting", "cannot start (OSError: no key)"),
        ("{}", "must be module:Class"),
        ("a/b.py:Logger", "must be module:Class"),
    ],
)
def test_what_is_wrong_with_a_logger_is_one_line(
    dataset: Dataset, module: str, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    """Before anything is trained."""
    name, message = name.format(module), message.format(module)
    flags = ["--mode", "train", "--data", str(dataset.root), "--recipe", "demo", "--image-size", "16"]
    capsys.readouterr()
    line = refused(capsys, *flags, "--logger", name, "--out", "runs/a")
    assert f"--logger {name}: {message}" in line
    assert not Path("runs/a/last.pt").exists()
