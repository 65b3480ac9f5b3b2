"""The folder of a run belongs to one process while that lives."""

import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feedline import Dataset
from feedline.cli.claim import Claims
from feedline.pipeline.errors import InputError
from feedline.training import checkpoint
from tests.cli.commands import QUICK, refused, run

HOLD = (
    "import sys, time; from pathlib import Path; from feedline.cli.claim import Claims\n"
    "Claims().take(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
)


def names(folder: Path | str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_runs_of_the_same_second_get_folders_of_their_own() -> None:
    claims = [Claims() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda c: c.new(Path("runs"), "train-now"), claims))
    assert sorted(f.name for f in folders) == ["train-now", *(f"train-now-{n}" for n in range(2, 9))]
    for claim in claims:
        claim.close()
    assert not any(folder.exists() for folder in folders), "nothing was written into them"


def test_a_folder_in_which_a_run_lives_is_refused_until_it_ends(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line says who. A killed process leaves a file, but no lock."""
    assert run("train", dataset, "--out", "runs/a", "--epochs", "1") == 0
    saved = checkpoint.load(Path("runs/a/last.pt")).position
    with subprocess.Popen([sys.executable, "-c", HOLD, "runs/a"], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            who = f"(process {other.pid} on {socket.gethostname()}, since 2"
            line = refused(capsys, "--mode", "train", "--data", str(dataset.root), *QUICK, "--out", "runs/a")
            assert line.startswith(f"train.py: --out runs/a: a run lives in this folder {who}")
            line = refused(capsys, "--mode", "train", "--resume", "runs/a")
            assert line.startswith(f"train.py: --resume runs/a: this run lives {who}")
            for mode in ("eval", "lrfind", "bench"):
                line = refused(capsys, "--mode", mode, "--data", str(dataset.root), "--out", "runs/a")
                assert who in line
        finally:
            other.send_signal(signal.SIGKILL)
    assert "this run is complete" in refused(capsys, "--mode", "train", "--resume", "runs/a")
    assert checkpoint.load(Path("runs/a/last.pt")).position == saved
    assert "running.lock" not in names("runs/a")


@pytest.mark.parametrize("mode", ["train", "lrfind", "eval", "bench"])
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("README.md", "--out README.md: is a file; name a folder for the results"),
        ("README.md/run", "--out README.md/run: cannot be written (Not a directory); choose another --out"),
        ("/proc/x", "--out /proc/x: cannot be written (No such file or directory); choose another --out"),
        ("/proc/self", "--out /proc/self: cannot be written ("),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], mode: str, out: str, message: str
) -> None:
    Path("README.md").write_text("here")
    line = refused(capsys, "--mode", mode, "--data", str(dataset.root), "--out", out)
    assert message in line
    assert names(".") == ["README.md"]


@pytest.mark.parametrize("out", ["link", "link/run"])
@pytest.mark.parametrize("target", ["gone", "link"])
def test_a_link_that_leads_nowhere_is_refused_by_name(out: str, target: str) -> None:
    Path("link").symlink_to(target)
    with pytest.raises(InputError, match=f"out={out}: link is a link that leads nowhere; remove it, or choose"):
        Claims().take(Path(out))
    assert names(".") == ["link"]


def test_results_do_not_go_into_a_dataset(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(dataset.root)
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), *QUICK, "--out", str(dataset.root))
    assert line.endswith("holds a dataset; choose another folder for the results")
    assert names(dataset.root) == before


def test_what_was_there_before_stays_when_a_run_fails(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine/deep").mkdir(parents=True)
    Path("mine/deep/notes.txt").write_text("mine")
    for out in ("mine/deep", "mine/deep/new/run", "mine"):
        refused(capsys, "--mode", "train", "--data", str(dataset.root), *QUICK, "--split", "no", "--out", out)
        assert [str(p) for p in Path("mine").rglob("*")] == ["mine/deep", "mine/deep/notes.txt"]


def test_a_claim_ends_when_it_is_closed() -> None:
    first, second = Claims(), Claims()
    first.take(Path("a"))
    with pytest.raises(InputError, match="a run lives in this folder"):
        second.take(Path("a"))
    Path("a/result").touch()
    first.close()
    second.take(Path("a"))
    second.close()
    assert names("a") == ["result"]


def test_other_modes_write_into_no_training_run(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """They would replace its report."""
    assert run("train", dataset, "--out", "runs/a") == 0
    page = Path("runs/a/report.html").read_bytes()
    flags = ["--data", str(dataset.root), "--out", "runs/a"]
    line = refused(capsys, "--mode", "eval", *flags, "--checkpoint", "runs/a/best.pt")
    assert "--out runs/a: holds a training run; choose another folder" in line
    assert Path("runs/a/report.html").read_bytes() == page


def test_a_folder_of_images_is_no_place_for_results(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """`--out photos` is mostly meant as the source; pictures that a run drew do not count."""
    for name, count in (("photos/cats", 9), ("runs/a", 8)):
        Path(name).mkdir(parents=True)
        for number in range(count):
            Path(name, f"{number}.JPG").touch()
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), *QUICK, "--out", "photos")
    assert line == "train.py: --out photos: holds images, in cats/; choose another folder for the results"
    assert names("photos") == ["cats"]
    assert run("lrfind", dataset, "--out", "runs") == 0


def test_results_of_one_mode_do_not_replace_those_of_another(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """They share report.html. The same mode may run there again."""
    for _ in range(2):
        assert run("peek", dataset, "--out", "a") == 0
    Path("b").mkdir()
    Path("b/eval.json").touch()
    for out, other in (("a", "peek"), ("b", "eval")):
        line = refused(capsys, "--mode", "lrfind", "--data", str(dataset.root), "--out", out)
        assert (
            line == f"train.py: --out {out}: holds the results of --mode {other}; choose another folder for the results"
        )
    assert names("a") == ["peek.html", "peek.png"]
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), "--out", "b")
    assert "--out b: holds the results of --mode eval" in line
