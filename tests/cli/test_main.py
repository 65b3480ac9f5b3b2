"""The command line, as a user calls it."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

from feedline import Dataset
from feedline.model import resnet18
from feedline.pipeline import compiled
from feedline.pipeline.dataset import turbojpeg
from feedline.pipeline.engines import dali
from tests.cli.commands import QUICK, SMALL, refused, run, train
from tests.conftest import convert
from tests.training.conftest import small_model


@pytest.mark.gpu
def test_what_does_not_fit_on_the_gpu_is_left_out_of_the_benchmark(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (1000, 2**33))
    assert run("bench", dataset, "--device", "cuda", "--rounds", "1", "--seconds", "0.05", "--out", "runs/bench") == 0
    assert "store resident: left out, because its " in capsys.readouterr().out
    names = [r["name"] for r in json.loads(Path("runs/bench/bench.json").read_text())["results"]]
    assert "loader raw dali" in names
    assert not any("resident" in name for name in names)


def test_find_train_evaluate_and_measure(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """All steps; each command is the one that the step before suggests."""
    assert run("lrfind", dataset, "--batch-size", "16") == 0
    out = capsys.readouterr().out
    (folder,) = Path("runs").glob("lrfind-*")
    result = json.loads((folder / "lr_range.json").read_text())
    assert set(result["suggestions"]) == {"scaled", "minimum", "steepest", "valley"}
    assert (folder / "lr_range.png").read_bytes()[:4] == b"\x89PNG"
    command = shlex.split(out.splitlines()[-1])
    assert command[:2] == ["python", "train.py"]
    assert "--amp" in command
    assert float(command[command.index("--max-lr") + 1]) == pytest.approx(result["suggestions"]["scaled"], rel=0.01)

    assert train(*command[2:], "--out", "runs/first") == 0
    assert train(*command[2:], "--max-lr", "auto", "--out", "runs/second") == 0
    assert f"scaled of {folder}/lr_range.json" in capsys.readouterr().out
    lrs = [json.loads(Path(f"runs/{r}/summary.json").read_text())["config"]["max_lr"] for r in ("first", "second")]
    assert lrs[0] == pytest.approx(lrs[1], rel=0.01)

    assert run("eval", dataset, "--checkpoint", "runs/first/best.pt", "--out", "runs/eval") == 0
    out = capsys.readouterr().out
    summary = json.loads(Path("runs/first/summary.json").read_text())
    evaluation = json.loads(Path("runs/eval/eval.json").read_text())
    assert evaluation["top1"] == pytest.approx(summary["best"]["val_top1"], abs=1e-3)
    assert evaluation["images"] == 32
    assert f"top-1 {summary['best']['val_top1']:.2f} %" in out
    assert len(Path("runs/eval/per_class.csv").read_text().splitlines()) == 5
    # Flags about training would change nothing, also the old ones that are read into `augment`.
    assert run("eval", dataset, "--checkpoint", "runs/first/best.pt", "--no-flip", "--out", "runs/again") == 2
    assert "--flip: --mode eval does not use it" in capsys.readouterr().err

    assert run("bench", dataset, "--rounds", "2", "--seconds", "0.05", "--out", "runs/bench") == 0
    out = capsys.readouterr().out
    bench = json.loads(Path("runs/bench/bench.json").read_text())
    names = [r["name"] for r in bench["results"]]
    assert names == [f"loader {s} {e}" for s in ("files", "jpeg", "raw") for e in ("dali", "torch")] + [
        "model",
        "together",
    ]
    assert all(len(r["rounds"]) == 2 and min(r["rounds"]) > 0 for r in bench["results"])
    assert bench["verdict"] in out
    assert (
        "\nStore to use here: raw (what --store auto takes), because the raw pack of 1.5 MiB fits" in bench["verdict"]
    )
    assert re.match(r"The (model|loader) is the limit: .*; (for more speed )?try ", bench["verdict"])
    assert (Path("runs/bench/bench.png")).read_bytes()[:4] == b"\x89PNG"


def test_bench_measures_only_the_given_combinations(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "kernels", None)
    argv = ["--store", "jpeg", "--engine", "torch", "--rounds", "1", "--seconds", "0.05", "--out", "b"]
    assert run("bench", dataset, *argv) == 0
    bench = json.loads(Path("b/bench.json").read_text())
    assert [r["name"] for r in bench["results"]] == ["loader jpeg torch", "model", "together"]
    assert bench["versions"]["kernels"] == "numpy and torch"
    assert "kernels are not compiled here" in capsys.readouterr().out


def test_bench_refuses_a_store_or_an_engine_that_is_not_there(
    tiny_source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = convert(tiny_source, Path("raw-only"), "--packs", "raw").root
    monkeypatch.setattr(dali, "problem", lambda: "No module named 'nvidia'")
    for words, what in (("--store jpeg", "pack"), ("--engine dali", "--engine dali: DALI cannot be imported")):
        assert what in refused(capsys, "--mode", "bench", "--data", str(data), *SMALL, *words.split())


@pytest.mark.parametrize(("store", "said"), [("jpeg", True), ("raw", False)])
def test_bench_says_that_jpegs_are_decoded_one_by_one(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, store: str, said: bool
) -> None:
    pytest.importorskip("feedline.pipeline._kernels")
    monkeypatch.setattr(turbojpeg, "functions", lambda: None)
    argv = ["--store", store, "--engine", "torch", "--rounds", "1", "--seconds", "0.05"]
    assert run("bench", dataset, *argv) == 0
    assert ("install libturbojpeg" in capsys.readouterr().out) is said


def test_the_summary_prints_the_table(capsys: pytest.CaptureFixture[str], dataset: Dataset) -> None:
    assert train("--mode", "summary", "--image-size", "224", network=resnet18) == 0
    out = capsys.readouterr().out
    assert "Linear-49                  [-1, 200]         102,600" in out
    assert "Total params: 11,271,432" in out
    assert train("--mode", "summary", "--data", str(dataset.root), network=resnet18) == 0
    assert "[-1, 64, 64, 64]" in capsys.readouterr().out
    line = refused(capsys, "--mode", "summary", "--data", str(dataset.root), "--classes", "5")
    assert line == f"train.py: --classes 5: {dataset.root} has 4 classes"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data", "nowhere"], "no dataset at nowhere (there is no such folder); name the folder that python convert"),
        (["--split", "60-40"], "--split 60-40:"),
        (["--recipe", "mine"], "--recipe mine: no such recipe; there are assignment, best, cpu, cpu-best, default"),
        (["--classes", "5"], "--classes 5:"),
        (["--max-lr", "auto"], "--max-lr auto: no LR range test for this dataset"),
        (["--batch-size", "4096"], "--batch-size 4096: only 96 images"),
        (["--resume", "runs/none"], "--resume runs/none: no such run; runs save theirs as runs/<run>/last.pt"),
        (["--resume"], "no run with a last.pt in runs"),
        (["--lr-range"], "--lr-range: there is no such flag; see --help"),
    ],
)
def test_wrong_input_is_one_clear_line(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    start = ["--mode", "train", "--data", str(dataset.root), *QUICK]
    assert message in refused(capsys, *start, *argv)
    assert not Path("runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), "--device", "cuda")
    assert "--device cuda: torch finds no CUDA GPU here; use --device cpu" in line


def test_model_options_reach_a_network_that_takes_them(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def network(classes: int, *, drop_path: float = 0.0) -> nn.Module:
        seen.append(drop_path)
        return small_model(classes)

    assert run("train", dataset, "--epochs", "1", "--drop-path", "0.3", "--out", "runs/a", network=network) == 0
    assert run("eval", dataset, "--checkpoint", "runs/a/best.pt", "--out", "runs/e", network=network) == 0
    assert seen == [0.3, 0.3], "a checkpoint brings its network's options"
    argv = ["--mode", "train", "--data", str(dataset.root), *QUICK, "--no-head-bias"]
    line = refused(capsys, *argv, network=network)
    assert "--no-head-bias: this network does not take it; leave it out" in line
