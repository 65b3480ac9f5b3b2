import filecmp
import hashlib
import json
import os
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from feedline.convert import build
from feedline.pipeline import Dataset, Loader
from feedline.pipeline.decode import decode
from tests.conftest import convert
from tests.convert.server import serve


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return target


def content(dataset: Dataset) -> dict[str, str]:
    """The digest of every file of a dataset folder but dataset.json, which names the source."""
    files = (p for p in dataset.root.rglob("*") if p.is_file() and p.name != "dataset.json")
    return {str(p.relative_to(dataset.root)): hashlib.md5(p.read_bytes()).hexdigest() for p in files}


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line of a command that ends with status 2."""
    assert build.main(list(argv)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_every_kind_of_source_gives_the_same_dataset(tiny_source: Path, dataset: Dataset, tmp_path: Path) -> None:
    archive = zipped(tiny_source, tmp_path / "tiny.zip")
    from_zip = convert(archive, tmp_path / "from-zip")
    with serve(archive.read_bytes(), "tiny.zip") as server:
        server.break_after = [10_000]
        checked = f"{server.url}#md5={hashlib.md5(archive.read_bytes()).hexdigest()}"
        from_url = convert(checked, tmp_path / "from-url")
    assert content(from_zip) == content(from_url) == content(dataset)
    assert from_zip.fingerprint == from_url.fingerprint == dataset.fingerprint
    assert from_url.meta["source"]["md5"] == from_zip.meta["source"]["md5"]


def test_a_wrong_md5_leaves_no_dataset(tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(b"something else") as server:
        line = refused(capsys, "--source", f"{server.url}#md5={'0' * 32}", "--out", str(tmp_path / "out"))
    assert "expected 000" in line
    assert not (tmp_path / "out").exists()


def test_tiny_imagenets_layout_becomes_image_folders(dataset: Dataset, tiny_source: Path) -> None:
    for part, count in (("train", 96), ("val", 32)):
        folder = ImageFolder(dataset.root / part)
        assert folder.classes == [c.folder for c in dataset.classes]
        assert len(folder) == count
        ours = {dataset.path(i): int(dataset.labels[i]) for i in dataset.ids("official", part).tolist()}
        theirs = {str(Path(path).relative_to(dataset.root)): label for path, label in folder.samples}
        assert ours == theirs
    annotations = (tiny_source / "val/val_annotations.txt").read_text().splitlines()
    for name, wnid in (line.split("\t")[:2] for line in annotations):
        assert filecmp.cmp(tiny_source / "val/images" / name, dataset.root / "val" / wnid / name, shallow=False)
    assert [c.words for c in dataset.classes] == ["disc", "ring", "crescent", "triangle"]


def test_both_splits_are_exact(dataset: Dataset) -> None:
    assert dataset.splits == {"official": {"train": 96, "val": 32}, "70-30": {"train": 88, "val": 40}}
    train, val = dataset.ids("70-30", "train"), dataset.ids("70-30", "val")
    assert sorted([*train, *val]) == list(range(128))
    assert Counter(dataset.labels[val].tolist()) == {0: 10, 1: 10, 2: 10, 3: 10}


def test_the_stratified_split_is_seeded(dataset: Dataset, tiny_source: Path, tmp_path: Path) -> None:
    other = convert(tiny_source, tmp_path / "other", "--seed", "1", "--packs", "")
    assert other.ids("70-30", "val").tolist() != dataset.ids("70-30", "val").tolist()
    assert other.ids("official", "val").tolist() == dataset.ids("official", "val").tolist()
    assert other.packs == {}
    quarter = convert(tiny_source, tmp_path / "quarter", "--val-fraction", "0.25", "--packs", "raw")
    assert quarter.splits["75-25"] == {"train": 96, "val": 32}
    assert list(quarter.packs) == ["raw"]


def test_mean_and_std_are_those_of_the_train_images(dataset: Dataset) -> None:
    paths = [dataset.root / dataset.path(i) for i in dataset.ids("official", "train").tolist()]
    pixels = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths]).reshape(-1, 3) / 255
    np.testing.assert_allclose(dataset.mean, pixels.mean(0), atol=1e-6)
    np.testing.assert_allclose(dataset.std, pixels.std(0), atol=1e-6)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_same_input_gives_the_same_bytes(tiny_source: Path, dataset: Dataset, tmp_path: Path, workers: str) -> None:
    again = convert(tiny_source, tmp_path / "again", "--workers", workers)
    assert content(again) == content(dataset)
    assert (again.root / "dataset.json").read_bytes() == (dataset.root / "dataset.json").read_bytes()


def test_a_second_run_does_nothing_and_says_so(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = convert(tiny_source, tmp_path / "out", "--packs", "jpeg")
    before = {p: p.stat().st_mtime_ns for p in made.root.rglob("*")}
    convert(tiny_source, tmp_path / "out", "--packs", "jpeg")
    assert "nothing to do" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in made.root.rglob("*")} == before
    line = refused(capsys, "--source", str(tiny_source), "--out", str(made.root), "--packs", "raw")
    assert "was built with packs ['jpeg'], now ['raw'] is asked for; add --force" in line
    convert(tiny_source, tmp_path / "out", "--packs", "raw", "--force")
    assert list(Dataset(made.root).packs) == ["raw"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def image(path: Path, seed: int, mode: str = "RGB", **options: Any) -> bytes:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).convert(mode).save(path, **options)
    return path.read_bytes()


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """train/ and val/ of two classes, with one of everything that the doctor looks for."""
    root = tmp_path / "odd"
    for label, folder in enumerate(("a", "b")):
        for part, count in (("train", 8), ("val", 4)):
            for i in range(count):
                image(root / part / folder / f"{i}.png", 100 * label + 10 * (part == "val") + i)
    image(root / "train/a/gray.jpg", 900, "L")
    shutil.copy(root / "train/a/1.png", root / "train/b/same_as_a1.png")
    shutil.copy(root / "train/b/2.png", root / "val/b/same_as_b2.png")
    whole = image(root / "train/a/cut.jpg", 901, quality=95)
    (root / "train/a/cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (root / "train/a/text.jpg").write_text("this is no image")
    (root / "train/b/empty.png").write_bytes(b"")
    (root / "train/stray.png").write_bytes((root / "train/a/0.png").read_bytes())
    (root / "train/a/notes.txt").write_text("not an image, and not called one")
    return root


def test_the_doctor_names_what_is_odd(odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = convert(odd, tmp_path / "out")
    report = json.loads((dataset.root / "doctor.json").read_text())
    reasons = {entry["path"]: entry["reason"] for entry in report["left_out"]}
    assert sorted(reasons) == ["train/a/cut.jpg", "train/a/text.jpg", "train/b/empty.png", "train/stray.png"]
    assert reasons["train/stray.png"] == "not in a class folder"
    assert all(reason.startswith("does not decode") for path, reason in reasons.items() if "stray" not in path)
    assert report["gray"] == ["train/a/gray.jpg"]
    assert [(d["paths"], d["labels"], d["crosses"]) for d in report["duplicates"]] == [
        (["train/a/1.png", "train/b/same_as_a1.png"], [0, 1], []),
        (["train/b/2.png", "val/b/same_as_b2.png"], [1, 1], ["official"]),
    ]
    assert dataset.meta["findings"] == {
        "left_out": 4,
        "gray": 1,
        "duplicate_groups": 2,
        "conflicting_groups": 1,
        "crossing_groups": {"official": 1},
    }
    assert dataset.count == 27
    assert not (dataset.root / "train/a/cut.jpg").exists()
    out = capsys.readouterr().out
    assert "train/a/cut.jpg: does not decode" in out
    assert "2 groups of identical images, 1 with different labels, 1 across official" in out


def test_identical_images_stay_on_one_side_of_the_stratified_split(tmp_path: Path) -> None:
    root = tmp_path / "twins"
    for i in range(40):
        folder = "ab"[i % 2]
        image(root / folder / f"{i}.png", i)
        if i < 24:
            shutil.copy(root / folder / f"{i}.png", root / folder / f"{i}_again.png")
    dataset = convert(root, tmp_path / "out")
    val = set(dataset.ids("70-30", "val").tolist())
    sides: dict[bytes, set[bool]] = {}
    for i in range(dataset.count):
        sides.setdefault((dataset.root / dataset.path(i)).read_bytes(), set()).add(i in val)
    assert all(len(side) == 1 for side in sides.values())
    assert Counter(dataset.labels[sorted(val)].tolist()) == {0: 10, 1: 10}
    assert "official" not in dataset.splits


def test_strict_stops_at_an_image_that_does_not_decode(
    odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--source", str(odd), "--out", str(tmp_path / "out"), "--strict", "--workers", "1"]
    assert "train/stray.png: not in a class folder (--strict)" in refused(capsys, *argv)
    (odd / "train/stray.png").unlink()
    line = refused(capsys, *argv)
    assert "train/a/cut.jpg: does not decode" in line
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_images_of_all_sizes(varied: Dataset) -> None:
    assert varied.image_size is None
    assert len({tuple(s) for s in varied.sizes.tolist()}) > 10
    assert [c.folder for c in varied.classes] == ["cat food", "dogs"]
    for i in (0, 3, 20):
        pixels = np.asarray(Image.open(varied.root / varied.path(i)).convert("RGB"))
        assert varied.sizes[i].tolist() == list(pixels.shape[:2])
        assert np.array_equal(varied.pack("raw").pixels(np.array([i]))[0], pixels)


def test_max_size_makes_packs_smaller(photos: Path, varied: Dataset, tmp_path: Path) -> None:
    """The shorter side is limited, the shape kept, smaller images are left as they are; the files too."""
    small = convert(photos, tmp_path / "small", "--max-size", "64")
    ids = np.arange(small.count)
    raw, encoded = small.pack("raw"), small.pack("jpeg")
    limited = 0
    for (h, w), (ph, pw), pixels, data in zip(
        small.sizes.tolist(), raw.sizes(ids).tolist(), raw.pixels(ids), encoded.encoded(ids), strict=True
    ):
        assert (ph, pw) == ((h, w) if min(h, w) <= 64 else (round(h * 64 / min(h, w)), round(w * 64 / min(h, w))))
        again = decode(data).pixels
        assert again.shape == pixels.shape == (ph, pw, 3)
        assert np.abs(again.astype(int) - pixels).mean() < 6
        limited += min(h, w) > 64
    assert 0 < limited < small.count
    assert small.fingerprint != varied.fingerprint
    assert (small.root / small.path(3)).read_bytes() == (varied.root / varied.path(3)).read_bytes()
    for store in ("jpeg", "raw"):
        loader = Loader(small, store=store, batch_size=4, image_size=48)
        assert next(iter(loader))[0].shape == (4, 3, 48, 48)


def test_max_size_may_make_all_images_one_size(tmp_path: Path) -> None:
    for name, side in (("a", 40), ("b", 60), ("b2", 33)):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (side, side), (9 * i, side, 0)).save(tmp_path / "in" / name / f"{i}.png")
    small = convert(tmp_path / "in", tmp_path / "out", "--max-size", "32")
    assert small.image_size is None
    assert small.packs["raw"]["image_size"] == [32, 32]
    images, _ = next(iter(Loader(small, store="resident", batch_size=4, image_size=32)))
    assert images.shape == (4, 3, 32, 32)


def test_exif_orientation_is_obeyed(tmp_path: Path) -> None:
    for folder in "ab":
        for i in range(4):
            exif = Image.Exif()
            exif[0x0112] = 6  # to be turned by 90 degrees
            image(tmp_path / "src" / folder / f"{i}.jpg", ord(folder) + i, exif=exif, quality=95)
    dataset = convert(tmp_path / "src", tmp_path / "out", "--val-fraction", "0.5")
    assert dataset.image_size == (30, 20)


def test_a_build_that_fails_keeps_the_old_folder(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(convert(tiny_source, tmp_path / "out", "--packs", ""))
    monkeypatch.setattr(build, "write_meta", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    argv = ["--source", str(tiny_source), "--out", str(tmp_path / "out"), "--force", "--workers", "1"]
    assert build.main(argv) == 130
    assert content(Dataset(tmp_path / "out")) == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--source", "/nowhere/at/all"], "no such file or folder"),
        (["--packs", "tar"], "--packs tar: choose from jpeg, raw"),
        (["--val-fraction", "1.5"], "--val-fraction 1.5: must lie between 0 and 1"),
        (["--val-fraction", "0.01"], "class 0 has 32 images, too few for both sides"),
        (["--workers", "0"], "--workers 0: must be at least 1"),
    ],
)
def test_wrong_input_is_one_clear_line(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    line = refused(capsys, *["--source", str(tiny_source), "--out", str(tmp_path / "out"), *argv])
    assert message in line
    assert not (tmp_path / "out").exists()


def test_sources_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    (tmp_path / "empty").mkdir()
    assert "at least two class folders" in refused(capsys, "--source", str(tmp_path / "empty"), *out)
    (tmp_path / "x.zip").write_bytes(b"PK no zip")
    assert "not a zip that can be read" in refused(capsys, "--source", str(tmp_path / "x.zip"), *out)
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../evil/x.png", b"")
    assert "unsafe name" in refused(capsys, "--source", str(tmp_path / "evil.zip"), *out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    for force in ([], ["--force"]):
        line = refused(capsys, "--source", str(tmp_path / "empty"), "--out", str(tmp_path / "mine"), *force)
        assert "is there already and not a dataset" in line
    assert (tmp_path / "mine/thesis.txt").exists()


def test_val_is_held_to_the_classes_of_train(odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image(odd / "val/c/0.png", 7)
    line = refused(capsys, "--source", str(odd), "--out", str(tmp_path / "out"))
    assert "val holds the class 'c' that train lacks" in line


@pytest.mark.skipif("TINY_IMAGENET" not in os.environ, reason="TINY_IMAGENET does not name the unpacked dataset")
def test_the_real_tiny_imagenet(tmp_path: Path) -> None:
    dataset = convert(Path(os.environ["TINY_IMAGENET"]), tmp_path / "tin", "--workers", "2")
    assert dataset.splits == {
        "official": {"train": 100_000, "val": 10_000},
        "70-30": {"train": 77_000, "val": 33_000},
    }
    np.testing.assert_allclose(dataset.mean, (0.4802, 0.4481, 0.3975), atol=5e-5)
    np.testing.assert_allclose(dataset.std, (0.2764, 0.2689, 0.2816), atol=5e-5)
    assert dataset.meta["findings"] == {
        "left_out": 0,
        "gray": 1989,
        "duplicate_groups": 27,
        "conflicting_groups": 27,
        "crossing_groups": {"official": 7},
    }
