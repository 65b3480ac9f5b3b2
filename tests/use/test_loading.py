"""Three lines from a checkpoint to a prediction that is the evaluation's."""

import csv
from pathlib import Path

import pytest
import torch

from feedline import Dataset, InputError, load
from feedline.model import resnet18
from feedline.training import checkpoint
from tests.cli.commands import refused, run
from tests.training.conftest import small_model


def evaluated(dataset: Dataset, run_folder: Path, *flags: str) -> list[dict[str, str]]:
    """The rows of predictions.csv."""
    argv = ["--checkpoint", str(run_folder), "--no-amp", "--no-tta", "--out", "e", *flags]
    assert run("eval", dataset, *argv) == 0
    return list(csv.DictReader(Path("e/predictions.csv").read_text().splitlines()))


@pytest.mark.parametrize("kind", ["dataset", "varied"])
def test_the_probabilities_are_those_of_the_evaluation(
    kind: str, request: pytest.FixtureRequest, trained: Path, trained_on_photos: Path
) -> None:
    dataset: Dataset = request.getfixturevalue(kind)
    folder = trained if kind == "dataset" else trained_on_photos
    rows = evaluated(dataset, folder)
    net, preprocess, classes = load(folder / "best.pt", network=small_model)
    assert not net.training
    assert [c.folder for c in classes] == [c.folder for c in dataset.classes]
    assert [str(c) for c in classes] == [c.words for c in dataset.classes]
    with torch.no_grad():
        shares = net(preprocess([dataset.root / row["path"] for row in rows])).softmax(1)
    for row, share in zip(rows, shares, strict=True):
        assert classes[share.argmax()].folder == row["top1"]
        assert share.max().item() == pytest.approx(float(row["probability1"]), abs=2e-6)


def test_a_folder_is_its_best_checkpoint(trained: Path) -> None:
    a, b = load(trained, network=small_model), load(trained / "best.pt", network=small_model)
    assert all(torch.equal(x, y) for x, y in zip(a.net.parameters(), b.net.parameters(), strict=True))
    assert a.preprocess == b.preprocess


def test_checkpoints_of_older_versions_are_loaded(trained: Path, dataset: Dataset) -> None:
    """What they lack is taken from the dataset, if it is still there."""
    content = torch.load(trained / "last.pt", weights_only=True)
    for name in ("resolved", "words", "asked"):
        del content[name]
    torch.save(content, "old.pt")
    new, old = load(trained / "last.pt", network=small_model), load("old.pt", network=small_model)
    assert old.classes == new.classes
    assert old.preprocess == new.preprocess
    content["dataset"], content["config"]["data"] = {}, "gone"
    torch.save(content, "old.pt")
    with pytest.raises(InputError, match=r"old.pt: was written by an older version.* give crop_fraction \(1 where"):
        load("old.pt", network=small_model)
    old = load("old.pt", network=small_model, crop_fraction=1)
    assert old.preprocess == new.preprocess
    assert [str(c) for c in old.classes] == [c.folder for c in dataset.classes]


def test_another_network_is_refused(trained: Path) -> None:
    with pytest.raises(InputError, match=r"best.pt: its weights do not fit this network \(.*pass its own as network"):
        load(trained / "best.pt")


@pytest.mark.parametrize("words", [["eval"], ["predict", "a.png"]])
def test_so_it_is_on_the_command_line(trained: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """Which has no flag for a network."""
    line = refused(capsys, "--mode", *words, "--device", "cpu", "--checkpoint", str(trained), network=resnet18)
    assert "best.pt: its weights do not fit this network (" in line
    assert "--network" not in line


def test_the_weights_are_the_average(trained: Path) -> None:
    last = checkpoint.load(trained / "last.pt")
    net = load(trained / "last.pt", network=small_model).net
    assert last.average is not None
    assert torch.equal(net.state_dict()["8.weight"], last.average["8.weight"])
    assert not torch.equal(net.state_dict()["8.weight"], last.model["8.weight"])
