"""--mode predict: files to classes, as evaluation sees them."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from feedline import Dataset
from feedline.output import safe_output
from feedline.pipeline.dataset import ClassInfo
from feedline.use.predicting import Prediction
from feedline.use.rows import Rows
from tests.cli.commands import refused, run, train

CPU = ["--device", "cpu"]


def predict(checkpoint: Path, *argv: str) -> int:
    return train("--mode", "predict", "--checkpoint", str(checkpoint), *CPU, *argv)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("flags", [["--no-amp", "--no-tta"], ["--amp", "--tta", "--tta-views", "crops"]])
def test_probabilities_are_those_of_the_evaluation(
    dataset: Dataset, trained: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    """In batches of the same images also to the last digit."""
    assert run("eval", dataset, "--checkpoint", str(trained), *flags, "--out", "e") == 0
    wanted = table(Path("e/predictions.csv").read_text())
    Path("names").write_text("".join(f"{dataset.root / row['path']}\n" for row in wanted))
    capsys.readouterr()
    with Path("names").open() as names, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", names)
        assert predict(trained, "-", "--format", "csv", "--batch-size", "8", *flags) == 0
    got = table(capsys.readouterr().out)
    assert [row["path"] for row in got] == [str(dataset.root / row["path"]) for row in wanted]
    for a, b in zip(got, wanted, strict=True):
        for rank in range(1, 5):
            assert a[f"top{rank}"] == b[f"top{rank}"]
            assert float(a[f"probability{rank}"]) == pytest.approx(float(b[f"probability{rank}"]), abs=2e-6)


def test_folders_files_and_patterns(photos: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(photos, "p")
    Path("p/notes.txt").write_text("no image")
    Path("p/.hidden").mkdir()
    shutil.copy(next(photos.glob("dogs/*.jpg")), "p/.hidden/a.jpg")
    assert predict(trained, "p/dogs", "p/cat food/*.png", "p/dogs/0.jpg", "--format", "jsonl", "--top", "2") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    dogs, cats = sorted(Path("p/dogs").iterdir()), sorted(Path("p/cat food").glob("*.png"))
    assert [row["path"] for row in rows] == [*map(str, dogs), *map(str, cats), "p/dogs/0.jpg"]
    assert [len(row["top"]) for row in rows] == [2] * len(rows)
    assert rows[0]["top"][0]["probability"] >= rows[0]["top"][1]["probability"]
    for out in ("all.csv", "ALL.CSV"):
        assert predict(trained, "p", "--out", out) == 0
        assert capsys.readouterr().out == ""
        assert len(table(Path(out).read_text())) == 24
    assert predict(trained, "p/**/*.png", "--top", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all("%" in line and line.endswith(".png") for line in lines)


def test_the_checkpoint_that_was_found_is_named(
    photos: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody should have to guess which run is the latest."""
    Path("runs/a").mkdir(parents=True)
    shutil.copy(trained / "best.pt", "runs/a/best.pt")
    command = ["--mode", "predict", *CPU, str(photos / "dogs/0.jpg"), "--format", "csv"]
    for flags, named in (([], True), (["--quiet"], False), (["--checkpoint", str(trained)], False)):
        assert train(*command, *flags) == 0
        out, err = capsys.readouterr()
        assert ("predicting with runs/a/best.pt" in err) == named
        assert len(table(out)) == 1
    for mode, out in (("predict", "p.csv"), ("export", "deep/x")):
        argv = ["--to", "torch"] if mode == "export" else [*CPU, str(photos / "dogs/0.jpg")]
        assert train("--mode", mode, *argv, "--out", out) == 0, "its results are not where the runs are"


def test_the_table_has_the_first_synonym_of_a_wordnet_class_and_whole_names_of_others() -> None:
    classes = [ClassInfo(0, "cat, black", "cat, black"), ClassInfo(1, "n02123045", "tabby, tabby cat")]
    row = Rows("table", classes, 2).row(Prediction("a.png", [0, 1], [0.75, 0.25]))
    assert row.split() == ["75.00", "%", "cat,", "black", "25.00", "%", "tabby", "a.png"]


def test_rows_are_read_again_whatever_a_file_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    """Also from a console, which escapes what a terminal would obey."""
    classes, path = [ClassInfo(0, "cat", "cat")], os.fsdecode(b"\x1b \x7f\r\xe9 \xc2\x9b.png")
    row = Prediction(path, [0], [1.0])
    with safe_output():
        print(Rows("jsonl", classes, 1).row(row), end="")
    assert os.fsencode(json.loads(capsys.readouterr().out)["path"]) == os.fsencode(path)
    written = Rows("csv", classes, 1)
    read = list(csv.reader(io.StringIO(written.header() + written.row(row), newline="")))[1]
    assert [os.fsencode(cell) for cell in read] == [os.fsencode(path), b"cat", b"cat", b"1.000000"]


