"""--init: a run that starts from weights."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from feedline import Dataset
from feedline.cli.initial import start_from
from feedline.model import resnet18
from feedline.training import checkpoint
from feedline.training.config import Config
from tests.cli.commands import QUICK, refused, run, train
from tests.cli.folders import dataset_of
from tests.training.conftest import small_model

Capture = pytest.CaptureFixture[str]
Weights = dict[str, torch.Tensor]


def loaded(path: str | Path, model: nn.Module, dataset: Dataset, capsys: Capture) -> tuple[Weights, str]:
    """What a model has after `--init`, and what was printed."""
    capsys.readouterr()
    start_from(Config.build("x", {"init": str(path)}), model, dataset)
    return model.state_dict(), capsys.readouterr().out


def test_a_run_starts_from_the_average_of_another(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--ema", "0.9", "--max-lr", "0.05", "--out", "r/a") == 0
    average = checkpoint.load(Path("r/a/last.pt")).average
    assert average is not None
    weights, said = loaded("r/a/last.pt", small_model(), dataset, capsys)
    assert said == "started from r/a/last.pt: all weights\n"
    assert all(torch.equal(weights[name], average[name]) for name in average)
    more = ["--init", "r/a/last.pt", "--max-lr", "1e-9", "--epochs", "1", "--no-tta"]
    assert run("train", dataset, *more, "--out", "r/b") == 0
    assert run("eval", dataset, "--checkpoint", "r/a/last.pt", "--no-tta", "--out", "r/e") == 0
    top1 = [json.loads(Path(p).read_text()) for p in ("r/b/summary.json", "r/e/eval.json")]
    assert top1[0]["config"]["init"] == "r/a/last.pt"
    trained, saved = checkpoint.load(Path("r/b/last.pt")).model, average
    torch.testing.assert_close(trained["0.weight"], saved["0.weight"])
    Path("r/a/last.pt").unlink()
    Path("r/b/summary.json").unlink()
    assert train("--mode", "train", "--resume", "r/b") == 0, "a resumed run does not need the file"
    assert run("lrfind", dataset, "--init", "r/b/best.pt", "--batch-size", "16", "--out", "r/l") == 0
    assert "started from r/b/best.pt" in capsys.readouterr().out


def test_other_classes_keep_their_own_last_layer(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", dataset, "--epochs", "1", "--max-lr", "0.05", "--out", "r/a") == 0
    saved = checkpoint.load(Path("r/a/best.pt")).weights
    counts = dict.fromkeys(("a", "b", "c", "d"), 8)
    for classes, said in (
        (3, "which is for 4 classes there and for 3 here"),
        (4, "which is for other classes there"),
    ):
        own = dict(list(counts.items())[:classes])
        other = dataset_of(tmp_path / str(classes), own, own)
        fresh = small_model(classes).state_dict()
        weights, out = loaded("r/a/best.pt", small_model(classes), other, capsys)
        assert out == f"started from r/a/best.pt: all weights but the last layer's, {said}\n"
        for name, tensor in weights.items():
            assert torch.equal(tensor, (fresh if name.startswith("8.") else saved)[name])
    assert run("train", other, "--init", "r/a/best.pt", "--epochs", "1", "--out", "r/b") == 0


@pytest.mark.parametrize("form", ["plain", "nested", "wrapped", "backbone", "old"])
def test_resnet18_of_torchvision_and_timm(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """They name the weights alike; it takes their stem."""
    weights = torchvision.models.resnet18(num_classes=7).state_dict()
    content: Any = {"nested": {"epoch": 3, "state_dict": weights}}.get(form, weights)
    if form == "wrapped":
        content = {f"module.{name}": tensor for name, tensor in weights.items()}
    if form == "backbone":
        content = {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=form != "old")
    got, said = loaded(tmp_path / "w.pth", resnet18(4, stem="standard"), dataset, capsys)
    assert "all weights but the last layer's, which" in said
    assert all(torch.equal(got[name], weights[name]) for name in weights if not name.startswith("fc."))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; runs save theirs"),
        (b"no weights", "holds no weights that can be read (not a state_dict() as torch.save writes it, or damaged)"),
        (b"\x80\x02.", "holds no weights that can be read"),
        ({}, "holds no weights by name; save a network's state_dict()"),
        ({"epoch": 3}, "holds no weights by name"),
        ([torch.zeros(3)], "holds no weights by name"),
        ({"a": torch.zeros(3)}, "another network: it has no 0.weight (and 9 more)"),
        ({**small_model().state_dict(), "9.weight": torch.zeros(3)}, "it has 9.weight, which this network lacks"),
        (
            {**small_model().state_dict(), "0.weight": torch.zeros(8, 3, 5, 5)},
            "0.weight is (8, 3, 5, 5) there and (8, 3, 3, 3) here",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], content: Any, message: str
) -> None:
    if isinstance(content, bytes):
        Path("w.pt").write_bytes(content)
    elif content is not None:
        torch.save(content, "w.pt")
    argv = ["--data", str(dataset.root), "--batch-size", "8", "--image-size", "16", "--device", "cpu"]
    line = refused(capsys, "--mode", "train", *argv, "--init", "w.pt", "--out", "r/a")
    assert "--init w.pt: " in line
    assert message in line


def test_the_stem_that_fits_is_named(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(resnet18(4, stem="standard").state_dict(), "w.pt")
    argv = ["--data", str(dataset.root), "--batch-size", "8", "--image-size", "16", "--device", "cpu"]
    line = refused(capsys, "--mode", "train", *argv, "--init", "w.pt", "--out", "r/a", network=resnet18)
    assert "conv1.weight is (64, 3, 7, 7) there and (64, 3, 3, 3) here; with --stem standard it fits" in line


def test_val_images_that_the_weights_were_trained_on(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "1", "--split", "70-30", "--out", "r/a") == 0
    more = ["--init", "r/a/best.pt", "--epochs", "1", "--out"]
    assert run("train", dataset, "--split", "official", "--quiet", *more, "r/b") == 0
    known = re.search(r"warning: r/a/best.pt was trained on (\d+) of the 32 val images", capsys.readouterr().out)
    assert known is not None
    assert 0 < int(known[1]) < 32
    assert run("train", dataset, "--split", "70-30", *more, "r/c") == 0
    assert "was trained on" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("resnet18", "no such file; name a checkpoint, the folder of a run, or a file of weights: torchvision's are"),
        ("picture.png", "holds no weights that can be read"),
        ("cut.pt", "holds no weights that can be read"),
        ("damaged.pt", "holds no weights that can be read"),
        ("meta.pt", "its weights cannot be copied ("),
        ("r/empty", "a folder without best.pt or last.pt"),
        ("r/a/bst.pt", "no such file; did you mean r/a/best.pt?"),
        ("r/aa", "no such file; did you mean r/a?"),
    ],
)
def test_what_is_no_file_of_weights_is_said(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], init: str, message: str
) -> None:
    Path("r/empty").mkdir(parents=True)
    Path("r/a").mkdir()
    checkpoint_like = io.BytesIO()
    torch.save(small_model().state_dict(), checkpoint_like)
    Path("r/a/best.pt").write_bytes(checkpoint_like.getvalue())
    Path("cut.pt").write_bytes(checkpoint_like.getvalue()[:2000])
    one_byte = bytearray(checkpoint_like.getvalue())
    one_byte[one_byte.index(small_model().state_dict()["0.weight"].numpy().tobytes())] ^= 1
    Path("damaged.pt").write_bytes(one_byte)
    torch.save(small_model().to("meta").state_dict(), "meta.pt")
    Image.new("RGB", (8, 8)).save("picture.png")
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), *QUICK, "--init", init, "--out", "r/new")
    assert f"--init {init}: {message}" in line
    assert not Path("r/new").exists()


def test_a_run_s_folder_stands_for_its_weights(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "r/a") == 0
    assert run("train", dataset, "--epochs", "1", "--init", "r/a", "--out", "r/b") == 0
    assert "started from r/a/best.pt: all weights\n" in capsys.readouterr().out
    Path("r/a/best.pt").unlink()
    assert run("train", dataset, "--epochs", "1", "--init", "r/a", "--out", "r/c") == 0
    assert "started from r/a/last.pt: all weights\n" in capsys.readouterr().out


def test_weights_that_were_saved_without_checksums(dataset: Dataset) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(small_model().state_dict(), "plain.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert run("train", dataset, "--init", "plain.pt", "--epochs", "1", "--out", "r/a") == 0
