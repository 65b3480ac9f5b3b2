"""Which files a command line means."""

import os
from pathlib import Path

import pytest

from feedline.use.inputs import image_files


def test_links_that_lead_back_add_no_images(tmp_path: Path) -> None:
    (tmp_path / "p/q").mkdir(parents=True)
    for name in ("1.jpg", "q/2.jpg"):
        (tmp_path / "p" / name).touch()
    for link, to in [("self", "."), ("q/up", ".."), ("q/again", "../q"), ("z", "../p")]:
        (tmp_path / "p" / link).symlink_to(to)
    found = [str(Path(name).relative_to(tmp_path)) for name in image_files([str(tmp_path / "p")])]
    assert found == ["p/1.jpg", "p/q/2.jpg"]


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
