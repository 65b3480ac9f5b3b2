"""feedline compare, by the real command, on real runs and on damaged copies of them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from feedline import __main__ as program
from tests.cli.commands import refused, run, train

ROOT = Path(__file__).parents[2]
Compare = Callable[..., tuple[int, list[str]]]


@pytest.fixture(scope="module")
def first(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of 12 steps, with a log line every five steps."""
    out = tmp_path_factory.mktemp("first") / "run"
    assert run("train", dataset, "--log-every", "5", "--certify", "pixels", "--out", str(out)) == 0
    return out


@pytest.fixture
def other(dataset: Dataset) -> Callable[..., Path]:
    """Makes another run like the first, with other flags."""

    def make(*flags: str, out: str = "other") -> Path:
        assert run("train", dataset, "--log-every", "5", *flags, "--out", out) == 0
        return Path(out)

    return make


@pytest.fixture
def copy(first: Path) -> Path:
    """A copy of the first run, to be changed."""
    return Path(shutil.copytree(first, "copy"))


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str]) -> Compare:
    """Runs the command; returns its status and its lines, of errors for status 2."""

    def compared(*runs: Path | str) -> tuple[int, list[str]]:
        capsys.readouterr()
        status = program.main(["compare", *map(str, runs)])
        out, err = capsys.readouterr()
        assert bool(err) == (status == 2)
        assert status != 2 or len(err.splitlines()) == 1
        return status, (err if status == 2 else out).splitlines()

    return compared


def rows(lines: list[str], head: str) -> dict[str, list[str]]:
    """A table: the lines after its head, by their first column."""
    start = next(i for i, line in enumerate(lines) if line.startswith(head))
    return {line.split("  ")[0]: line.split("  ", 1)[1].split() for line in lines[start + 1 :] if "  " in line}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def write_log(folder: Path, content: list[dict[str, Any]], end: str = "") -> None:
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in content) + end)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_name_that_is_too_long(compare: Compare, first: Path) -> None:
    assert compare(first, "x" * 300) == (2, [f"feedline compare: {'x' * 300}: File name too long"])


def test_the_same_run_twice(first: Path, copy: Path, compare: Compare) -> None:
    status, lines = compare(first, copy)
    assert status == 0
    assert lines[:3] == [
        "same stream: images, order, windows and augmentations agree in all 24 steps that both logged",
        "same pixels and labels, to the bit, in all 24 steps for which both certified them",
        "no setting differs",
    ]
    results = rows(lines, "results")
    summary = json.loads((first / "summary.json").read_text())
    assert float(results["val top-1, best epoch"][0]) == pytest.approx(summary["best"]["val_top1"], abs=0.006)
    assert results.keys() == {"val top-1, best epoch", "val top-1, last epoch", "images/s"}


def test_a_run_whose_last_epoch_was_not_evaluated(first: Path, copy: Path, compare: Compare) -> None:
    """As after it was resumed with less patience."""
    edit_json(copy / "summary.json", last={"epoch": 2, "val_top1": None})
    status, lines = compare(first, copy)
    assert status == 0
    assert rows(lines, "results")["val top-1, last epoch"][-1] == "-"


def test_a_run_that_ended_at_once_when_it_was_resumed(first: Path, copy: Path, compare: Compare) -> None:
    """With less patience, behind an epoch whose row does not say that it is the last."""
    log = records(copy)
    end = next(i for i, record in enumerate(log) if record.get("val_top1") is not None)
    write_log(copy, log[: end + 1])
    assert any("copy is not finished" in line for line in compare(first, copy)[1])
    edit_json(copy / "summary.json", last={"epoch": 1, "val_top1": log[end]["val_top1"]})
    assert rows(compare(first, copy)[1], "results")["val top-1, last epoch"][-1] == "1"


def test_other_stores_engines_and_learning_rates_feed_the_same(
    first: Path, other: Callable[..., Path], compare: Compare
) -> None:
    """Only the settings differ; `auto` is shown as what was used."""
    flags = ["--store", "jpeg", "--engine", "dali", "--threads", "2", "--max-lr", "0.01", "--log-every", "3"]
    status, lines = compare(first, other(*flags))
    assert status == 0
    assert lines[0].startswith("same stream: ")
    assert "in all 24 steps" in lines[0]
    assert "pixels" not in lines[1]
    settings = rows(lines[: lines.index(next(line for line in lines if line.startswith("results")))], "settings")
    assert settings["store"] == ["raw", "jpeg"]
    assert settings["engine"] == ["torch", "dali"]
    assert settings["max-lr"][1] == "0.01"
    assert settings.keys() == {"store", "engine", "threads", "max-lr", "log-every", "certify"}


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--seed", "1"], "why: seed 0 and 1"),
        (["--augment", "pad-crop:2,flip"], "why: augment auto-crop,flip and pad-crop:2,flip"),
        (["--split", "70-30", "--classes", "3"], "why: split official and 70-30; classes none and 3"),
        (["--image-size", "24"], "why: image-size 16 and 24"),
        (["--mixup", "0.2", "--mix-prob", "0.5"], "why: mixup 0.0 and 0.2; mix-prob 1.0 and 0.5"),
    ],
)
def test_the_first_step_that_differs_and_why(
    first: Path, other: Callable[..., Path], compare: Compare, flags: list[str], why: str
) -> None:
    status, lines = compare(first, other("--split", "official", *flags))
    assert status == 1
    assert lines[0] == "different stream: step 1 (epoch 1, batch 1 of 12) is the first that differs"
    assert lines[1] == why


