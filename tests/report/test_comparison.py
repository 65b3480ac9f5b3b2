"""Several runs on one page: of other lengths and datasets, unfinished, without settings."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from feedline.report.comparison import comparison_page, short_names
from feedline.training.plots import _best_of_val
from feedline.training.recorded import RecordedRun, read_run
from tests.report.test_page import Links


def write_run(folder: Path, *, epochs: int = 3, batches: int = 10, done: bool = True, **config: Any) -> RecordedRun:
    """A run whose val top-1 is 10 %, 20 %, ... after its epochs, each of which takes 100 s."""
    folder.mkdir(parents=True)
    records: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        for step in range((epoch - 1) * batches + 1, epoch * batches + 1):
            speeds = {"images_per_s": 80.0, "images_per_s_last": 80.0 + step % 3}
            records.append({"step": step, "epoch": step / batches, "lr": 1e-3 / step, "stall": 0.1, **speeds})
        losses = {"train_loss": 2 / epoch, "val_loss": 3 / epoch}
        top = {"train_top1": 12.0 * epoch, "val_top1": 10.0 * epoch, "val_top5": 11.0 * epoch}
        rest = {"images_per_s": 80.0, "stall": 0.1, "seconds": 100.0 * epoch}
        records.append({"step": epoch * batches, "epoch": epoch, **losses, **top, **rest})
    about = {
        "steps": epochs * batches if done else 10 * epochs * batches,
        "config": {"batch_size": 8, "split": "official", "classes": None} | config,
        "dataset": {"name": "birds", "fingerprint": "0" * 64},
        "hardware": {"device": "cpu"},
        "versions": {},
    }
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "run.json").write_text(json.dumps(about))
    if done:
        best = {"epoch": epochs, "val_top1": 10.0 * epochs}
        (folder / "summary.json").write_text(json.dumps({**about, "best": best, "last": best, "images_per_s": 80.0}))
    return read_run(str(folder))


def with_balanced(run: RecordedRun, shares: Sequence[float] = (33.33,) * 9) -> RecordedRun:
    """The same run, of a dataset whose classes differ in size, with the balanced accuracy of its epochs."""
    folder = Path(run.name)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    left = iter(shares)
    lines = [json.dumps(row | ({"val_balanced": next(left)} if "val_top1" in row else {})) for row in records]
    (folder / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return read_run(run.name)


def html(runs: list[RecordedRun]) -> str:
    return comparison_page(runs, [("same stream: in all",)] * (len(runs) - 1), [], [], [("seed", "0")]).html()


def cells(page: str, name: str) -> list[str]:
    """The cells of a run in the table of results."""
    row = next(row for row in page.split("<tr>") if f"</i>{name}</td>" in row)
    return re.findall(r"<td[^>]*>(.*?)</td>", row)[1:]


def test_results_of_runs_of_other_lengths(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", epochs=5), write_run(tmp_path / "c", done=False)]
    page = html(runs)
    assert cells(page, "a") == ["30.00 %", "3", "33.00 %", "30.00 %", "80", "10.0 %", "5\xa0min\xa00\xa0s", "3", ""]
    assert cells(page, "b")[:2] == ["50.00 %", "5"]
    assert cells(page, "c")[-1].split() == ["at", "step", "30", "of", "300"]
    assert "best val top-1: b, epoch 5" in page


def test_the_best_epoch_is_the_one_that_the_run_chose(tmp_path: Path) -> None:
    """By balanced accuracy, where the classes have weights."""
    weighted = [
        with_balanced(write_run(tmp_path / name, class_weights="balanced"), shares)
        for name, shares in (("a", (20, 40, 30)), ("b", (20, 10, 30)))
    ]
    page = html(weighted)
    assert cells(page, "a")[:4] == ["20.00 %", "2", "22.00 %", "40.00 %"]
    assert "best val balanced accuracy: a, epoch 2" in page
    plain = with_balanced(write_run(tmp_path / "c"), (50, 40, 30))
    assert "best val top-1 of the best epochs: c, epoch 3" in html([weighted[0], plain])
    assert _best_of_val(weighted[0].best, "val_balanced") == "val, 20.00 % in epoch 2, best by balanced accuracy"


def test_runs_on_other_images_have_no_best(tmp_path: Path) -> None:
    page = html([write_run(tmp_path / "a"), write_run(tmp_path / "b", classes=2)])
    assert "birds official; birds official, 2 classes: accuracy and loss on other images do not compare" in page
    assert "best val top-1" not in page


def test_a_run_before_its_first_evaluation_and_a_log_alone(tmp_path: Path) -> None:
    whole, begun, alone = write_run(tmp_path / "a"), write_run(tmp_path / "b"), write_run(tmp_path / "c")
    lines = (tmp_path / "b/log.jsonl").read_text().splitlines()
    (tmp_path / "b/log.jsonl").write_text("\n".join(lines[:4]) + "\n")
    for name in ("run.json", "summary.json"):
        (tmp_path / "c" / name).unlink()
    page = html([whole, read_run(begun.name), read_run(f"{alone.name}/log.jsonl")])
    assert cells(page, "b")[:4] == ["-", "-", "-", "-"]
    assert cells(page, "c")[0] == "30.00 %"
    assert cells(page, "c")[-1].split() == ["settings", "not", "known"]
    assert "Not known of c" in page


def test_what_an_older_version_wrote(tmp_path: Path) -> None:
    """It left no run.json; summary.json has the settings."""
    write_run(tmp_path / "a")
    (tmp_path / "a/run.json").unlink()
    old = read_run(str(tmp_path / "a"))
    assert cells(html([old, write_run(tmp_path / "b")]), "a")[-1] == ""
    assert old.config["batch_size"] == 8


def test_ten_long_runs_make_a_file_that_needs_nothing_else(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"<b>run {i}", epochs=300, batches=10) for i in range(10)]
    page = html(runs)
    links = Links()
    links.feed(page)
    assert not links.loaded
    assert "<b>run" not in page
    assert "&lt;b&gt;run 9" in page
    assert len(page) < 2_000_000


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["/r/a", "/r/b"], ["a", "b"]),
        (["/x/a", "/y/a", "/y/b"], ["x/a", "y/a", "b"]),
        (["/x/a/log.jsonl", "/x/b/"], ["a", "b"]),
        (["/x/a", "/x/a", "/x/b"], ["a", "a (2)", "b"]),
        (["/a", "/x/a"], ["/a", "x/a"]),
    ],
)
def test_runs_are_called_by_what_tells_them_apart(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short


def test_balanced_accuracy_is_shown_where_classes_differ_in_size(tmp_path: Path) -> None:
    even, other = write_run(tmp_path / "even"), write_run(tmp_path / "other")
    assert "its balanced" not in html([even, other])
    page = html([with_balanced(even), other])
    assert "its balanced" in page
    assert ">33.33 %<" in page
