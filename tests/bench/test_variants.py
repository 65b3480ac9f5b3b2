"""Series of variants: what is read, run, resumed, compared and written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.variants.__main__ import main, plan
from bench.variants.page import section
from bench.variants.results import collect
from bench.variants.runs import Run
from bench.variants.series import Series, Variant, read_series
from feedline import Dataset, InputError
from tests.small_train import BOUND

ROOT = Path(__file__).parents[2]
SMALL = (sys.executable, "-m", "tests.small_train")
BASE = "split = 'official'\nimage-size = 16\nbatch-size = 16\nepochs = 2\nlabel-smoothing = 0.1\ndevice = 'cpu'\n"


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small trainer is a module of the tests."""
    monkeypatch.chdir(ROOT)


Write = Callable[[str], Path]


@pytest.fixture
def series(tmp_path: Path, dataset: Dataset) -> Write:
    """Writes a series on the small sample, from its variants."""

    def write(variants: str) -> Path:
        path = tmp_path / "rates.toml"
        path.write_text(f"seeds = [0, 1]\n[base]\ndata = '{dataset.root}'\n{BASE}{variants}")
        return path

    return write


def test_variants_train_and_are_compared(series: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = series(
        "[[variant]]\nname = 'base'\n[[variant]]\nname = 'bad'\nnote = 'too high'\nmax-lr = 1e30\nlog-every = 1\n"
        "[[variant]]\nname = 'low'\nmax-lr = 1e-6\naugment = ['pad-crop:2']\n"
    )
    words = [str(file), "--out", str(tmp_path / "out"), "--seeds", "3"]
    assert main(words, train=SMALL) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in out if line.startswith("seed ")] == [["3", n] for n in ("base", "bad", "low")]
    content = json.loads((tmp_path / "out" / "variants.json").read_text())
    base, bad, low = content["results"]
    assert [run["seed"] for run in base["runs"]] == content["seeds"] == [3]
    assert low["settings"]["augment"] == ["pad-crop:2"]
    assert low["difference"] == pytest.approx(low["mean"]["final_top1"] - base["mean"]["final_top1"], abs=0.01)
    assert low["standard_error"] is None, "one run has no spread"
    assert "loss is not finite" in bad["runs"][0]["problem"]
    assert bad["mean"] == {}
    assert content["images"] == {"train": 96, "val": 32}
    assert not list((tmp_path / "out").rglob("*.pt")), "the weights of complete runs are removed"

    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- variants: rates -->\nold\n<!-- end of variants: rates -->\n\nafter\n")
    assert main([*words, "--markdown", str(page)], train=("never started",)) == 0
    text = page.read_text()
    assert text.startswith("before\n\n<!-- variants: rates -->\n")
    assert text.endswith("<!-- end of variants: rates -->\n\nafter\n")
    assert "old" not in text
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][2:] == [
        "base", "bad", "low"]  # fmt: skip
    assert "| bad | too high; `max-lr = 1e+30`, `log-every = 1` |" in text

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("summary.json")}
    assert main(words, train=("never started",)) == 0, "what is done is not run again"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    file.write_text(file.read_text().replace("max-lr = 1e-6", "max-lr = 1e-5"))
    assert main(words, train=SMALL) == 2
    assert "holds a run with max-lr = 1e-06, now it is 1e-05" in capsys.readouterr().err


