"""Near duplicates: images that look alike are found by their perceptual hashes."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from feedline import Dataset
from feedline.convert import build, perceptual
from feedline.convert.near import MAX_DISTANCE, MAX_LOW_DISTANCE, find_near
from tests.conftest import convert
from tests.convert.helpers import refusal


def picture(seed: int, size: tuple[int, int] = (300, 260)) -> Image.Image:
    """Coarse noise, as smooth as a photo."""
    coarse = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def again(image: Image.Image, quality: int = 60) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def saved(root: Path, images: dict[str, Image.Image]) -> Path:
    for name, image in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name)
    return root


def two_parts(tmp_path: Path) -> Path:
    """train/ and val/ of two classes; val/a/copy and val/b/copy look like train images."""
    images = {f"train/{'ab'[i % 2]}/{i}.png": picture(i) for i in range(12)}
    images |= {f"val/{'ab'[i % 2]}/{i}.png": picture(100 + i) for i in range(4)}
    copies = {
        "val/a/copy.png": picture(2).resize((150, 130)),
        "val/b/copy.jpg": ImageEnhance.Brightness(picture(4)).enhance(0.9),
    }
    return saved(tmp_path / "source", {**images, **copies})


def near_report(dataset: Dataset) -> Any:
    return json.loads((dataset.root / "doctor.json").read_text())["near_duplicates"]


def test_copies_across_a_split_are_found_and_fail_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("imagehash", reason="needs ImageHash: pip install feedline[near]")
    source = two_parts(tmp_path)
    dataset = convert(source, tmp_path / "out", "--near-duplicates", "on", "--val-fraction", "0")
    report = near_report(dataset)
    assert (report["images"], report["too_flat"]) == (18, 0)
    assert [(group["paths"], group["labels"], group["crosses"]) for group in report["groups"]] == [
        (["train/a/2.png", "val/a/copy.png"], [0, 0], ["official"]),
        (["train/a/4.png", "val/b/copy.jpg"], [0, 1], ["official"]),
    ]
    assert all(0 <= group["distance"] <= MAX_DISTANCE for group in report["groups"])
    assert dataset.meta["findings"]["near_groups"] == 2
    assert dataset.meta["findings"]["near_crossing_groups"] == {"official": 2}
    out = capsys.readouterr().out
    assert "look alike     2 groups of images, 1 with different labels, 2 across official\n" in out
    argv = ["--source", str(source), "--out", str(dataset.root), "--val-fraction", "0", "--fail-on", "leaks"]
    assert build.main(argv) == 1
    assert "leaks: 2 (groups" in capsys.readouterr().err


def test_auto_hashes_images_whose_decoding_costs_more(tmp_path: Path) -> None:
    pytest.importorskip("imagehash", reason="needs ImageHash: pip install feedline[near]")
    sizes = {"a/1.png": (256, 256), "a/2.png": (255, 256), "b/1.png": (1000, 80), "b/2.png": (64, 64)}
    source = saved(tmp_path / "source", {name: picture(0, size) for name, size in sizes.items()})
    assert near_report(convert(source, tmp_path / "auto", "--val-fraction", "0.5"))["images"] == 2
    assert near_report(convert(source, tmp_path / "off", "--val-fraction", "0.5", "--near-duplicates", "off")) is None


def test_a_dataset_without_the_search_is_not_taken_for_one_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("imagehash", reason="needs ImageHash: pip install feedline[near]")
    source = two_parts(tmp_path)
    convert(source, tmp_path / "out", "--near-duplicates", "off")
    convert(source, tmp_path / "out")
    line = refusal(capsys, source, tmp_path / "out", "--near-duplicates", "on")
    assert line.endswith("was built without --near-duplicates on; add --force to build it again")


def test_without_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual, "available", lambda: False)
    monkeypatch.setattr("feedline.convert.table.available", lambda: False)
    source = two_parts(tmp_path)
    line = refusal(capsys, source, tmp_path / "out", "--near-duplicates", "on")
    assert line == "build.py: --near-duplicates on: needs the package ImageHash: pip install 'feedline[near]'"
    assert near_report(convert(source, tmp_path / "out")) is None
    assert "look alike     not looked for: pip install 'feedline[near]'" in capsys.readouterr().out
    assert "choose from auto, on, off" in refusal(capsys, source, tmp_path / "out", "--near-duplicates", "yes")


@pytest.mark.parametrize("seed", range(20))
def test_what_is_alike_and_what_is_not(seed: int) -> None:
    pytest.importorskip("imagehash", reason="needs ImageHash: pip install feedline[near]")
    image = picture(seed)
    alike = [
        again(image),
        again(image, 25),
        image.resize((100, 90)),
        image.resize((1300, 1100)),
        image.convert("L"),
        ImageEnhance.Brightness(image).enhance(0.85),
        ImageEnhance.Contrast(image).enhance(0.8),
    ]
    other = [picture(1000 + seed), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image.rotate(90)]
    hashes = [perceptual.perceptual_hash(np.array(each.convert("RGB"))) or b"" for each in [image, *alike, *other]]
    groups = find_near(hashes, [b"%d" % i for i in range(len(hashes))])
    assert [group.images for group in groups] == [list(range(1 + len(alike)))]


def test_flat_images_look_like_nothing() -> None:
    pytest.importorskip("imagehash", reason="needs ImageHash: pip install feedline[near]")
    slope = np.tile(np.linspace(0, 90, 300).astype(np.uint8)[None, :, None], (300, 1, 3))
    faint = np.random.default_rng(0).integers(126, 130, (300, 300, 3), dtype=np.uint8)
    for flat in (np.zeros((300, 300, 3), np.uint8), np.full((70, 90, 3), 255, np.uint8), slope, faint):
        assert perceptual.perceptual_hash(flat) == b""
    assert len(perceptual.perceptual_hash(np.array(picture(0))) or b"") == 32


def flipped(value: bytes, *bits: int) -> bytes:
    array = np.unpackbits(np.frombuffer(value, np.uint8))
    array[list(bits)] ^= 1
    return np.packbits(array).tobytes()


def test_pairs_within_the_distance_are_all_found() -> None:
    """Against every pair compared."""
    rng = np.random.default_rng(1)
    hashes = []
    for _ in range(150):
        value = rng.bytes(32)
        for _ in range(4):
            hashes.append(flipped(value, *rng.choice(256, rng.integers(0, 40), replace=False)))
    bits = np.unpackbits(np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32), axis=1)
    differ = bits[:, None] != bits[None]
    alike = (differ.sum(2) <= MAX_DISTANCE) & (differ[..., :64].sum(2) <= MAX_LOW_DISTANCE)
    linked = {(i, j) for i, j in zip(*np.nonzero(alike), strict=True) if i < j}
    groups = find_near(hashes, [b"%d" % i for i in range(len(hashes))])
    group_of = {image: n for n, group in enumerate(groups) for image in group.images}
    assert 50 < len(linked) < 900
    assert all(group_of[i] == group_of[j] for i, j in linked)
    assert {image for pair in linked for image in pair} == set(group_of)
    assert all(group.distance <= MAX_DISTANCE for group in groups)


def test_identical_images_alone_are_no_near_duplicates() -> None:
    a, b, c = (np.random.default_rng(seed).bytes(32) for seed in range(3))
    assert find_near([a, a, b, b"", b"", c], [b"1", b"1", b"2", b"3", b"4", b"5"]) == []
    (group,) = find_near([a, a, a], [b"1", b"1", b"2"])
    assert (group.images, group.distance) == ([0, 1, 2], 0)


def test_many_images_of_one_scene_take_memory_by_images_not_by_pairs() -> None:
    """5,000 frames: 12 million pairs, all alike."""
    rng = np.random.default_rng(3)
    scene = rng.bytes(32)
    frames = [flipped(scene, *rng.choice(256, 6, replace=False)) for _ in range(5000)]
    (group,) = find_near(frames, [b"%d" % i for i in range(5000)])
    assert len(group.images) == 5000
