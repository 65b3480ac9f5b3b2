"""--classes-file: the classes and their order."""

from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from tests.conftest import convert
from tests.convert.helpers import refusal, save_noise


def source(root: Path, *classes: str) -> Path:
    for label, folder in enumerate(classes):
        for i in range(4):
            save_noise(root / folder / f"{i}.png", 10 * label + i)
    return root


def test_it_gives_the_order_and_imagefolder_agrees(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("dog\r\n\r\ncat\r\n", encoding="utf-8-sig")
    dataset = convert(source(tmp_path / "s", "cat", "dog"), tmp_path / "out", "--classes-file", str(tmp_path / "c.txt"))
    assert [info.words for info in dataset.classes] == ["dog", "cat"]
    assert ImageFolder(dataset.root / "train").classes == [info.folder for info in dataset.classes]
    for i in range(dataset.count):
        assert dataset.path(i).startswith(f"train/{dataset.classes[dataset.labels[i]].folder}/")


def test_it_gives_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.txt").write_text("n01\ttench, Tinca\nn02 goldfish, Carassius\nn03\tshark\n")
    flags = ("--classes-file", str(tmp_path / "c.txt"), "--packs", "")
    dataset = convert(source(tmp_path / "s", "n01", "n02"), tmp_path / "out", *flags)
    assert [(i.folder, i.words) for i in dataset.classes] == [
        ("n01", "tench, Tinca"),
        ("n02", "goldfish, Carassius"),
        ("n03", "shark"),
    ]
    assert "classes without any image: n03" in capsys.readouterr().out


def test_it_names_numbers(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("zebra\nant\nbee\n")
    dataset = convert(source(tmp_path / "s", "0", "1"), tmp_path / "out", "--classes-file", str(tmp_path / "c.txt"))
    assert [info.words for info in dataset.classes] == ["zebra", "ant", "bee"]
    assert {Path(dataset.path(i)).parent.name: int(dataset.labels[i]) for i in range(8)} == {"0": 0, "1": 1}


def test_a_folder_test_is_a_class_if_the_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("cat\ndog\ntest\n")
    root = source(tmp_path / "s", "cat", "dog", "test")
    assert len(convert(root, tmp_path / "without", "--packs", "").classes) == 2
    flags = ("--classes-file", str(tmp_path / "c.txt"), "--packs", "")
    assert len(convert(root, tmp_path / "out", *flags).classes) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\nbird\n", "lacks the class 'dog' (4 images); add it"),
        ("cat\ndog\ncat\n", "names the class 'cat' twice; remove one line"),
        ("cat\n", "names 1 class; write one class a line, at least two"),
        (None, "no such file; give text with one class a line"),
    ],
)
def test_what_is_wrong_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    path = tmp_path / "c.txt"
    if text is not None:
        path.write_text(text)
    line = refusal(capsys, source(tmp_path / "s", "cat", "dog"), tmp_path / "out", "--classes-file", str(path))
    assert line.startswith(f"build.py: --classes-file {path}: {message}")


def test_another_file_is_another_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, path = source(tmp_path / "s", "cat", "dog"), tmp_path / "c.txt"
    path.write_text("cat\ndog\n")
    convert(root, tmp_path / "out", "--classes-file", str(path))
    path.write_text("dog\ncat\n")
    assert "was built with classes_file" in refusal(capsys, root, tmp_path / "out", "--classes-file", str(path))
    assert "was built with classes_file" in refusal(capsys, root, tmp_path / "out")