def test_seeds_take_turns_over_the_variants(series: Write, tmp_path: Path) -> None:
    runs = plan(read_series(series("[[variant]]\nname = 'a'\n[[variant]]\nname = 'b'\n")), tmp_path)
    assert [(run.seed, run.variant.name) for run in runs] == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
    assert len({run.out for run in runs}) == 4


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_stopped_series_continues_where_it_stood(series: Write, tmp_path: Path) -> None:
    file, hold = series("[[variant]]\nname = 'base'\nlog-every = 1\n"), tmp_path / "hold"
    hold.mkdir()
    words = [str(file), "--out", str(tmp_path / "out"), "--seeds", "0"]
    code = f"from bench.variants.__main__ import main\nimport sys\nsys.exit(main({words}, train={SMALL}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "SMALL_HOLD": f"4:{hold}"}, stderr=subprocess.PIPE, text=True
    )
    until(lambda: any(hold.iterdir()))
    assert main(words, train=SMALL) == 2, "a second series in this folder is refused"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=BOUND)
    assert process.returncode == 130
    assert errors == "bench.variants: stopped and saved; the same command continues\n"
    assert (tmp_path / "out" / "base" / "seed-0" / "last.pt").exists()

    assert main(words, train=SMALL) == 0
    log = (tmp_path / "out" / "base" / "seed-0.log").read_text()
    assert "at epoch 1, step 4 of 6" in log
    steps = [json.loads(line)["step"] for line in (tmp_path / "out/base/seed-0/log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 12], "each step once, each epoch's row once"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_several_runs_at_a_time_have_cores_of_their_own(series: Write, tmp_path: Path) -> None:
    show = "import os, sys; print(sorted(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS']); sys.exit(3)"
    file = series("[[variant]]\nname = 'a'\n[[variant]]\nname = 'b'\n")
    words = [str(file), "--out", str(tmp_path / "out"), "--seeds", "0", "--jobs", "2"]
    before = os.sched_getaffinity(0)
    assert main(words, train=(sys.executable, "-c", show)) == 0
    first, second = sorted(before)[:2]
    results = json.loads((tmp_path / "out" / "variants.json").read_text())["results"]
    assert {row["runs"][0]["problem"] for row in results} == {f"[{first}] 1", f"[{second}] 1"}
    assert os.sched_getaffinity(0) == before
    assert main([*words[:-1], "1000"], train=SMALL) == 2


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ("[[variant]]\nname = 'a'\nmax-lrr = 1", "rates.toml, variant a: unknown key 'max-lrr'; did you mean max-lr?"),
        ("[[variant]]\nname = 'a'\nepochs = 'x'", "rates.toml, variant a: epochs = x: must be a whole number"),
        ("[[variant]]\nname = 'a'\nepochs = 0", "rates.toml, variant a: epochs = 0: must be at least 1"),
        ("[[variant]]\nname = 'a'\nrecipe = 'none'", "rates.toml, variant a: recipe = none: no such recipe"),
        ("[[variant]]\nname = 'a'\nseed = 3", "variant a: seed is not a setting here"),
        ("[[variant]]\nname = 'a'\n[[variant]]\nname = 'a'", "variant a: two variants have this name"),
        ("[[variant]]\nname = '../a'", "needs a name of letters"),
        ("[[variant]]\nepochs = 3", "needs a name of letters"),
        ("wrong = 1\n[[variant]]\nname = 'a'", "rates.toml, [base]: unknown key 'wrong'"),
        ("[[variants]]\nname = 'a'", "unknown key 'variants'; there are seeds, [base] and [[variant]]"),
        ("", "at least one [[variant]]"),
        ("x = ", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_line(
    series: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], variants: str, message: str
) -> None:
    assert main([str(series(variants)), "--out", str(tmp_path / "out")], train=("never started",)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "a,c"], "--only a,c: no variant 'c'; there are a, b"),
        (["--seeds", "0,x"], "must be whole numbers, as 0,1,2"),
        (["--seeds", "1,1"], "must be different numbers"),
        (["--markdown", "page.md"], "holds no complete run"),
        (["--jobs", "0"], "--jobs 0"),
    ],
)
def test_wrong_arguments_are_one_line(
    series: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    file = series("[[variant]]\nname = 'a'\n[[variant]]\nname = 'b'\n")
    assert main([str(file), "--out", str(tmp_path / "out"), *words], train=("never started",)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def finished(variant: Variant, seed: int, out: Path, top1: float) -> Run:
    """A complete run with this final top-1 and twice as much on train."""
    run = Run(variant, seed, out / variant.name / f"seed-{seed}")
    run.out.mkdir(parents=True)
    last: dict[str, Any] = {"epoch": 2, "val_top1": top1, "train_top1": 2 * top1}
    summary = {
        "last": last,
        "best": {**last, "epoch": 1, "val_top1": top1 + 1},
        "seconds": {"train": 60.0, "eval": 1.0},
        "images_per_s": 100.0,
        "hardware": {"torch_threads": 1, "cores": 2, "cpu": "chip"},
        "versions": {"torch": "2.11"},
        "dataset": {"name": "sample"},
        "images": {"train": 1000, "val": 100},
    }
    (run.out / "summary.json").write_text(json.dumps(summary))
    return run


def test_mean_spread_and_difference(tmp_path: Path) -> None:
    base, more = Variant("base", {}, {"epochs": 2}), Variant("more", {"epochs": 3}, {"epochs": 3})
    values = [(base, 0, 10.0), (base, 1, 12.0), (base, 2, 14.0), (more, 0, 21.0), (more, 1, 23.0)]
    runs = [finished(variant, seed, tmp_path, top1) for variant, seed, top1 in values]
    content = collect(Series("s", {"epochs": 2}, [base, more]), runs)
    first, second = content["results"]
    assert (first["mean"]["final_top1"], first["sd"]["final_top1"], first["difference"]) == (12, 2, None)
    assert (second["mean"]["best_top1"], second["mean"]["train_top1"]) == (23, 44)
    assert second["difference"] == 10
    assert second["standard_error"] == pytest.approx((4 / 3 + 2 / 2) ** 0.5, abs=1e-3)
    text = section(content, "the command")
    assert "| base |  | 12.00 ± 2.00 | 13.00 ± 2.00 |  | 24.00 ± 4.00 | 60 | 100 | 3 |" in text
    assert "| more | `epochs = 3` | 22.00 ± 1.41 | 23.00 ± 1.41 | +10.00 ± 1.53 |" in text
    assert "All: `epochs = 2`" in text


def test_marks_that_are_missing_are_named(series: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = series("[[variant]]\nname = 'a'\n")
    finished(read_series(file).variants[0], 0, tmp_path / "out", 5.0)
    page = tmp_path / "page.md"
    page.write_text("<!-- variants: rates -->\nno end")
    assert main([str(file), "--out", str(tmp_path / "out"), "--markdown", str(page)]) == 2
    assert "variants.json does not say the command" in capsys.readouterr().err
    (tmp_path / "out/variants.json").write_text('{"command": "x"}')
    assert main([str(file), "--out", str(tmp_path / "out"), "--markdown", str(page)]) == 2
    assert "needs the lines '<!-- variants: rates -->' and '<!-- end of variants: rates -->'" in capsys.readouterr().err
    assert page.read_text() == "<!-- variants: rates -->\nno end"


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.toml: cannot be read"):
        read_series(tmp_path / "nothing.toml")
