"""Sizes and shapes: what train and val see of images that do not have the input's shape."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from feedline import Dataset, InputError, Loader
from feedline.pipeline.resolve import input_size
from tests.conftest import convert
from tests.pipeline.loading import ENGINES, epoch

WIDE, HIGH, SQUARE = (60, 100), (100, 60), (64, 64)
STORES = ["files", "jpeg", "raw"]


def circles(root: Path, *sizes: tuple[int, int]) -> Path:
    """An ImageFolder of two classes: a red disc in the middle of each image, of half the shorter side."""
    for number in range(24):
        height, width = sizes[number % len(sizes)]
        image, radius = Image.new("RGB", (width, height), (0, 0, 5 * number)), min(height, width) / 4
        y, x = height / 2, width / 2
        ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 0, 0))
        folder = root / ("cats", "dogs")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number}.jpg", quality=98, subsampling=0)
    return root


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Dataset]:
    """Datasets by the size of their images; `mixed` has two."""
    root = tmp_path_factory.mktemp("circles")
    sizes: dict[Any, tuple[tuple[int, int], ...]] = {size: (size,) for size in (WIDE, HIGH, SQUARE)}
    sizes["mixed"] = (WIDE, HIGH)
    return {
        name: convert(circles(root / f"source-{number}", *of), root / f"{number}")
        for number, (name, of) in enumerate(sizes.items())
    }


def loader(dataset: Dataset, **options: Any) -> Loader:
    return Loader(dataset, **{"batch_size": 6, "threads": 1, "dtype": torch.uint8, **options})


def extents(images: torch.Tensor) -> NDArray[np.float64]:
    """Height and width of the disc in each image, [B, 2], in pixels; half-red ones count half."""
    red = images[:, 0].float().numpy() / 255
    return np.stack([red.max(axis=2).sum(axis=1), red.max(axis=1).sum(axis=1)], axis=1)


def windows(of: Loader) -> NDArray[np.int64]:
    of.set_epoch(0)
    return np.concatenate([of.plan.batch(0, k).window for k in range(len(of))]).astype(np.int64)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("size", [WIDE, HIGH, SQUARE, "mixed"])
def test_a_circle_is_one_in_train_and_val(sets: dict[Any, Dataset], size: Any, store: Any, engine: Any) -> None:
    options = {"store": store, "engine": engine, "image_size": 48}
    parts: list[dict[str, Any]] = [{"part": "val"}, {"part": "val", "crop_fraction": 1}]
    parts += [{"augment": (crop,)} for crop in ("pad-crop:3", "center", "random-resized-crop:scale=0.9-1:ratio=1-1")]
    for part in (*parts, {"augment": ()}):
        for images, _ in epoch(loader(sets[size], **options, **part)):
            height, width = extents(images).T
            edge = torch.cat([images[:, 0, [0, -1]].flatten(1), images[:, 0, :, [0, -1]].flatten(1)], dim=1)
            whole = (edge.amax(1) < 20).numpy()  # a window at an end of the longer side cuts it
            assert whole.any()
            assert (np.abs(height / width - 1)[whole] < 0.1).all(), (part, height, width)


@pytest.mark.parametrize("size", [WIDE, HIGH])
def test_images_of_one_size_are_cropped_as_those_of_mixed_sizes_are(sets: dict[Any, Dataset], size: Any) -> None:
    train, val = (windows(loader(sets[size], part=part, image_size=32)) for part in ("train", "val"))
    assert np.array_equal(train, windows(loader(sets[size], image_size=32, augment=("random-resized-crop",))))
    assert len(np.unique(train[:, 2:], axis=0)) > 8, "random sizes"
    assert np.unique(val[:, 2:], axis=0).tolist() == [[52, 52]], "7/8 of the shorter side"


def test_squares_are_padded_and_cropped_at_any_scale(sets: dict[Any, Dataset]) -> None:
    for side in (None, 32, 64, 80):
        train = np.concatenate([windows(loader(sets[SQUARE], image_size=side, seed=seed)) for seed in range(8)])
        assert np.unique(train[:, 2:], axis=0).tolist() == [[64, 64]]
        assert [train[:, :2].min(), train[:, :2].max()] == [-4, 4]
        assert np.unique(windows(loader(sets[SQUARE], part="val", image_size=side)), axis=0).tolist() == [
            [0, 0, 64, 64]
        ]


def test_pad_crop_takes_the_largest_window_of_the_inputs_shape_anywhere(sets: dict[Any, Dataset]) -> None:
    for size, long in ((WIDE, 1), (HIGH, 0)):
        found = np.concatenate(
            [windows(loader(sets[size], image_size=32, augment=("pad-crop:2",), seed=s)) for s in range(40)]
        )
        assert np.unique(found[:, 2:]).tolist() == [60]
        assert np.unique(found[:, 1 - long]).tolist() == [-2, -1, 0, 1, 2]
        assert np.unique(found[:, long]).tolist() == list(range(-2, 43))
        still = windows(loader(sets[size], image_size=32, augment=("pad-crop:0",)))
        assert np.unique(still[:, 1 - long]).tolist() == [0]
        assert len(np.unique(still[:, long])) > 8
        assert (still[:, :2] + 60 <= size).all()


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("augment", ["auto-crop", "pad-crop:5", "pad-crop:0", "center:0.7", "random-resized-crop"])
@pytest.mark.parametrize("part", ["train", "val"])
def test_engines_agree(sets: dict[Any, Dataset], store: Any, augment: str, part: Any) -> None:
    for size in (WIDE, HIGH, "mixed"):
        options = {"store": store, "augment": (augment, "flip"), "part": part, "image_size": 40, "decode": "cpu"}
        dali, reference = (epoch(loader(sets[size], engine=engine, **options), 1) for engine in ENGINES)
        for (a, la), (b, lb) in zip(dali, reference, strict=True):
            assert la.tolist() == lb.tolist()
            # At the disc's hard edge decoders and resizers differ by some levels.
            assert (a.int() - b.int()).abs().float().mean() < 1
            assert (a.int() - b.int()).abs().max() < 24


@pytest.mark.parametrize(
    ("image", "side"),
    [
        ((3000, 2000), 224),
        ((640, 480), 224),
        ((129, 129), 224),
        ((256, 256), 224),
        (None, 224),
        ((128, 128), 128),
        ((128, 4000), 128),
        ((100, 300), 100),
        ((96, 96), 96),
        ((32, 48), 32),
        ((28, 28), 28),
        ((4, 4), 4),
    ],
)
def test_photos_get_224_and_small_images_keep_their_shorter_side(image: tuple[int, int] | None, side: int) -> None:
    assert input_size(image) == (side, side)


@pytest.mark.parametrize("store", STORES)
def test_without_a_size_the_input_is_a_square(sets: dict[Any, Dataset], store: Any) -> None:
    for name, side in ((WIDE, 60), (HIGH, 60), (SQUARE, 64), ("mixed", 224)):
        for part in ("train", "val"):
            one = loader(sets[name], store=store, part=part)
            assert one.output(0) == one.eval_output == (side, side)
            assert epoch(one)[0][0].shape[2:] == (side, side)


@pytest.mark.parametrize("part", ["train", "val"])
def test_the_geometry_says_what_sizes_and_crops_came_to(sets: dict[Any, Dataset], part: Any) -> None:
    def geometry(name: Any, **options: Any) -> list[Any]:
        return list(loader(sets[name], part=part, **options).geometry.values())

    assert list(loader(sets[SQUARE]).geometry) == ["images", "size", "eval_size", "crop", "eval_crop"]
    assert geometry(SQUARE) == [[64, 64], [64, 64], [64, 64], "pad-crop", "center"]
    assert geometry(WIDE, image_size="24@0,32@2", eval_size=40, crop_fraction=0.5) == [
        [60, 100], [32, 32], [40, 40], "random-resized-crop", "center:0.5"
    ]  # fmt: skip
    kept = ("random-resized-crop:scale=0.5-1:ratio=1-1", "flip")
    assert geometry("mixed", augment=kept) == [None, [224, 224], [224, 224], kept[0], "center:0.875"]
    assert geometry("mixed", augment=("auto-crop:7",), image_size=32)[3] == "random-resized-crop"
    assert geometry(SQUARE, augment=("auto-crop:7",), image_size=32)[3] == "pad-crop:7"
    assert geometry(SQUARE, augment=())[3] == "center"


def test_a_state_is_refused_where_crops_came_to_something_else(sets: dict[Any, Dataset]) -> None:
    """As from another store of an old dataset, whose packs had sizes of their own."""
    train = loader(sets[WIDE], image_size=32)
    state = train.state_dict()
    train.load_state_dict(state)
    stream = {**state["stream"], "crop": "pad-crop"}
    with pytest.raises(InputError, match="crop=random-resized-crop: the state is of a loader with crop=pad-crop"):
        train.load_state_dict({**state, "stream": stream})
    older = {name: value for name, value in state["stream"].items() if name not in ("crop", "size")}
    train.load_state_dict({**state, "stream": older})