def test_a_difference_in_a_later_epoch(other: Callable[..., Path], compare: Compare) -> None:
    mixed = ["--mixup", "0.2", "--mix-until"]
    status, lines = compare(other(*mixed, "1"), other(*mixed, "0.5", out="b"))
    assert status == 1
    assert lines[:2] == [
        "different stream: step 13 (epoch 2, batch 1 of 12) is the first that differs; the 12 before it agree",
        "why: mix-until 1.0 and 0.5",
    ]


def test_a_difference_without_a_setting_that_explains_it(first: Path, copy: Path, compare: Compare) -> None:
    log = records(copy)
    log[1]["stream"][3] = "0123456789abcdef"
    write_log(copy, log)
    status, lines = compare(first, copy)
    assert status == 1
    assert lines[:3] == [
        "different stream: step 9 (epoch 1, batch 9 of 12) is the first that differs; the 8 before it agree",
        "no setting that decides the stream differs",
        "no setting differs",
    ]


def test_batches_of_another_size(first: Path, other: Callable[..., Path], compare: Compare) -> None:
    status, lines = compare(first, other("--batch-size", "16"))
    assert status == 1
    assert lines[0] == "different batches: of 8 and 16 images; steps can only be compared at one batch size"
    assert rows(lines, "settings")["batch-size"] == ["8", "16"]


def test_pixels_that_differ(first: Path, copy: Path, compare: Compare) -> None:
    log = records(copy)
    log[0]["pixels"][1] = "0123456789abcdef"
    write_log(copy, log)
    edit_json(copy / "run.json", engine="dali")
    status, lines = compare(first, copy)
    assert status == 1
    assert lines[0].startswith("same stream: ")
    assert lines[1:3] == [
        "different pixels or labels: step 2 (epoch 1, batch 2 of 12) is the first that differs; the 1 before it agree",
        "why: engine torch and dali",
    ]


def test_a_decoder_that_was_chosen_is_compared_as_what_it_came_to(first: Path, copy: Path, compare: Compare) -> None:
    """Of older versions run.json has only the setting, which meant nothing without a GPU, DALI and image files."""
    about = json.loads((first / "run.json").read_text())
    assert (about["config"]["decode"], about["decode"]) == ("auto", "cpu")
    del about["decode"]
    about["config"]["decode"] = "mixed"
    on_gpu = {**about, "hardware": {**about["hardware"], "device": "cuda"}, "engine": "dali", "store": "jpeg"}
    for other, shown in (
        (about, None),
        (on_gpu, ["cpu", "mixed"]),
        ({**on_gpu, "decode": "cpu"}, None),
        ({**on_gpu, "store": "raw"}, None),
    ):
        (copy / "run.json").write_text(json.dumps(other))
        assert rows([*compare(first, copy)[1], "settings"], "settings").get("decode") == shown


def test_a_run_that_is_not_finished(first: Path, copy: Path, compare: Compare) -> None:
    """What both logged is compared; results of a run that was extended are not shown."""
    write_log(copy, records(copy)[:2])
    status, lines = compare(first, copy)
    assert status == 0
    assert "in all 10 steps that both logged" in lines[0]
    assert lines[-1] == "copy is not finished: step 10 of 24 is logged"
    (copy / "summary.json").unlink()
    assert compare(copy, first) == (0, lines)


def test_a_line_that_is_cut_off_and_one_that_is_there_twice(first: Path, copy: Path, compare: Compare) -> None:
    log = records(copy)
    wrong = {**log[0], "stream": ["0" * 16] * 5}
    write_log(copy, [wrong, *log[:2]], end=json.dumps(log[2])[:60])
    status, lines = compare(first, copy)
    assert status == 0
    assert "in all 10 steps that both logged" in lines[0]


