"""Loaders side by side: who does not do the same work is found out, and every row says its conditions."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray

from bench.peers import __main__ as peers
from bench.peers.agreement import Agreement, compare
from bench.peers.contestants import CONTESTANTS, FILES
from bench.peers.job import WORKS, Contestant, Job
from bench.peers.promises import PROMISES, ratios
from bench.peers.race import Entry, Running, settle
from bench.peers.reference import Reference
from bench.peers.report import report
from feedline import Dataset
from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD

COUNT, CLASSES, SIZE, BATCH = 48, 4, 32, 16
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
LABELS = np.arange(COUNT) % CLASSES
MEAN = np.array(IMAGENET_MEAN, np.float32)
JOB = Job(Path("data"), Path("files"), "train", 256, 2)

Pixels = NDArray[np.uint8]


def batches(
    change: Callable[[Pixels], Any] = lambda images: images, ids: Any = None, labels: Any = LABELS
) -> Iterator[Any]:
    """A contestant that shuffles, decodes, and then does something with the pixels of a batch."""
    rng = np.random.default_rng(1)
    while True:
        order = rng.permutation(COUNT) if ids is None else ids(rng)
        for first in range(0, COUNT, BATCH):
            which = order[first : first + BATCH]
            yield torch.as_tensor(change(IMAGES[which].copy())), torch.as_tensor(labels[which])


def crops(*, flip: float = 0.5, mode: Any = "constant", std: Any = IMAGENET_STD) -> Callable[[Pixels], Any]:
    """The work `train` on a batch, by numpy."""
    rng = np.random.default_rng(2)

    def crop(images: Pixels) -> NDArray[np.float32]:
        out = []
        for padded in np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode=mode):
            y, x = rng.integers(0, 9, 2)
            cut = padded[y : y + SIZE, x : x + SIZE]
            out.append(cut[:, ::-1] if rng.random() < flip else cut)
        values = (np.stack(out).astype(np.float32) / 255 - np.array(IMAGENET_MEAN, np.float32)) / np.array(
            std, np.float32
        )
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))

    return crop


def one_pixel(by: int) -> Callable[[Pixels], Pixels]:
    def change(images: Pixels) -> Pixels:
        images[0, 3, 5, 1] = images[0, 3, 5, 1] - by if images[0, 3, 5, 1] >= by else images[0, 3, 5, 1] + by
        return images

    return change


def pixels(contestant: Iterator[Any], *, replaces: bool = False) -> Agreement:
    return compare(contestant, Reference(IMAGES, LABELS, augmented=False), replaces=replaces)


def train(contestant: Iterator[Any]) -> Agreement:
    return compare(contestant, Reference(IMAGES, LABELS, augmented=True))


def test_the_same_pixels_in_any_order_agree() -> None:
    result = pixels(batches())
    assert (result.verdict, result.order, result.output) == ("same", "every image once", "uint8 NHWC")
    assert result.images == 2 * COUNT
    assert result.largest == 0
    assert pixels(batches(lambda images: images.transpose(0, 3, 1, 2))).output == "uint8 NCHW, channels last"


@pytest.mark.parametrize(("by", "agrees"), [(1, True), (2, True), (3, False), (90, False)])
def test_a_pixel_that_is_off_by_more_than_two_levels_is_reported(by: int, agrees: bool) -> None:
    result = pixels(batches(one_pixel(by)))
    assert result.largest == by
    assert result.agrees == agrees
    assert (f"differ: {by} levels" in result.verdict) == (not agrees)


def test_swapped_colours_are_reported() -> None:
    assert not pixels(batches(lambda images: images[..., ::-1].copy())).agrees


def test_wrong_labels_are_reported() -> None:
    result = pixels(batches(labels=(LABELS + 1) % CLASSES))
    assert "images are none of the images with their label" in result.verdict


def test_images_left_out_are_reported() -> None:
    result = pixels(batches(ids=lambda rng: rng.permutation(np.arange(COUNT) // 2 * 2)))
    assert result.verdict == f"{COUNT // 2} of {COUNT} images did not come in two epochs"


def test_drawing_with_replacement_is_allowed_to_those_who_say_so() -> None:
    def ids(rng: np.random.Generator) -> Any:
        return rng.integers(0, COUNT, COUNT)

    assert "did not come" in pixels(batches(ids=ids)).verdict
    result = pixels(batches(ids=ids), replaces=True)
    assert (result.verdict, result.order) == ("same", "with replacement")


def test_every_window_and_flip_of_the_train_work_is_recognised() -> None:
    result = train(batches(crops()))
    assert (result.verdict, result.order, result.output) == ("same", "every image once", "float32 NCHW")
    assert result.largest < 0.01, "in levels: only the rounding of float32"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (crops(flip=0.0), "0% of the images are flipped"),
        (crops(mode="reflect"), "images are none of the images with their label"),
        (crops(std=(0.25, 0.25, 0.25)), "std 1.283: -0.074 and 1.420 expected"),
        (lambda images: crops()(images)[:, :, 1:, 1:], "images of 31x31x3"),
    ],
)
def test_another_augmentation_is_reported(change: Callable[[Pixels], Any], says: str) -> None:
    result = train(batches(change))
    assert not result.agrees
    assert says in result.verdict


def test_windows_that_never_move_are_reported() -> None:
    def corner(images: Pixels) -> Any:
        padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))[:, :SIZE, :SIZE]
        padded[::2] = padded[::2, :, ::-1]
        values = (padded.astype(np.float32) / 255 - np.array(IMAGENET_MEAN, np.float32)) / np.array(
            IMAGENET_STD, np.float32
        )
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))

    assert "windows start at 0.0, 0.0 on average" in train(batches(corner)).verdict


def entry(name: str, speeds: list[float], agreement: Agreement | None = None, **more: Any) -> Entry:
    contestant = Contestant(name, lambda job: iter(()), ("train",), "files", "Pillow", "{threads} threads", **more)
    rounds = [{"images_per_s": v, "cpu_us": 10.0, "memory_mib": 100.0} for v in speeds]
    return Entry(contestant, agreement or Agreement(order="every image once", output="uint8 NHWC"), [1.0], rounds)


def test_who_differs_is_marked_with_the_largest_difference() -> None:
    text = report([entry("right", [10, 10]), entry("wrong", [20, 20], Agreement(largest=31, mean=2.5))], JOB)
    speeds, conditions, note = text.split("\n\n")
    assert note.startswith("(*) Not the same pixels")
    assert "| wrong (*) | 20 |" in speeds
    assert "| right | 10 |" in speeds
    assert next(line for line in conditions.splitlines() if "wrong" in line).endswith(
        "differ: 31 levels, 2.5 on average |"
    )


def test_every_row_has_its_conditions() -> None:
    conditions = report([entry("a", [10, 10]), entry("ours b", [20, 30], ours=True)], JOB).split("\n\n")[1].splitlines()
    assert conditions[0] == "|  | stored as | decoder | runs in | order | crop | output | page cache | pixels |"
    crop = WORKS["train"].crop
    assert conditions[3] == f"| a | files | Pillow | 2 threads | every image once | {crop} | uint8 NHWC | warm | same |"
    assert conditions[2].startswith("| **ours b** |")


def test_promised_ratios_are_computed_round_by_round() -> None:
    ours, peer = entry("ours raw torch", [80, 90, 100]), entry("FFCV raw", [10, 9, 20])
    (ratio,) = ratios([ours, peer], "train")
    assert (ratio.median, ratio.lowest, ratio.highest, ratio.kept) == (8, 5, 10, True)
    assert "ours raw torch is 8.00 times (5.00 - 10.00) as fast as FFCV raw: promised 8, kept." in report(
        [ours, peer], JOB
    )
    peer.rounds[0]["images_per_s"] = 11
    assert "NOT KEPT" in report([ours, peer], JOB)
    peer.problem = "fell over"
    assert ratios([ours, peer], "train") == []


def test_promises_are_about_contestants_that_do_the_work() -> None:
    works = {c.name: c.works for c in CONTESTANTS}
    assert all(p.work in works[p.ours] and p.work in works[p.peer] for p in PROMISES)


def test_names_and_files_are_unique() -> None:
    for names in ([c.name for c in CONTESTANTS], [files.name for files in FILES]):
        assert len(set(names)) == len(names)


def test_defaults_stand_beside_the_fastest() -> None:
    names = {c.name for c in CONTESTANTS}
    defaults = {name.removesuffix(", defaults") for name in names if name.endswith(", defaults")}
    assert {"torchvision DataLoader", "LitData", "Streaming", "Grain", "timm", "webdataset", "DALI"} == defaults & names


def test_pixels_are_compared_before_the_race(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.peers.files.installed", lambda module: False)
    words = ["--data", str(dataset.root), "--files", str(tmp_path / "files"), "--out", str(tmp_path), "--rounds", "0"]
    words += ["--only", "ours raw torch,torchvision DataLoader", "--batch-size", "16", "--threads", "1"]
    assert peers.main([*words, "--configurations", "fastest", "--works", "train"]) == 0
    results = json.loads((tmp_path / "train.json").read_text())["results"]
    assert [r["name"] for r in results] == ["torchvision DataLoader", "ours raw torch"]
    assert all(r["agreement"]["agrees"] for r in results)
    assert all(r["conditions"]["order"] == "every image once" for r in results)
    assert all(r["agreement"]["images"] == 192 for r in results), "two epochs of 96 train images"
    assert "| **ours raw torch** | pack, pixels | none | 1 threads |" in capsys.readouterr().out


def test_one_that_died_between_rounds_ends_nothing() -> None:
    """A line for it is still in the buffer, and closing that fails as writing did."""
    running = Running.__new__(Running)
    running.entry, running.log = Entry(CONTESTANTS[0]), io.BytesIO()  # type: ignore[assignment]
    running.process = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, text=True)
    running.process.wait()
    with pytest.raises(BrokenPipeError):
        running.measure(1.0)
    running.stop()
    assert running.log.closed


def test_the_next_contestant_waits_until_the_last_is_still() -> None:
    work = "import time\nuntil = time.process_time() + 0.6\nwhile time.process_time() < until: pass\ntime.sleep(60)\n"
    process = psutil.Popen([sys.executable, "-c", work])
    try:
        while not process.cpu_times().user:
            pass
        settle(process, still=0.2, most=60)
        times = process.cpu_times()
        assert times.user + times.system >= 0.6
    finally:
        process.kill()
        process.wait()
