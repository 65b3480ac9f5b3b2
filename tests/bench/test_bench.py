"""The measurements run and write their results. The figures themselves are not tested."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench import photos, products, scale, stages, step
from bench.peers import __main__ as peers
from bench.peers.contestants import CONTESTANTS
from bench.peers.job import WORKS
from feedline import Dataset, Loader
from tests.model.conftest import needs_kernels


def test_peers_are_measured_in_separate_processes(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.peers.files.installed", lambda module: False)
    words = ["--data", str(dataset.root), "--files", str(tmp_path / "files"), "--out", str(tmp_path / "out")]
    words += ["--only", "ours raw torch,torchvision DataLoader,gather", "--works", "train,pixels", "--batch-size", "16"]
    words += ["--configurations", "fastest", "--no-check"]
    assert peers.main([*words, "--rounds", "2", "--starts", "1", "--seconds", "0.2", "--threads", "1"]) == 0
    for work in ("train", "pixels"):
        results = json.loads((tmp_path / "out" / f"{work}.json").read_text())["results"]
        assert [r["name"] for r in results] == ["torchvision DataLoader", "ours raw torch", "floor: gather"]
        assert all(len(r["rounds"]) == 2 and r["lowest"] <= r["images_per_s"] <= r["highest"] for r in results)
        assert all(r["lowest"] > 0 and r["cpu_us_per_image"] >= 0 and r["memory_mib"] > 10 for r in results)
        assert all("first_batch_s" in r for r in results)
        assert (tmp_path / "out" / f"{work}.png").stat().st_size > 5000
    text = capsys.readouterr().out
    assert "best of ours" in text
    assert "not compared: --no-check" in text


def test_a_missing_peer_is_listed_with_its_install_command(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.peers.job.importlib.util.find_spec", lambda name: None if "ffcv" in name else 1)
    words = ["--data", str(dataset.root), "--files", str(tmp_path / "files"), "--out", str(tmp_path / "out")]
    words += ["--only", "ours raw torch,FFCV raw", "--works", "train", "--batch-size", "16", "--no-check"]
    monkeypatch.setattr(peers, "prepare", lambda dataset, folder, *_: folder.mkdir())
    assert peers.main([*words, "--rounds", "1", "--starts", "1", "--seconds", "0.1", "--threads", "1"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("FFCV raw"))
    assert "not installed; apt install libopencv-dev libturbojpeg0-dev pkg-config" in line


def test_wrong_arguments_are_refused(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(dataset.root), "--out", str(tmp_path), "--files", str(tmp_path)]
    assert peers.main([*words, "--works", "cooking"]) == 2
    assert "--works cooking: choose from train, pixels, photos, conversion" in capsys.readouterr().err
    assert peers.main([*words, "--works", "train,conversion"]) == 2
    assert "--works conversion: needs --source, the image folder to convert" in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "before anything is written"
    assert peers.main(["--data", str(tmp_path / "nowhere")]) == 2
    assert "no dataset at" in capsys.readouterr().err


def test_every_work_has_peers_and_ours() -> None:
    for work in WORKS:
        assert {c.ours for c in CONTESTANTS if work in c.works} == {True, False}


def test_generated_packs_are_read_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["packs", "--folder", str(tmp_path / "made-up"), "--gib", "0.2", "--images", "2048", "--rounds", "1"]
    assert scale.main([*words, "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "packs.json").read_text())["results"]
    assert [row["shuffle"] for row in rows] == ["full", "64 x 256", "16 x 256", "16 x 1024"]
    assert rows[0]["classes_in_a_batch"] > rows[2]["classes_in_a_batch"] > 1
    monkeypatch.setattr(scale, "time", SimpleNamespace(perf_counter=ticking(1.0)))
    whole = len(Loader(tmp_path / "made-up", split="70-30", batch_size=256))
    row = scale.read_packs(tmp_path / "made-up", "full", 10**6, 256)
    assert row["cold_images_per_s"] == whole * 256, "no more than an epoch has"
    pack = tmp_path / "made-up" / "packs" / "raw" / "00000.bin"
    damaged = np.fromfile(pack, dtype=np.uint8)
    damaged.reshape(-1, scale.IMAGE)[:, :8] = 0
    damaged.tofile(pack)
    assert scale.main([*words, "--out", str(tmp_path)]) == 2
    assert "are not those that were written" in capsys.readouterr().err


def ticking(step: float) -> Callable[[], float]:
    """A clock that advances by a fixed time at every reading."""
    return itertools.count(step=step).__next__


@pytest.mark.parametrize(("kind", "ids"), [("order", 4096), ("blocks", 4096), ("plan", 256)])
def test_the_cost_of_planning_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str, ids: int
) -> None:
    monkeypatch.setattr(scale, "time", SimpleNamespace(perf_counter=ticking(0.125)))
    assert scale.main(["plan-alone", "--count", "100000000", "--kind", kind]) == 0
    speed, mib = map(float, capsys.readouterr().out.split())
    assert speed == 3 * ids / 0.625, "three calls in half a second by the clock, which is read once more"
    assert mib < 50, "O(batch), whatever the size"


def test_batches_are_plotted(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "time", SimpleNamespace(perf_counter=ticking(0.004)))
    words = ["batches", "--data", str(dataset.root), "--out", str(tmp_path), "--rounds", "1", "--seconds", "0.01"]
    assert scale.main(words) == 0
    assert (tmp_path / "batches.png").stat().st_size > 5000


def test_stages_are_timed(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "time", SimpleNamespace(process_time=ticking(1.0)))
    words = ["--data", str(dataset.root), "--out", str(tmp_path), "--rounds", "1", "--batches", "2"]
    assert stages.main(words) == 0
    times = json.loads((tmp_path / "stages.json").read_text())["cpu_us_per_image"]
    assert {"jpeg: the same and decode", "DALI: feed jpeg, decode, slice, normalise"} < times.keys()
    images = 2 * min(256, next(iter(dataset.splits.values()))["train"])
    assert set(times.values()) == {round(1e6 / images, 2)}, "a second for two batches"


@needs_kernels
@pytest.mark.parametrize("heap", ["default", "kept"])
def test_a_step_and_its_products_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heap: str) -> None:
    """With the settings that were asked for; the heap is that of the whole process, so it is only noted here."""
    kept = list[str]()
    for program in (step, products):
        monkeypatch.setattr(program, "keep_freed_memory", lambda: kept.append("kept"))
    monkeypatch.setattr(products, "LAYERS", ((64, 64, 1, 3, 1), (64, 128, 4, 1, 2)))
    for program in (step, products):
        program.main(["--sizes", "10,8", "--batch-size", "2", "--rounds", "1", "--heap", heap, "--out", str(tmp_path)])
    assert kept == [heap] * 2 if heap == "kept" else not kept
    steps, layers = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("step", "products"))
    assert [(row["size"], [*row["images_per_s"]]) for row in steps["rows"]] == [
        (size, ["kernels", "torch"]) for size in (10, 8)
    ]
    assert [(row["size"], row["side"]) for row in layers["rows"]] == [(10, 10), (10, 2), (8, 8), (8, 1)]
    assert all(ms["onednn"] > 0 and ms["matrix"] > 0 for row in layers["rows"] for ms in row["ms"].values())
    assert steps["heap"] == layers["heap"] == heap
    for name, content in (("step", steps), ("products", layers)):
        assert content["command"].startswith(f"python -m bench.{name} --sizes 10,8 ")
        assert "cpu" in content["hardware"]
        assert "torch" in content["versions"]


def test_photos_are_drawn(tmp_path: Path) -> None:
    assert photos.main(["--out", str(tmp_path / "photos"), "--images", "3"]) == 0
    assert len(list((tmp_path / "photos").rglob("*.jpg"))) == 3
