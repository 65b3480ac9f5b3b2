"""What holds for all measurements."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import doors, scale
from bench.common import command
from bench.peers.contestants import by_name
from bench.peers.job import Job
from tests.bench.test_bench import ticking
from tests.conftest import convert


def test_the_only_split_is_taken_whatever_it_is_called(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for image in tiny_source.glob("train/*/images/*.JPEG"):
        folder = tmp_path / "source" / image.parts[-3]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder)
    data = convert(tmp_path / "source", tmp_path / "data", "--val-fraction", "0.2")
    assert list(data.splits) == ["80-20"]
    monkeypatch.setitem(doors.DOORS, "plain", (lambda _: {"batch_size": 16}, "plain"))
    assert doors.measure(data.root, ["plain"], 0.01)["raw, plain"] > 0
    images, _ = next(by_name("ours raw torch").make(Job(data.root, tmp_path, "pixels", 16, 1)))
    assert len(images) == 16
    monkeypatch.setattr(scale, "time", SimpleNamespace(perf_counter=ticking(0.004)))
    words = ["batches", "--data", str(data.root), "--out", str(tmp_path), "--rounds", "1", "--seconds", "0.01"]
    assert scale.main(words) == 0


def test_ctrl_c_is_a_line_where_the_same_command_continues(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert command("bench.x", stopped="stopped; the same command continues")(interrupted)() == 130
    assert capsys.readouterr().err == "bench.x: stopped; the same command continues\n"
    with pytest.raises(KeyboardInterrupt):
        command("bench.x")(interrupted)()