def test_steps_that_a_log_lacks_are_counted(first: Path, copy: Path, compare: Compare) -> None:
    """As after a log was lost and the run resumed: what was not compared is said."""
    write_log(copy, records(copy)[1:])
    status, lines = compare(first, copy)
    assert status == 0
    assert "in all 19 steps that both logged" in lines[0]
    assert lines[2] == "copy: its log has no certificate of 5 steps, the first of them step 1"
    both = (copy, first, first, "--out", "page.html")  # what the log of one run lacks is said once
    assert [line for line in compare(*both)[1] if "no certificate" in line] == [lines[2]]
    assert Path("page.html").read_text().count(lines[2]) == 1
    write_log(copy, [records(first)[0], {"step": 10**12, "epoch": 1}])
    assert "no certificate of 999,999,999,995 steps, the first of them step 6" in compare(first, copy)[1][2]


def test_a_log_without_its_folder(first: Path, other: Callable[..., Path], compare: Compare) -> None:
    """As somebody else sends it: the stream can be compared, the settings are not known."""
    shutil.copy(first / "log.jsonl", "sent.jsonl")
    status, lines = compare(first / "log.jsonl", "sent.jsonl")
    assert status == 0
    assert lines[0].startswith("same stream: ")
    assert len(lines) == 2
    status, lines = compare("sent.jsonl", other("--seed", "1"))
    assert status == 1
    assert lines == [
        "different stream: step 1 (epoch 1, batch 1 of 12) is the first that differs",
        "the settings of sent.jsonl are not known: there is no run.json beside the log",
    ]


def damage(line: int) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        lines = (folder / "log.jsonl").read_text().splitlines()
        lines[line] = lines[line][:40]
        (folder / "log.jsonl").write_text("\n".join(lines) + "\n")

    return cut


def changed(**changes: Any) -> Callable[[Path], None]:
    """Changes the second record."""

    def change(folder: Path) -> None:
        log = records(folder)
        log[1] |= changes
        write_log(folder, log)

    return change


