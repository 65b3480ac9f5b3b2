"""Where there is no dataset: advice for what is there, never a command that would put another set there."""

import shutil
from pathlib import Path

import pytest

from feedline import Dataset, InputError


@pytest.fixture(autouse=True)
def in_a_new_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def said(root: str) -> str:
    with pytest.raises(InputError) as caught:
        Dataset(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_images_themselves(photos: Path) -> None:
    shutil.copytree(photos, "photos")
    assert said("photos/").endswith(
        "if it holds images, convert them once: python convert/build.py --source photos --out data/photos, then name "
        "data/photos"
    )


def test_names_with_spaces_can_be_pasted(photos: Path) -> None:
    shutil.copytree(photos, "my photos")
    assert " --source 'my photos' --out 'data/my photos', then name data/my photos" in said("my photos")


def test_a_run(photos: Path) -> None:
    shutil.copytree(photos, "runs/a")
    Path("runs/a/run.json").touch()
    assert said("runs/a") == "no dataset at runs/a: it is a run; name the dataset that it trained on, see its run.json"


def test_images_that_were_converted(photos: Path, dataset: Dataset) -> None:
    shutil.copytree(photos, "source/photos")
    Path("data").mkdir()
    Path("data/photos").symlink_to(dataset.root)
    assert said("source/photos").endswith("(there is no dataset.json); there is one at data/photos: name that")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("pets.zip", "is an archive; convert it once: python convert/build.py --source pets.zip --out data/pets, then"),
        ("pets.tar.gz", "is an archive; convert it once: python convert/build.py --source pets.tar.gz --out data/pets"),
        ("pets.jpg", "it is a file; name the folder that python convert/build.py wrote"),
    ],
)
def test_a_file(name: str, advice: str) -> None:
    Path(name).touch()
    assert said(name).startswith(f"no dataset at {name}: ")
    assert advice in said(name)


def test_nothing() -> None:
    """Only the built-in sources have a whole command; another would need a --source."""
    assert said("nowhere") == (
        "no dataset at nowhere (there is no such folder); name the folder that python convert/build.py wrote, or "
        "convert images: python convert/build.py --source IMAGES --out nowhere"
    )
    Path("empty").mkdir()
    assert said("empty").startswith("no dataset at empty (the folder is empty); name the folder")
    assert said("data/tiny-imagenet").endswith("build it with: python convert/build.py --out data/tiny-imagenet")
    assert said("data/sample").endswith(": python convert/build.py --source sample --out data/sample")


def test_datasets_that_are_near(dataset: Dataset) -> None:
    for folder in ("data/a", "data/b"):
        Path(folder).parent.mkdir(exist_ok=True)
        Path(folder).symlink_to(dataset.root)
    assert "; name one that is there: data/a, data/b, or convert images: " in said("data/moved")
    assert "; name one that is there: data/a, data/b, or convert images: " in said("moved")
    assert "; name one that is there: data/a, data/b, or build it with: " in said("data/tiny-imagenet")
    assert said("data") == "no dataset at data, but there are some in it; name one of them: data/a, data/b"
    assert said(f"{dataset.root}/train").endswith(f"it lies in one, name that: {dataset.root}")
    assert said("data/a/dataset.json").endswith("it is the description of one, name its folder: data/a")


def test_a_description_of_something_else(tmp_path: Path) -> None:
    Path("other").mkdir()
    Path("other/dataset.json").write_text('{"images": 3}')
    assert said("other") == "other/dataset.json: not the description of a dataset; name another folder"
