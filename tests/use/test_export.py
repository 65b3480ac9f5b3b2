"""Exports that are tried before they are written, and can be tried again anywhere."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feedline import Dataset, load
from feedline.__main__ import main
from feedline.model import resnet18
from feedline.training.predictions import Predictions
from tests.cli.commands import refused, run, train
from tests.training.conftest import small_model

FILES = {"onnx": "model.onnx", "torch": "model.pt2", "timm": "model.safetensors"}


def need(form: str) -> None:
    for library in {"onnx": ("onnx", "onnxscript", "onnxruntime"), "timm": ("safetensors", "timm")}.get(form, ()):
        pytest.importorskip(library, reason=f"{library} is not installed")


def export(checkpoint: Path, form: str, *argv: str, network: Any = small_model) -> int:
    flags = ["--checkpoint", str(checkpoint), "--to", form, "--out", "x"]
    return train("--mode", "export", *flags, *argv, network=network)


@pytest.fixture(scope="module")
def resnet_run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of ResNet18, by stem: one step is enough."""
    runs = {}
    for stem in ("small", "standard"):
        out = tmp_path_factory.mktemp("runs") / stem
        flags = ["--stem", stem, "--epochs", "1", "--fraction", "0.1", "--no-amp", "--out", str(out)]
        assert run("train", dataset, *flags, network=resnet18) == 0
        runs[stem] = out
    return runs


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_an_export_answers_as_the_network_does_and_is_asked_again(
    trained: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    need(form)
    assert export(trained, form) == 0
    out = capsys.readouterr().out
    assert f"x/{FILES[form]}: answers as the network does: 16 real images, largest difference of a logit" in out
    shutil.move("x", "elsewhere")
    assert main(["verify-export", f"elsewhere/{FILES[form]}"]) == 0
    assert main(["verify-export", "elsewhere"]) == 0
    assert "answers as the network does" in capsys.readouterr().out
    with np.load("elsewhere/probes.npz") as probes:
        content = dict(probes)
    content["logits"][3, 1] += 0.01
    np.savez("elsewhere/probes.npz", **content)
    assert main(["verify-export", f"elsewhere/{FILES[form]}"]) == 1
    assert "answers otherwise than the network: 16 real images, largest difference of a logit 0.01" in (
        capsys.readouterr().out
    )
    Path("empty").mkdir()
    assert main(["verify-export", "x" * 300]) == 2
    assert capsys.readouterr().err == f"feedline verify-export: {'x' * 300}: File name too long\n"
    assert main(["verify-export", "empty"]) == 2
    assert "empty: a folder without an exported file (model.onnx, model.pt2, model" in capsys.readouterr().err


def test_an_onnx_file_says_how_to_use_it(trained: Path, dataset: Dataset) -> None:
    """Any batch, pixels from 0 to 255, and names and sizes in its metadata."""
    need("onnx")
    import onnxruntime

    assert export(trained, "onnx") == 0
    session = onnxruntime.InferenceSession("x/model.onnx", providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["names"]) == [c.folder for c in dataset.classes]
    assert json.loads(meta["words"]) == [c.words for c in dataset.classes]
    assert (json.loads(meta["imgsz"]), json.loads(meta["crop_fraction"])) == ([16, 16], 1.0)
    net, preprocess, _ = load(trained, network=small_model)
    for count in (1, 3, 8):
        paths = [dataset.root / dataset.path(i) for i in range(count)]
        (logits,) = session.run(None, {"images": preprocess.pixels(paths).transpose(0, 3, 1, 2)})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), net(preprocess(paths)), atol=1e-4, rtol=0)


def test_a_program_says_how_to_use_it(trained: Path) -> None:
    assert export(trained, "torch") == 0
    about = {"feedline.json": ""}
    program = torch.export.load("x/model.pt2", extra_files=about)
    assert json.loads(about["feedline.json"])["imgsz"] == [16, 16]
    assert program.module()(torch.zeros(5, 3, 16, 16, dtype=torch.uint8)).shape == (5, 4)