def without_certificates(folder: Path) -> None:
    write_log(folder, [{k: v for k, v in record.items() if k != "stream"} for record in records(folder)])


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "absent": (shutil.rmtree, "copy: no such run; name the folder of a training run, or its log.jsonl"),
    "no log": (lambda f: (f / "log.jsonl").unlink(), "copy: holds no log.jsonl; name the folder of a training run"),
    "just started": (lambda f: write_log(f, []), "copy: no step is logged yet"),
    "older": (without_certificates, "copy: its log holds no certificate of the stream: an older version wrote it"),
    "cut line": (damage(1), "copy/log.jsonl: line 2 is damaged (Expecting ',' delimiter"),
    "list": (lambda f: (f / "log.jsonl").write_text("[1]\n"), "copy/log.jsonl: line 1 is no record of a training run"),
    "tiny epoch": (changed(epoch=1e-320), "copy/log.jsonl: line 2 is no record of a training run"),
    "huge step": (changed(step=10**400), "copy/log.jsonl: line 2 is no record of a training run"),
    "no number": (changed(step=True), "copy/log.jsonl: line 2 is no record of a training run"),
    "deep line": (lambda f: (f / "log.jsonl").write_text("[" * 100_000 + "\n1\n"), "copy/log.jsonl: line 1 is damaged"),
    "no step": (changed(step="10"), "copy/log.jsonl: line 2 is no record of a training run"),
    "no words": (changed(stream=["xyz"]), "copy/log.jsonl: line 2 is damaged (stream holds 'xyz', no 16 hexadecimal"),
    "no list": (changed(pixels=3), "copy/log.jsonl: line 2 is damaged (pixels is no list of certificates"),
    "too many": (changed(stream=["0" * 16] * 11), "line 2 is damaged (stream is no list of certificates up to step 10"),
    "bytes": (lambda f: (f / "log.jsonl").write_bytes(b"\xff\xfe{}"), "copy/log.jsonl: cannot be read ("),
    "run.json": (lambda f: (f / "run.json").write_text("{"), "copy/run.json: cannot be read ("),
    "no config": (lambda f: edit_json(f / "run.json", config=3), "copy/run.json: not what a training run writes"),
    "summary": (lambda f: (f / "summary.json").write_text("[]"), "copy/summary.json: not what a training run writes"),
    "no best": (lambda f: edit_json(f / "summary.json", best={}), "copy/summary.json: not what a training run writes"),
    "no last": (lambda f: edit_json(f / "summary.json", last={}), "copy/summary.json: not what a training run writes"),
    "no speed": (lambda f: edit_json(f / "summary.json", images_per_s=None), "not what a training run writes"),
    "version": (lambda f: edit_json(f / "run.json", certificate=99), "their certificates are of versions 1 and 99"),
    "no shared step": (
        lambda f: write_log(f, [{"step": 99, "epoch": 8.25, "stream": ["0" * 16]}]),
        "there is no step that both logged with a certificate",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_compared_is_one_line(
    first: Path, copy: Path, compare: Compare, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(copy)
    status, lines = compare(first, copy)
    assert status == 2
    assert lines[0].startswith("feedline compare: ")
    assert message in lines[0]


def test_several_runs_are_compared_with_the_first(
    first: Path, copy: Path, other: Callable[..., Path], compare: Compare
) -> None:
    status, lines = compare(first, copy, other("--seed", "1"), other("--max-lr", "0.01", out="c"))
    assert status == 1
    assert (
        lines[0] == f"copy and {first}: same stream: images, order, windows and augmentations agree in all 24 steps "
        "that both logged"
    )
    assert f"other and {first}: different stream: step 1 (epoch 1, batch 1 of 12) is the first that differs" in lines
    assert "  why: seed 0 and 1" in lines
    assert rows(lines, "settings")["seed"] == ["0", "0", "1", "0"]
    assert len(rows(lines, "results")["images/s"]) == 4


@pytest.mark.parametrize("names", [["copy"], ["copy"] * 11])
def test_one_run_and_eleven(copy: Path, compare: Compare, names: list[str]) -> None:
    assert compare(*names) == (
        2,
        [
            f"feedline compare: two to 10 runs can be compared; {len(names)} of them "
            f"{'is' if len(names) == 1 else 'are'} named: "
            "give their folders, as runs/a runs/b"
        ],
    )


def test_a_page_of_runs(first: Path, copy: Path, compare: Compare) -> None:
    """Runs that cannot be compared step by step have results and curves too."""
    without_certificates(copy)
    status, lines = compare(first, copy, "--out", "pages/both.html")
    assert status == 1
    assert lines[0].startswith("cannot be compared: copy: its log holds no certificate of the stream")
    assert lines[-1] == "page: pages/both.html"
    page = Path("pages/both.html").read_text()
    best = json.loads((first / "summary.json").read_text())["best"]
    assert page.count(f">{best['val_top1']:.2f} %<") >= 2
    for text in ("2 runs: run, copy", "cannot be compared: copy", "No setting differs.", "Settings that all share"):
        assert text in page
    assert compare(first, copy, "--out", "folder")[1][-1] == "page: folder/compare.html"
    assert [path.name for path in Path("folder").iterdir()] == ["compare.html"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("copy", "feedline compare: --out copy: holds a training run; choose another folder for the results"),
        ("copy/run.json/x.html", "feedline compare: --out copy/run.json/x.html: cannot be written (File exists)"),
        ("", "feedline compare: --out: its value is empty"),
        ("d.html", "feedline compare: --out d.html: cannot be written (Is a directory)"),
    ],
)
def test_a_page_that_cannot_be_written_is_one_line(
    first: Path, copy: Path, compare: Compare, out: str, message: str
) -> None:
    Path("d.html").mkdir()
    assert compare(first, copy, "--out", out) == (2, [message])
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["copy", "d.html"]


def test_compare_needs_no_torch(first: Path, copy: Path) -> None:
    code = (
        "import sys\nfrom feedline.__main__ import main\n"
        "status = main(['compare', *sys.argv[1:], '--out', 'page.html'])\n"
        "assert 'torch' not in sys.modules\nsys.exit(status)"
    )
    command = [sys.executable, "-c", code, str(first), str(copy.resolve())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert out.startswith("same stream: ")


def test_the_mode_writes_a_page(first: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To a file, or to a folder of its own, with what the command prints and its status."""
    words = ["--mode", "compare", str(first), str(copy)]
    capsys.readouterr()
    assert train(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("same stream: ")
    (page,) = Path("runs").glob("compare-*/compare.html")
    assert lines[-1] == f"page: {page}"
    assert train(*words, "--out", "both.html") == 0
    for file in (page, Path("both.html")):
        assert "2 runs: run, copy" in file.read_text()
    edit_json(copy / "run.json", certificate=99)
    assert train(*words, "--out", "both.html") == 1


def test_the_mode_refuses_what_it_cannot_use(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    compared = ["--mode", "compare", str(copy)]
    assert "two to 10 runs can be compared; 1 of them is named" in refused(capsys, *compared)
    assert "empty: holds no log.jsonl; name the folder" in refused(capsys, *compared, "empty")
    assert "--epochs: --mode compare does not use it" in refused(capsys, *compared, str(copy), "--epochs", "3")
    assert "--out copy: holds a training run" in refused(capsys, *compared, str(copy), "--out", str(copy))
    assert not list(Path("runs").glob("*"))
