"""Sizes and crops on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from feedline import Dataset
from feedline.cli.build import make_loader
from feedline.pipeline.loader import Loader
from feedline.training import checkpoint
from tests.cli.commands import refused, run, train
from tests.conftest import convert
from tests.training.conftest import small_model

CPU = torch.device("cpu")
QUICK = ["--batch-size", "4", "--epochs", "1", "--device", "cpu", "--max-lr", "0.01"]


def one_size(folder: Path, height: int, width: int) -> Dataset:
    """Two classes of images of one size."""
    for number in range(16):
        image = Image.new("RGB", (width, height), (10 * number, 80, 90))
        (folder / "source" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        image.save(folder / "source" / "ab"[number % 2] / f"{number}.png")
    return convert(folder / "source", folder / "data")


@pytest.mark.parametrize(
    ("height", "width", "side", "said"),
    [
        (200, 300, 224, "images are 200x300: the input is 224x224"),
        (32, 48, 32, "images are 32x48: the input is 32x32"),
        (160, 160, 224, "images are 160x160: the input is 224x224"),
        (100, 100, 100, None),
    ],
)
def test_a_size_that_nobody_asked_for_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], height: int, width: int, side: int, said: str | None
) -> None:
    data = ["--data", str(one_size(tmp_path, height, width).root), *QUICK]
    capsys.readouterr()
    assert train("--mode", "train", *data, "--out", "runs/a") == 0
    out = capsys.readouterr().out
    assert f", {side}x{side}, batches of 4" in out
    assert ("the input is" in out) == (said is not None)
    assert said is None or f"{said}; another --image-size may be given\n" in out
    assert checkpoint.load(Path("runs/a/last.pt")).image_size == [side, side]
    assert train("--mode", "train", *data, "--image-size", "24", "--out", "runs/b") == 0
    assert "the input is" not in capsys.readouterr().out
    assert train("--mode", "summary", *data[:2]) == 0
    assert f"[-1, 8, {-(-side // 2)}, {-(-side // 2)}]" in capsys.readouterr().out


def test_images_that_vary_get_224(varied: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--mode", "train", "--data", str(varied.root), *QUICK, "--fraction", "0.5", "--out", "runs/a") == 0
    assert "images vary in size: the input is 224x224; another --image-size may be given\n" in capsys.readouterr().out


CROP = "random-resized-crop:scale=0.5-1:ratio=1-1"


def loaders(checkpoint_: str, dataset: Dataset) -> list[Loader]:
    """What a run was trained and evaluated with."""
    config = checkpoint.load(Path(checkpoint_)).config
    return [make_loader(config, dataset, "train", CPU), make_loader(config, dataset, "val", CPU)]


@pytest.mark.parametrize("how", ["flags", "recipe"])
def test_scale_ratio_and_fraction_of_crops_are_keys(dataset: Dataset, how: str) -> None:
    """On the command line, in recipes and in checkpoints."""
    Path("mine.toml").write_text(
        f'augment = ["{CROP}", "flip"]\ncrop-fraction = 0.5\n' if how == "recipe" else "crop-fraction = 0.75\n"
    )
    flags = ["--augment", f"{CROP},flip", "--crop-fraction", "0.5"] if how == "flags" else []
    start = ["--mode", "train", "--data", str(dataset.root), "--recipe", "mine.toml", *QUICK, "--image-size", "16"]
    assert train(*start, *flags, "--out", "runs/a") == 0
    trained, evaluated = loaders("runs/a/last.pt", dataset)
    windows = trained.plan.batch(0, 0).window
    assert (windows[:, 2] == windows[:, 3]).all()
    assert windows[:, 2].min() >= 45
    assert evaluated.plan.batch(0, 0).window[0].tolist() == [16, 16, 32, 32]
    assert trained.geometry["crop"] == CROP
    assert evaluated.geometry["eval_crop"] == "center:0.5"


def test_an_evaluation_says_at_which_size_the_run_was_trained(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """Briefly where the run had its own size for evaluations; in a line where this one is another."""
    assert run("train", dataset, "--eval-size", "24", "--out", "runs/a") == 0
    for flags, size, line in (([], 24, False), (["--eval-size", "32"], 32, True), (["--image-size", "20"], 20, True)):
        capsys.readouterr()
        assert run("eval", dataset, "--checkpoint", "runs/a/best.pt", *flags, "--out", "runs/e") == 0
        out = capsys.readouterr().out
        assert f", {size}x{size}, trained at 16x16, batches of" in out
        assert (f"evaluated at {size}x{size}, in training at 24x24" in out) == line


def test_a_network_is_fed_squares_whatever_the_shape_of_images(tmp_path: Path) -> None:
    seen = []

    def network(classes: int) -> Any:
        model = small_model(classes)
        model.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
        return model

    data = ["--data", str(one_size(tmp_path, 40, 70).root), *QUICK]
    assert train("--mode", "train", *data, "--out", "runs/a", network=network) == 0
    assert set(seen) == {(40, 40)}


def stopped_run(data: list[str], resolved: dict[str, Any] | None, flags: list[str], **changes: Any) -> None:
    """A run in runs/a that can be resumed, with other words on what it resolved in its checkpoints; None for none."""
    assert train("--mode", "train", *data, *flags, "--out", "runs/a") == 0
    Path("runs/a/summary.json").unlink()
    for name in ("last.pt", "best.pt"):
        content = torch.load(f"runs/a/{name}", weights_only=True)
        content["resolved"] = {} if resolved is None else {**content["resolved"], **resolved}
        torch.save({**content, **changes}, f"runs/a/{name}")


@pytest.mark.parametrize(
    ("resolved", "message"),
    [
        ({"images": [128, 128]}, "gives this run another size of images (64x64, so far 128x128)"),
        ({"images": None}, "gives this run another size of images (64x64, so far that varies)"),
        ({"crop": "random-resized-crop"}, "another crop (pad-crop, so far random-resized-crop)"),
        ({"eval_crop": "center:0.875"}, "another crop in evaluation (center, so far center:0.875)"),
        ({"size": [24, 24]}, "another size of the input (16x16, so far 24x24)"),
    ],
)
def test_a_store_that_gives_other_sizes_or_crops_is_refused(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], resolved: dict[str, Any], message: str
) -> None:
    """As those of datasets that an older version built with --max-size; an evaluation says it."""
    data = ["--data", str(dataset.root), *QUICK, "--image-size", "16"]
    stopped_run(data, {"store": "jpeg", **resolved}, ["--store", "raw"])
    line = refused(capsys, "--mode", "train", "--resume", "runs/a")
    assert line.startswith("train.py: --store raw: ")
    assert message in line
    assert line.endswith("; resume it with --store jpeg")
    assert train("--mode", "eval", "--checkpoint", "runs/a/best.pt", "--out", "runs/e") == 0
    said = "evaluated on center of images of 64x64, in training on center" in capsys.readouterr().out
    assert said == bool(resolved.keys() & {"images", "eval_crop"})


def test_runs_of_older_versions_keep_their_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They trained on large squares as they are."""
    data = ["--data", str(one_size(tmp_path, 160, 160).root), *QUICK]
    stopped_run(data, None, [], image_size=[160, 160])
    capsys.readouterr()
    assert train("--mode", "train", "--resume", "runs/a") == 0
    assert ", 160x160, batches of 4" in capsys.readouterr().out
    assert train("--mode", "eval", "--checkpoint", "runs/a/best.pt", "--out", "runs/e") == 0
    assert ", 160x160, batches of 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "resumed"),
    [
        ([], False),
        (["--image-size", "24"], False),
        (["--image-size", "24", "--augment", "random-resized-crop"], True),
    ],
)
def test_runs_of_older_versions_that_squeezed_images_are_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], resumed: bool
) -> None:
    """Those that did not are, and all are evaluated on the whole centre, as they were."""
    stopped_run(["--data", str(one_size(tmp_path, 40, 60).root), *QUICK], None, flags)
    assert train("--mode", "eval", "--checkpoint", "runs/a/best.pt", "--out", "runs/e") == 0
    if resumed:
        assert train("--mode", "train", "--resume", "runs/a") == 0
        assert json.loads(Path("runs/a/summary.json").read_text())["config"]["crop_fraction"] == 1
        return
    line = refused(capsys, "--mode", "train", "--resume", "runs/a")
    assert "trained by an older version, with images of 40x60 that were not cropped to the square" in line
