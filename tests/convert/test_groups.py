"""`--group`: images of one patient, video or scene stay on one side of the stratified split."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedline import Dataset, InputError
from feedline.convert import from_dataset
from feedline.convert.groups import find_groups
from feedline.convert.no_val import Named
from feedline.convert.splits import Splits, divided
from tests.conftest import convert
from tests.convert.helpers import refusal, save_noise


def patients(root: Path, per_class: dict[str, dict[str, int]]) -> Path:
    """An ImageFolder of noise: {class: {patient: images}}, in files `<patient>-<number>.png`."""
    seed = 0
    for folder, images in per_class.items():
        for patient, count in images.items():
            for i in range(count):
                save_noise(root / folder / f"{patient}-{i}.png", seed := seed + 1)
    return root


def sides(dataset: Dataset, split: str) -> dict[str, set[str]]:
    """{patient: the parts with images of it}"""
    found = defaultdict(set)
    for part in dataset.splits[split]:
        for i in dataset.ids(split, part).tolist():
            found[Path(dataset.path(i)).name.split("-")[0]].add(part)
    return found


def report(dataset: Dataset) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((dataset.root / "doctor.json").read_text())
    return content


def test_a_pattern_keeps_patients_on_one_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everyone = {f"p{k}": 4 for k in range(10)}
    source = patients(tmp_path / "source", {"ill": everyone, "well": everyone})
    dataset = convert(source, tmp_path / "out", "--group", r"/(p\d+)-")
    assert all(len(parts) == 1 for parts in sides(dataset, "70-30").values())
    assert dataset.splits == {"70-30": {"train": 56, "val": 24}}
    assert dataset.meta["build"]["group"] == r"/(p\d+)-"
    assert report(dataset)["groups"]["groups"] == 10
    assert "groups         10\n" in capsys.readouterr().out
    without = convert(source, tmp_path / "without")
    assert any(len(parts) == 2 for parts in sides(without, "70-30").values())
    line = refusal(capsys, source, dataset.root)
    assert r"was built with group /(p\d+)-, now None is asked for" in line


def test_the_seed_decides_which_groups_are_in_val(tmp_path: Path) -> None:
    source = patients(tmp_path / "source", {"a": {f"p{k}": 3 for k in range(20)}, "b": {f"q{k}": 3 for k in range(20)}})
    vals = [
        convert(source, tmp_path / name, "--group", r"\w+(?=-)", "--seed", seed).ids("70-30", "val").tolist()
        for name, seed in (("one", "1"), ("again", "1"), ("two", "2"))
    ]
    assert vals[0] == vals[1] != vals[2]


def split(labels: list[int], groups: list[str], digests: list[bytes] | None = None, seed: int = 0) -> Splits:
    unique = [b"%d" % i for i in range(len(labels))]
    named = Named([f"{i}.png" for i in range(len(labels))], [f"class{label}" for label in range(9)], groups)
    return divided(["train"] * len(labels), labels, digests or unique, named, val_fraction=0.3, seed=seed)


@pytest.mark.parametrize("seed", range(8))
def test_classes_keep_their_shares_as_well_as_groups_allow(seed: int) -> None:
    """200 groups of 1 to 40 images, each mostly of one class of five: classes are within 4 points of 30 %."""
    rng = np.random.default_rng(seed)
    labels, groups = [], []
    for group in range(200):
        main, count = rng.integers(5), rng.integers(1, 41)
        labels += np.where(rng.random(count) < 0.8, main, rng.integers(0, 5, count)).tolist()
        groups += [f"g{group}"] * count
    made = split(labels, groups, seed=seed)
    assert made.notes == []
    (drawn,) = made.made
    assert not {groups[i] for i in drawn.val} & {groups[i] for i in drawn.train}
    shares = np.bincount(np.array(labels)[drawn.val]) / np.bincount(labels)
    assert np.abs(shares - 0.3).max() < 0.04


@pytest.mark.parametrize("count", [2, 3, 5, 10, 11, 32])
def test_images_in_no_group_are_stratified_to_the_image(count: int) -> None:
    labels = [label for label in range(3) for _ in range(count)]
    (drawn,) = split(labels, [""] * (3 * count)).made
    assert np.abs(np.bincount(np.array(labels)[drawn.val]) - 0.3 * count).max() <= 0.5


def test_identical_images_join_groups() -> None:
    groups = [f"g{i // 2}" for i in range(40)]
    digests = [b"%d" % i for i in range(40)]
    digests[1] = digests[4]  # g0 and g2
    digests[5] = digests[7]  # g2 and g3
    for seed in range(10):
        (drawn,) = split([i % 4 // 2 for i in range(40)], groups, digests, seed).made
        assert len({0, 1, 4, 5, 6, 7} & set(drawn.val.tolist())) in (0, 6)


def test_train_has_every_class_and_large_groups_are_said() -> None:
    made = split([0] * 6 + [1] * 60, ["x"] * 6 + ["y"] * 55 + [""] * 5)
    (drawn,) = made.made
    assert Counter(drawn.val.tolist()) == Counter(range(61, 66))
    assert made.notes == ["70-30 has 7.6% of the images in val: the largest group (with identical images) has 55"]


OTHERS = "; give a column or a pattern that tells patients, videos or scenes apart"


@pytest.mark.parametrize(
    ("labels", "groups", "twins", "message"),
    [
        ([0, 1] * 8, ["x"] * 16, [], f"`group`: all 16 images are in group 'x'{OTHERS}"),
        (
            [0] * 4 + [1] * 5,
            ["x"] * 4 + ["y"] * 5,
            [],
            f"`group`: all images of each class are in one group, as the 5 of 'class1' in group 'y'{OTHERS}",
        ),
        (
            [0, 1] * 8,
            [*"abcdefgh" * 2],
            range(8),
            f"`group`: all 16 images are in group 'a' and 7 more, joined by identical images{OTHERS}",
        ),
        (
            [0] * 10 + [1] * 10,
            ["x"] * 9 + ["y"] + ["x"] * 9 + ["y"],
            [],
            None,
        ),
    ],
)
def test_groups_that_leave_nothing_for_val(
    labels: list[int], groups: list[str], twins: list[int], message: str | None
) -> None:
    digests = [b"twin" if i in twins else b"%d" % i for i in range(len(labels))]
    if message is None:
        assert split(labels, groups, digests).made[0].val.tolist() == [9, 19]
        return
    with pytest.raises(InputError) as caught:
        split(labels, groups, digests)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("p", "--group: all 12 images are in group 'p'"),
        (r"^\w", "--group: all images of each class are in one group, as the 6 of 'a' in group 'a'"),
        (r".+", None),
    ],
)
def test_a_pattern_that_tells_nothing_apart_or_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pattern: str, message: str | None
) -> None:
    source = patients(tmp_path / "source", {"a": {"p1": 6}, "b": {"p2": 3, "p3": 3}})
    if message is None:
        convert(source, tmp_path / "out", "--group", pattern)
        assert "note           each group has one image: the groups keep nothing together\n" in capsys.readouterr().out
        return
    for path in source.rglob("*.png"):
        path.write_bytes(b"never read")
    assert refusal(capsys, source, tmp_path / "out", "--group", pattern).startswith(f"build.py: {message}")


def test_one_group_where_the_source_has_a_split_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, part in enumerate(("train", "val")):
        for folder in "ab":
            for i in range(3):
                save_noise(tmp_path / f"source/{part}/{folder}/p{i}.png", 9 * number + 3 * (folder == "a") + i)
    dataset = convert(tmp_path / "source", tmp_path / "out", "--group", "p")
    assert dataset.splits == {"official": {"train": 6, "val": 6}}
    assert "note           no split 70-30: all 12 images are in group 'p'; give a column" in capsys.readouterr().out


def test_groups_that_only_the_test_part_shares_are_not_laid_to_the_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in "ab":
        for i in range(12):
            save_noise(tmp_path / f"source/train/{folder}/p{i // 2}-{i}.png", 20 * (folder == "a") + i)
        for i in range(4, 7):
            save_noise(tmp_path / f"source/test/{folder}/p{i}-.png", 50 + 9 * (folder == "a") + i)
    dataset = convert(tmp_path / "source", tmp_path / "out", "--group", r"p\d", "--fail-on", "leaks")
    assert dataset.meta["findings"]["torn_groups"] == {}
    assert dataset.meta["findings"]["groups_in_test"] == 2
    torn = [(entry["group"], entry["crosses"], entry["in_test"]) for entry in report(dataset)["groups"]["torn"]]
    assert torn == [("p4", [], True), ("p5", [], True)]
    assert "groups         7; torn between test and the rest by the source: 2\n" in capsys.readouterr().out


def test_the_split_of_the_source_may_tear_groups_and_it_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {"a": {"p1": 3, "p2": 3, "p3": 2}, "b": {"p4": 3, "p5": 3, "loose": 2}}
    patients(tmp_path / "source/train", one)
    for path in patients(tmp_path / "other", {"a": {"p1": 2, "p9": 9}, "b": {"p4": 1, "p7": 1}}).rglob("*.png"):
        save_noise(tmp_path / "source/val" / path.relative_to(tmp_path / "other"), sum(path.name.encode()))
    dataset = convert(tmp_path / "source", tmp_path / "out", "--group", r"p\d")
    assert [entry["group"] for entry in report(dataset)["groups"]["torn"]] == ["p1", "p4"]
    assert report(dataset)["groups"]["images_in_none"] == 2
    assert dataset.meta["findings"]["torn_groups"] == {"official": 2}
    assert "groups         7, 2 images in none; across official: 2\n" in capsys.readouterr().out


COLUMNS = {"patient": ["7", "7", " 8", ""], "empty": ["", " ", "", ""]}
NAMES = ["a/x_1.png", "a/x_2.png", "b/y_1.png", "b/z.png"]


@pytest.mark.parametrize(
    ("group", "groups"),
    [
        ("patient", ["7", "7", "8", ""]),
        (r"^(\w)/", ["a", "a", "b", "b"]),
        (r"[xy]_\d", ["x_1", "x_2", "y_1", ""]),
        (r"(x)|(y)", ["x", "x", "", ""]),
        (r"_(?P<number>\d)", ["1", "2", "1", ""]),
    ],
)
def test_columns_and_patterns(group: str, groups: list[str]) -> None:
    assert find_groups(group, NAMES, COLUMNS) == groups


def test_what_programs_write_where_there_is_no_group_names_none() -> None:
    columns = {"patient": ["1", "NA", " nan", "<NA>"]}
    assert find_groups("patient", NAMES, columns) == ["1", "", "", ""]


@pytest.mark.parametrize(
    ("group", "columns", "message"),
    [
        (
            "patent",
            COLUMNS,
            "no column of the source (patient, empty), and as a pattern matches no path, such as 'a/x_1",
        ),
        ("patient", {}, "no column of the source (it has none), and as a pattern matches no path"),
        ("empty", COLUMNS, "the column is empty; give a column, or a regular expression"),
        ("(p", {}, "no column of the source (it has none), and no regular expression: missing )"),
        ("q*", {}, "no column of the source (it has none), and as a pattern matches no path"),
        ("", {}, "no column of the source (it has none), and as a pattern matches no path"),
    ],
)
def test_what_names_no_group(group: str, columns: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InputError) as caught:
        find_groups(group, NAMES, columns)
    assert caught.value.message.startswith(f"`group={group}`: {message}")


def test_it_is_said_before_images_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = patients(tmp_path / "source", {"a": {"p1": 3}, "b": {"p2": 3}})
    for path in source.rglob("*.png"):
        path.write_bytes(b"never read")
    line = refusal(capsys, source, tmp_path / "out", "--group", r"patient(\d+)")
    assert line.startswith(r"build.py: --group patient(\d+): no column of the source (it has none)")


def noise_items(count: int) -> list[tuple[np.ndarray[Any, Any], int]]:
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), i % 2) for i in range(count)]


@pytest.mark.parametrize("kind", [list, np.array, tuple])
def test_groups_of_a_dataset_in_python(tmp_path: Path, kind: Any) -> None:
    videos = [i // 8 for i in range(80)]
    dataset = from_dataset(noise_items(80), tmp_path / "out", group=kind(videos), workers=1)
    val = set(dataset.ids("70-30", "val").tolist())
    assert len(val) == 24
    assert all(len({i in val for i in range(80) if videos[i] == video}) == 1 for video in range(10))
    again = from_dataset(noise_items(80), tmp_path / "out", group=[str(video) for video in videos], workers=1)
    assert again.fingerprint == dataset.fingerprint
    with pytest.raises(InputError, match="was built with group"):
        from_dataset(noise_items(80), tmp_path / "out", group=[i // 4 for i in range(80)], workers=1)


def test_groups_of_parts_in_python(tmp_path: Path) -> None:
    parts = {"train": noise_items(40), "val": noise_items(10)}
    group = {"train": [i // 4 for i in range(40)], "val": [0, 1, None, float("nan"), "", 99, 98, 97, 96, 95]}
    dataset = from_dataset(parts, tmp_path / "out", group=group, workers=1)
    assert [entry["group"] for entry in report(dataset)["groups"]["torn"]] == ["0", "1"]
    assert report(dataset)["groups"]["images_in_none"] == 3


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ([1, 2], "`group`: has 2 values for the 10 items of train; give one for each"),
        ("patient", "`group=patient`: give a value for each item, such as dataset['patient']"),
        ([None] * 10, "`group`: no item has a group"),
        ({"train": [1] * 10, "val": [1]}, "`group`: is for train, val, and the dataset has train; give a dict of both"),
    ],
)
def test_groups_in_python_that_do_not_fit(tmp_path: Path, group: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_dataset(noise_items(10), tmp_path / "out", group=group, workers=1)
    assert caught.value.message.startswith(message)
    assert not (tmp_path / "out").exists()
