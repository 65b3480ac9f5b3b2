"""Several ranks, as real processes with gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._C._distributed_c10d import HashStore

from feedline import Dataset
from feedline.cli.main import main
from feedline.training import checkpoint
from feedline.training.ranks import Agreement, Ranks, joined
from tests.training.conftest import small_model

BOUND = 300.0  # seconds after which a test gives up
CERTIFICATES = ("stream", "pixels")
ANY_MODE = ["--recipe", "demo", "--image-size", "16", "--device", "cpu", "--split", "70-30", "--threads", "1"]
FLAGS = [*ANY_MODE, "--batch-size", "16", "--epochs", "2", "--log-every", "1", "--ema", "0.9", "--certify", "pixels"]


def start(
    ranks: int, *argv: str, mode: str = "train", torchrun: tuple[str, ...] = (), **environment: str
) -> "subprocess.Popen[str]":
    """Starts `torchrun ... train.py --mode ...` with the small network, or without torchrun for no ranks."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *torchrun] if ranks else []
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, *launch, "-m", "tests.small_train", "--mode", mode, *argv]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: Any, status: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=BOUND)
    assert process.returncode == status, (out, err)
    return out, err


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def watched(folder: Path, ranks: int) -> list[dict[str, Any]]:
    """The global batches in order, joined from the shares of the ranks."""
    shares = [[json.loads(line) for line in (folder / f"{r}.jsonl").read_text().splitlines()] for r in range(ranks)]
    batches: list[dict[str, Any]] = []
    for turn in range(max(map(len, shares))):
        parts = [share[turn] for share in shares if turn < len(share)]
        batches.append({key: [v for part in parts for v in part[key]] for key in ("ids", "window", "flip")})
    return batches


def wait_for(paths: list[Path], process: Any) -> None:
    deadline = time.monotonic() + BOUND
    while not all(path.exists() for path in paths):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def alone(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a single process. `seen` has the batches of its loaders."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "seen").mkdir()
    run = ["--data", str(dataset.root), *FLAGS, "--out", str(folder / "run")]
    finish(start(0, *run, SMALL_WATCH=str(folder / "seen")))
    return folder


@pytest.mark.parametrize("ranks", [2, 4])
def test_any_number_of_ranks_gives_the_same_result(dataset: Dataset, alone: Path, tmp_path: Path, ranks: int) -> None:
    """The same images, windows, global batches and losses. Only one rank writes files."""
    argv = ["--data", str(dataset.root), *FLAGS, "--out", str(tmp_path / "run")]
    (tmp_path / "seen").mkdir()
    out, _ = finish(start(ranks, *argv, SMALL_WATCH=str(tmp_path / "seen")))
    assert out.count("best val top-1") == 1
    assert f"{ranks} ranks" in out
    batches = watched(tmp_path / "seen", ranks)
    assert batches == watched(alone / "seen", 1)
    assert sorted(i for b in batches[5:8] for i in b["ids"]) == dataset.ids("70-30", "val").tolist()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == sorted(p.name for p in (alone / "run").iterdir())
    same_training(log_of(tmp_path / "run"), log_of(alone / "run"), 1e-5)


def test_mixed_batches_are_the_same_on_any_number_of_ranks(dataset: Dataset, alone: Path, tmp_path: Path) -> None:
    argv = ["--data", str(dataset.root), *FLAGS, "--mixup", "0.4", "--cutmix", "1", "--mix-prob", "0.8"]
    processes = [start(ranks, *argv, "--out", str(tmp_path / str(ranks))) for ranks in (0, 2)]
    for process in processes:
        finish(process)
    single, double = (log_of(tmp_path / str(ranks)) for ranks in (0, 2))
    same_training(double, single, 1e-5)
    assert single[0]["loss"] != pytest.approx(log_of(alone / "run")[0]["loss"], rel=1e-3), "something is mixed"
    assert all(record.get("top1") is None for record in double)


def same_training(log: list[dict[str, Any]], other: list[dict[str, Any]], rel: float) -> None:
    assert [record["step"] for record in log] == [record["step"] for record in other]
    for record, expected in zip(log, other, strict=True):
        assert ("stream" in record) == ("pixels" in record) == ("val_loss" not in record)
        assert [record.get(name) for name in CERTIFICATES] == [expected.get(name) for name in CERTIFICATES]
        for key in {"loss", "train_loss", "val_loss"} & record.keys():
            assert record[key] == pytest.approx(expected[key], rel=rel)


def test_sizes_by_epoch_give_the_same_result_on_ranks(dataset: Dataset, tmp_path: Path) -> None:
    """Also with norm statistics taken again before each evaluation."""
    sizes = ["--image-size", "16@0,24@1", "--eval-size", "32", "--norm-images", "40", "--eval-every", "2"]
    argv = ["--data", str(dataset.root), *FLAGS, *sizes, "--epochs", "3"]
    for ranks in (0, 2):
        finish(start(ranks, *argv, "--out", str(tmp_path / str(ranks))))
    log, other = [[r for r in log_of(tmp_path / str(ranks)) if r.get("val_loss", 0) is not None] for ranks in (0, 2)]
    same_training(log, other, 1e-5)
    assert [record["epoch"] for record in log if "val_loss" in record] == [2, 3]
    saved = [checkpoint.load(tmp_path / str(ranks) / "last.pt").norms or {} for ranks in (0, 2)]
    assert len(saved[0]) == 4
    for name, statistic in saved[0].items():
        torch.testing.assert_close(statistic, saved[1][name], rtol=1e-4, atol=1e-5)


def test_a_run_is_resumed_on_another_number_of_ranks(dataset: Dataset, alone: Path, tmp_path: Path) -> None:
    """After SIGTERM to torchrun all ranks stop at one step, save, and print how to resume. One process finishes."""
    run, waiting = tmp_path / "run", tmp_path / "waiting"
    waiting.mkdir()
    process = start(2, "--data", str(dataset.root), *FLAGS, "--out", str(run), SMALL_HOLD=f"3:{waiting}")
    wait_for([waiting / "0", waiting / "1"], process)
    assert [record["step"] for record in log_of(run)] == [1, 2]
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=BOUND)
    assert process.returncode != 0
    assert out.count(f"--resume {run}") == 1
    position = checkpoint.load(run / "last.pt").position
    assert (position.epoch, position.step) == (0, 4), "a rank's request in a step takes effect in the next one"
    assert f"resuming {run}" in finish(start(0, "--resume", str(run)))[0]
    same_training(log_of(run), log_of(alone / "run"), 1e-5)