def test_files_that_are_no_images_are_named_and_passed_over(
    photos: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.jpg").write_bytes(b"text")
    good = str(photos / "dogs/0.jpg")
    assert predict(trained, "bad.jpg", good, "gone.png", "--format", "csv") == 0
    out, err = capsys.readouterr()
    assert [row["path"] for row in table(out)] == [good]
    assert "bad.jpg: does not decode" in err
    assert "gone.png: cannot be read (No such file or directory)" in err
    assert "2 of 3 files could not be read" in err
    assert predict(trained, "bad.jpg", "--out", "x.csv") == 1


def test_names_on_stdin_are_any_bytes(
    photos: Path, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = photos / "dogs/0.jpg"
    shutil.copy(good, os.fsdecode(b"\xff.jpg"))
    names = b"\n".join([b"a\0b.jpg", b"x" * 300, b"\xff.jpg", bytes(good), b""])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(names), encoding="utf-8"))
    assert predict(trained, "-", "--out", "x.csv") == 0
    assert Path("x.csv").read_bytes().count(b".jpg,") == 2
    err = capsys.readouterr().err
    assert "b.jpg: cannot be read (embedded null byte)" in err
    assert "xxx: cannot be read (File name too long)" in err
    assert predict(trained, "[" + "x" * 300, str(good)) == 2, "a pattern"


def test_a_pipe_is_written_and_not_replaced(photos: Path, trained: Path) -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert predict(trained, str(photos / "dogs/0.jpg"), "--out", "pipe", "--format", "csv") == 0
        assert Path("pipe").is_fifo()
        assert b"dogs/0.jpg," in os.read(reader, 10_000)
    finally:
        os.close(reader)


def test_a_link_stays_and_its_file_is_written(photos: Path, trained: Path) -> None:
    """Also one to a file that is not there yet, and one that leads to the output, as /dev/stdout does."""
    Path("old").write_text("old")
    Path("here").symlink_to("old")
    Path("there").symlink_to("new")
    with Path("output").open("w") as output:
        Path("stdout").symlink_to(f"/proc/self/fd/{output.fileno()}")
        for name, target in (("here", "old"), ("there", "new"), ("stdout", "output")):
            assert predict(trained, str(photos / "dogs/0.jpg"), "--out", name, "--format", "csv") == 0
            assert Path(name).is_symlink()
            assert "dogs/0.jpg," in Path(target).read_text()
        assert predict(trained, str(photos / "dogs/0.jpg"), "--out", f"/proc/self/fd/{output.fileno()}") == 0
    assert "dogs/0.jpg" in Path("output").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name files, folders or patterns of images, or - for names on stdin"),
        (["empty"], "empty: no image in this folder"),
        (["*.jpg"], "*.jpg: matches no file"),
        (["a.jpg", "--top", "0"], "--top 0: must be at least 1"),
        (["a.jpg", "--epochs", "2"], "--epochs: --mode predict does not use it"),
        (["a.jpg", "--batchsize", "2"], "--batchsize: there is no such flag; did you mean --batch-size?"),
        (["a.jpg", "--out", "empty"], "--out empty: is a folder; name a file"),
        (["a.jpg", "--out", "file/p.csv"], "--out file/p.csv: cannot be written (File exists)"),
        (["a.jpg", "--out", "file/deep/p.csv"], "--out file/deep/p.csv: cannot be written (Not a directory)"),
        (["a.jpg", "--out", "x" * 300], "xxx: cannot be written (File name too long)"),
        (["a.jpg", "--out", "loop"], "--out loop: cannot be written (Too many levels of symbolic links)"),
        (["a.jpg", "--out", "a.jpg"], "--out a.jpg: is there and holds no text; name another file"),
    ],
)
def test_what_cannot_be_done_is_said(
    trained: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    Path("empty").mkdir()
    Path("file").touch()
    if words[-1:] == ["a.jpg"]:
        Image.new("RGB", (8, 8)).save("a.jpg")
    if words[-1:] == ["loop"]:
        Path("loop").symlink_to("loop")
    before = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    line = refused(capsys, "--mode", "predict", "--checkpoint", str(trained), "--device", "cpu", *words)
    assert message in line
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    assert Path("empty").is_dir()


def test_names_are_for_predict_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert "a.jpg: is not the value of a flag" in refused(capsys, "--mode", "eval", "a.jpg")