@pytest.mark.parametrize("stem", ["small", "standard"])
def test_timm_loads_what_was_exported(
    resnet_run: dict[str, Path], dataset: Dataset, stem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the model card says how."""
    need("timm")
    assert export(resnet_run[stem], "timm", network=resnet18) == 0
    config = json.loads(Path("x/config.json").read_text())
    assert (config["architecture"], config["num_classes"]) == ("resnet18", 4)
    assert config["label_names"] == [c.folder for c in dataset.classes]
    assert config["label_descriptions"] == {c.folder: c.words for c in dataset.classes}
    assert config["pretrained_cfg"]["input_size"] == [3, 16, 16]
    card = Path("x/README.md").read_text()
    assert card.startswith("---\nlibrary_name: timm\n")
    code = card.split("```python\n")[1].split("```")[0].replace("FOLDER", "x")
    names: dict[str, Any] = {}
    exec(code, names)
    net, preprocess, _ = load(resnet_run[stem])
    images = preprocess([dataset.root / dataset.path(i) for i in range(4)])
    with torch.no_grad():
        torch.testing.assert_close(names["net"](images), net(images), atol=1e-4, rtol=0)
    assert main(["verify-export", "x/model.safetensors"]) == 0


def test_the_file_that_is_named_is_asked(resnet_run: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """And none beside it."""
    need("timm")
    assert export(resnet_run["small"], "timm", network=resnet18) == 0
    Path("x/other.safetensors").write_bytes(b"damaged")
    assert main(["verify-export", "x/other.safetensors"]) == 2
    assert "x/other.safetensors: cannot be read" in capsys.readouterr().err


def test_other_networks_are_exported_without_timm(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("onnx", "timm"):
        need(form)
    assert train("--mode", "export", "--checkpoint", str(trained), "--out", "x") == 0
    assert "not exported for timm, which has ResNet18 and not this network\n" in capsys.readouterr().out
    assert {path.name for path in Path("x").glob("model*")} == {"model.onnx", "model.pt2"}


def test_timms_form_is_for_resnet18(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need("timm")
    line = refused(capsys, "--mode", "export", "--checkpoint", str(trained), "--to", "timm", "--out", "x")
    assert "--to timm: is for ResNet18, and this is another network; export it as onnx or torch" in line
    assert not Path("x").exists()


def test_an_export_that_answers_otherwise_is_refused(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left of it."""
    from feedline.use.deployed import Deployed

    forward = Deployed.forward
    monkeypatch.setattr(Deployed, "forward", lambda self, images: 1.01 * forward(self, images))
    line = refused(capsys, "--mode", "export", "--checkpoint", str(trained), "--to", "torch", "--out", "x")
    assert "x/model.pt2: answers otherwise than the network: 16 real images, largest difference of a logit" in line
    assert line.endswith("; nothing was written")
    assert not list(Path().iterdir())


def test_the_card_tells_data_recipe_accuracy_and_limits(trained: Path, dataset: Dataset) -> None:
    assert export(trained, "torch") == 0
    card = Path("x/README.md").read_text()
    for text in (
        "pipeline_tag: image-classification",
        "model-index:",
        "## Limits",
        "| epochs | 2 |",
        "| class | images",
    ):
        assert text in card
    assert f"fingerprint `{dataset.fingerprint}`" in card
    assert str(dataset.root) not in card
    for flags in (["--eval-size", "24"], ["--crop-fraction", "0.5"]):
        assert export(trained, "torch", *flags) == 0
        card = Path("x/README.md").read_text()
        assert "accuracy\n" not in card, "the run was not evaluated so"
        assert "## Accuracy" not in card
    assert export(trained, "torch", "--eval-size", "16") == 0
    assert "## Accuracy" in Path("x/README.md").read_text(), "its own size"


def test_the_card_says_of_what_views_the_accuracy_is(trained: Path, dataset: Dataset) -> None:
    """An exported file looks at the image alone."""
    assert run("train", dataset, "--no-tta", "--no-amp", "--out", "a") == 0
    for checkpoint, views in ((trained, "flip"), (Path("a"), None)):
        assert export(checkpoint, "torch") == 0
        card, about = Path("x/README.md").read_text(), {"feedline.json": ""}
        torch.export.load("x/model.pt2", extra_files=about)
        assert ("chosen, with logits averaged over views (" in card) == (views is not None)
        assert json.loads(about["feedline.json"])["val_views"] == views


def test_classes_of_another_epoch_are_not_in_the_card(trained: Path) -> None:
    """A checkpoint that was copied, or is not the best, lies beside the predictions of another."""
    shutil.copytree(trained, "a")
    predictions = Predictions.load(Path("a/predictions.npz"))
    predictions.top[0, 0] = (predictions.labels[0] + predictions.correct[0]) % 4  # one more is right, or one less
    predictions.save(Path("a/predictions.npz"))
    assert export(Path("a"), "torch") == 0
    card = Path("x/README.md").read_text()
    assert "## Accuracy" in card
    assert "| class | images" not in card


def test_an_earlier_export_is_replaced_whole(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No form of another network stays beside new probes."""
    assert export(trained, "torch") == 0
    Path("x/model.onnx").write_bytes(b"of another network")
    capsys.readouterr()
    assert export(trained, "torch") == 0
    assert "x: removed model.onnx of the earlier export\n" in capsys.readouterr().out
    assert sorted(path.name for path in Path("x").iterdir()) == ["README.md", "model.pt2", "probes.npz"]


@pytest.mark.parametrize("name", ["README.md", "notes.txt", "config.json", "model.safetensors", "probes.npz"])
def test_a_folder_of_other_files_is_left_alone(trained: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    Path("x").mkdir()
    Path("x", name).write_text("mine")
    line = refused(capsys, "--mode", "export", "--checkpoint", str(trained), "--to", "torch", "--out", "x")
    assert f"--out x: holds other files ({name}); name a new folder, or that of an earlier export" in line
    assert [path.read_text() for path in Path("x").iterdir()] == ["mine"]


def test_it_is_tried_with_the_threads_that_were_asked_for(trained: Path) -> None:
    before = torch.get_num_threads()
    try:
        assert export(trained, "torch", "--torch-threads", "3") == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_probes_may_be_any_images(trained: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(trained, "torch", "--probes", str(photos / "dogs")) == 0
    assert "12 real images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--to", "tflite"], "--to tflite: tflite is no form; there are onnx, torch, timm"),
        (["--probes", "gone.jpg"], "gone.jpg: cannot be read"),
        (["--probes", "-"], "--probes -: names no image; name a folder of images, or a file"),
        (["--out", "file"], "--out file: is a file; name a folder"),
        (["--out", "file/x"], "--out file/x: cannot be written (File exists)"),
        (["--out", "x" * 300], "xxx: cannot be written (File name too long)"),
        (["--amp"], "--amp: --mode export does not use it"),
    ],
)
def test_what_cannot_be_exported_is_said(
    trained: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    Path("file").touch()
    argv = ["--to", "torch", *flags] if "--to" not in flags else flags
    assert message in refused(capsys, "--mode", "export", "--checkpoint", str(trained), *argv)


def test_what_is_no_export_is_not_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, message in (("gone.onnx", "probes.npz: no such file"), ("a.txt", "probes.npz: no such file")):
        assert main(["verify-export", name]) == 2
        assert message in capsys.readouterr().err


def test_a_missing_library_is_named(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = refused(capsys, "--mode", "export", "--checkpoint", str(trained), "--to", "onnx")
    assert (
        "the form onnx needs onnx and onnxscript and onnxruntime; install with: pip install 'feedline[export]'" in line
    )


@pytest.mark.parametrize("form", ["onnx", "torch", "timm"])
def test_a_full_disk_is_one_line(
    resnet_run: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Native code that opens a file itself ends the process there."""
    need(form)

    def full(path: Path, _: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    argv = ["--mode", "export", "--checkpoint", str(resnet_run["small"]), "--to", form, "--out", "x"]
    line = refused(capsys, *argv, network=resnet18)
    assert line == "train.py: --out x: cannot be written (No space left on device)"
    assert not list(Path().iterdir())


@pytest.mark.parametrize("form", ["onnx", "torch", "timm"])
def test_a_folder_may_have_any_name(resnet_run: dict[str, Path], form: str) -> None:
    need(form)
    assert export(resnet_run["small"], form, "--out", "x\udcff", network=resnet18) == 0
    assert Path("x\udcff", FILES[form]).exists()


def test_files_of_a_file_manager_are_in_no_way(trained: Path) -> None:
    Path("x").mkdir()
    Path("x/.DS_Store").touch()
    assert export(trained, "torch") == 0
    assert Path("x/.DS_Store").exists()
