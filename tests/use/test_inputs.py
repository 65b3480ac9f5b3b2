"""Which files a command line means."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from feedline import Dataset, InputError
from feedline.use.inputs import image_files
from tests.convert.trees import listed, write


def test_links_that_lead_back_add_no_images(tmp_path: Path) -> None:
    (tmp_path / "p/q").mkdir(parents=True)
    for name in ("1.jpg", "q/2.jpg"):
        (tmp_path / "p" / name).touch()
    for link, to in [("self", "."), ("q/up", ".."), ("q/again", "../q"), ("z", "../p")]:
        (tmp_path / "p" / link).symlink_to(to)
    found = [str(Path(name).relative_to(tmp_path)) for name in image_files([str(tmp_path / "p")])]
    assert found == ["p/1.jpg", "p/q/2.jpg"]


def test_datasets_and_runs_in_a_folder_are_not_read(
    tmp_path: Path, dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(dataset.root, tmp_path / "p/data")
    for name in ("p/a.jpg", "p/runs/a/curves.png", "p/runs/a/run.json", "p/runs/a/log.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name, "PNG")
    assert list(image_files([str(tmp_path / "p")])) == [str(tmp_path / "p/a.jpg")]
    assert sorted(caplog.messages) == [
        f"{tmp_path}/p/data: a dataset that was built, which is not read",
        f"{tmp_path}/p/runs/a: the folder of a run, which is not read",
    ]
    assert list(image_files([str(tmp_path / "p/runs/a")])) == [str(tmp_path / "p/runs/a/curves.png")], "it is named"


def test_a_link_to_another_folder_is_followed(tmp_path: Path) -> None:
    for folder in ("p", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "other/1.jpg").touch()
    (tmp_path / "p/link").symlink_to("../other")
    assert list(image_files([str(tmp_path / "p")])) == [str(tmp_path / "p/link/1.jpg")]


def test_a_folder_without_images_does_not_end_a_list(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert list(image_files(["-"], [f"{tmp_path}\n", "1.jpg\n"])) == ["1.jpg"]
    assert f"{tmp_path}: no image in this folder" in caplog.text


def test_a_pipe_in_a_folder_is_said_and_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "0.jpg")
    (tmp_path / "1.jpg").touch()
    (tmp_path / "2.jpg").symlink_to("nowhere")  # reading it fails, which is said then
    assert list(image_files([str(tmp_path)])) == [str(tmp_path / "1.jpg"), str(tmp_path / "2.jpg")]
    assert f"{tmp_path / '0.jpg'}: left out" in caplog.text


TAKEN = ["a/1.jpg", "a/2.PNG", "a/noext", "a/x.jpg_large", "a/0123abcd", "b/3.webp"]
NOT_TAKEN = ["a/note.txt", "a/Thumbs.db", "a/.4.jpg", "a/._1.jpg"]
HIDDEN = ["@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/2.jpg", "#recycle/3.jpg", "@tmp/4.jpg", "a/.git/5.jpg"]


def names(folder: Path) -> list[str]:
    return [str(Path(name).relative_to(folder)) for name in image_files([str(folder)])]


def test_a_folder_is_read_as_the_converter_reads_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(tmp_path / "s", [*TAKEN, *NOT_TAKEN, *HIDDEN])
    write(root, ["a/5.cr2", "b/text"], b"no image")
    assert names(root) == sorted(TAKEN) == sorted(item.name for item in listed(root).items)
    assert caplog.messages == [
        f"{root}: .cr2: 1 file not taken: a camera's raw file; save as JPEG",
        f"{root}: 2 files not taken: no images (.txt, no suffix)",
        f"{root}: 5 hidden folders not read (#recycle, .git, @eaDir, @tmp, __MACOSX)",
    ]


def test_files_without_suffixes_are_images_by_their_first_bytes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write(tmp_path, [f"{i:02d}" for i in range(9)])
    assert names(root) == [f"{i:02d}" for i in range(9)]
    assert caplog.messages == []


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path, ["a.nef", "b.txt", "@eaDir/1.jpg"])
    with pytest.raises(InputError) as caught:
        names(tmp_path)
    assert caught.value.message == (
        f"{tmp_path}: no image in this folder; .nef: 1 file not taken: a camera's raw file; save as JPEG; "
        "1 file not taken: no images (.txt); 1 hidden folder not read (@eaDir)"
    )


@pytest.mark.parametrize(
    ("pattern", "found", "left_out"),
    [
        ("*", ["1.jpg", "a/2.jpg"], "1 match"),
        ("**/*.jpg", ["1.jpg", "a/2.jpg"], "3 matches"),
        ("a/*", ["a/2.jpg"], "1 match"),
        ("[0-9].jpg", ["1.jpg"], ""),
        ("@eaDir/*.jpg", ["@eaDir/3.jpg"], ""),
    ],
)
def test_a_pattern_matches_nothing_hidden_unless_it_names_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pattern: str, found: list[str], left_out: str
) -> None:
    root = write(tmp_path, ["1.jpg", "a/2.jpg", "@eaDir/3.jpg", "a/@eaDir/2.jpg/4.jpg"])
    assert [str(Path(name).relative_to(root)) for name in image_files([f"{root}/{pattern}"])] == found
    lines = [line for line in caplog.messages if line.startswith(f"{root}/{pattern}: ")]
    assert lines == ([f"{root}/{pattern}: {left_out} in hidden folders left out"] if left_out else [])
    with pytest.raises(InputError, match="matches hidden folders only"):
        list(image_files([f"{root}/@*"]))


def test_a_folder_that_cannot_be_read_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, scandir = write(tmp_path, ["a/1.jpg", "b/2.jpg"]), os.scandir

    def denied(path: Any) -> Any:
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert names(root) == ["a/1.jpg"]
    assert caplog.messages == [f"{root / 'b'}: left out, because it cannot be read (Permission denied)"]