def test_after_a_rank_crashes_all_ranks_are_restarted(dataset: Dataset, alone: Path, tmp_path: Path) -> None:
    """Its error is shown. torchrun restarts all ranks, and they resume from the last checkpoint.

    The certificates of the steps between the last log line and the checkpoint are those of all ranks.
    """
    argv = ["--data", str(dataset.root), *FLAGS, "--log-every", "3", "--save-every", "2", "--out", str(tmp_path)]
    out, err = finish(start(2, *argv, torchrun=("--max-restarts=1",), SMALL_DIE="1:4"))
    assert "RuntimeError: this rank was told to die" in err
    assert f"resuming {tmp_path} at epoch 1, step 2 of 5" in out
    log, expected = log_of(tmp_path), log_of(alone / "run")
    assert [r["step"] for r in log] == [3, 5, 5, 8, 10, 10]
    for name in CERTIFICATES:
        words = [[word for record in records for word in record.get(name, [])] for records in (log, expected)]
        assert words[0] == words[1]
        assert len(words[0]) == 10


def test_max_restarts_needs_out(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert main(["--mode", "train", "--data", str(dataset.root), *FLAGS]) == 2
    assert "torchrun --max-restarts: name the run with --out" in capsys.readouterr().err


def test_the_other_modes_run_on_several_ranks(dataset: Dataset, alone: Path, tmp_path: Path) -> None:
    def both(mode: str, *argv: str) -> None:
        recipe = 2 if mode == "eval" else 0  # a run has its own
        argv = ("--data", str(dataset.root), *ANY_MODE[recipe:], *argv)
        assert main(["--mode", mode, *argv, "--out", str(tmp_path / f"{mode}-1")], network=small_model) == 0
        out, _ = finish(start(2, *argv, "--out", str(tmp_path / f"{mode}-2"), mode=mode))
        assert out.count("2 ranks; recipe demo") == 1

    # Batches of 39: the last one has one image, so one rank gets no share.
    both("eval", "--batch-size", "39", "--checkpoint", str(alone / "run/best.pt"))
    single, double = (json.loads((tmp_path / f"eval-{n}/eval.json").read_text()) for n in (1, 2))
    assert single["images"] == double["images"] == 40
    assert (single["top1"], single["top5"], single["confused"]) == (double["top1"], double["top5"], double["confused"])
    assert single["loss"] == pytest.approx(double["loss"], rel=1e-5)
    both("lrfind", "--batch-size", "4")
    single, double = (json.loads((tmp_path / f"lrfind-{n}/lr_range.json").read_text()) for n in (1, 2))
    assert single["lr"][:10] == double["lr"][:10]
    assert single["loss"][:10] == pytest.approx(double["loss"][:10], rel=1e-5)
    both("bench", "--batch-size", "16", "--rounds", "1", "--seconds", "0.1", "--store", "raw", "--engine", "torch")
    bench = json.loads((tmp_path / "bench-2/bench.json").read_text())
    assert bench["ranks"] == 2
    assert [r["name"] for r in bench["results"]] == ["loader raw torch", "model", "together"]


def test_wrong_input_is_printed_once(tmp_path: Path) -> None:
    _, err = finish(start(2, "--resume", str(tmp_path / "none")), status=1)
    assert err.count("no such run") == 1


def test_a_single_process_gets_its_answer_at_once() -> None:
    agreement = Agreement(Ranks())
    assert agreement.ask(True, False) == (True, False)
    assert agreement.ask(False, True) == (False, True)


def test_ranks_take_their_batches_in_parts(dataset: Dataset, tmp_path: Path) -> None:
    """Each rank exchanges gradients behind the last part only; the losses are about those of whole batches."""
    flags = ["--data", str(dataset.root), *FLAGS, "--epochs", "1", "--class-weights", "balanced"]
    finish(start(2, *flags, "--out", str(tmp_path / "whole")))
    finish(start(2, *flags, "--accumulate", "4", "--out", str(tmp_path / "parts")))
    whole, parts = ([r["loss"] for r in log_of(tmp_path / name) if "loss" in r] for name in ("whole", "parts"))
    assert len(parts) == len(whole)
    assert parts == pytest.approx(whole, rel=0.2), "norms see four images at a time"


def test_ranks_save_once_by_the_clock_and_evaluate_one_network(dataset: Dataset, tmp_path: Path) -> None:
    """Without synchronised norms each rank counts its own statistics; what is saved gives the val loss of the log.

    `--save-every 0.0001m` is due at each step, and an answer comes a step late: each save is of a step of its own.
    """
    argv = ["--data", str(dataset.root), *FLAGS, "--no-sync-bn", "--save-every", "0.0001m"]
    argv += ["--out", str(tmp_path / "a")]
    finish(start(2, *argv, SMALL_SAVES=str(tmp_path / "saves")))
    saves = [int(step) for step in (tmp_path / "saves").read_text().split()]
    assert saves == sorted(set(saves)), "no step is saved twice"
    assert all(later - earlier > 1 for earlier, later in pairwise(saves) if later % 5)
    logged = [record for record in log_of(tmp_path / "a") if "val_loss" in record][-1]
    out = str(tmp_path / "e")
    assert main(["--mode", "eval", "--checkpoint", str(tmp_path / "a/last.pt"), "--out", out], network=small_model) == 0
    evaluated = json.loads((tmp_path / "e/eval.json").read_text())
    assert evaluated["loss"] == pytest.approx(logged["val_loss"], abs=1e-4)


def test_ranks_wait_for_each_other_as_long_as_a_compile_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL's own limit is ten minutes; max-autotune may take longer on one rank than on the others."""
    asked: dict[str, Any] = {}
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("feedline.training.ranks.rendezvous", lambda _: iter([(HashStore(), 0, 2)]))
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda backend, **options: asked.update(options, backend=backend)
    )
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with joined() as ranks:
        assert ranks.is_distributed
    assert asked["backend"] == "cpu:gloo,cuda:nccl"
    assert asked["timeout"] >= timedelta(minutes=30)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")
@pytest.mark.parametrize("flags", [[], ["--no-sync-bn"], ["--amp", "--compile"]], ids=" ".join)
def test_two_gpus_train_as_one(dataset: Dataset, tmp_path: Path, flags: list[str]) -> None:
    """Gradients and norms over NCCL. Without norms over all ranks only the images are the same."""
    argv = ["--data", str(dataset.root), *FLAGS, "--device", "cuda", *flags]
    for ranks in (0, 2):
        finish(start(ranks, *argv, "--out", str(tmp_path / str(ranks))))
    single, double = (log_of(tmp_path / str(ranks)) for ranks in (0, 2))
    assert [record["step"] for record in single] == [record["step"] for record in double]
    for a, b in zip(single, double, strict=True):
        assert a.get("stream") == b.get("stream")
        if "loss" in a and "--no-sync-bn" not in flags:
            assert b["loss"] == pytest.approx(a["loss"], rel=3e-2)
