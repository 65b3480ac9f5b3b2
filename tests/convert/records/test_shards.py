"""Which files a pattern stands for."""

from pathlib import Path

import pytest

from feedline import InputError
from feedline.convert.records.shards import expand
from feedline.convert.trees import Stamp
from feedline.convert.trees.shards import ShardTree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a-000.tar", "a-001.tar", "a-002.tar", "b-000.tar", "b-1.tar"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{000..002}.tar", ["a-000.tar", "a-001.tar", "a-002.tar"]),
        ("a-{002..000}.tar", ["a-002.tar", "a-001.tar", "a-000.tar"]),
        ("a-{000..002..2}.tar", ["a-000.tar", "a-002.tar"]),
        ("{a,b}-000.tar", ["a-000.tar", "b-000.tar"]),
        ("{a-{000..001},b-{000,1}}.tar", ["a-000.tar", "a-001.tar", "b-000.tar", "b-1.tar"]),
        ("b-{1..1}.tar", ["b-1.tar"]),
        ("a-*.tar", ["a-000.tar", "a-001.tar", "a-002.tar"]),
        ("a-00[01].tar", ["a-000.tar", "a-001.tar"]),
    ],
)
def test_patterns(folder: Path, pattern: str, names: list[str]) -> None:
    assert [path.name for path in expand(f"{folder}/{pattern}")] == names


def test_several_patterns(folder: Path) -> None:
    assert len(expand(f"{folder}/a-{{000..001}}.tar::{folder}/b-*.tar")) == 4


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a-{000..009}.tar", "a-003.tar: no such file; correct the pattern, or download what is missing"),
        ("c-*.tar", "no file has such a name"),
        ("a-{000..001.tar", "a brace is not closed"),
        ("a-{000.001}.tar", "is no range such as"),
        ("a-{0..999999999}.tar", "more than 100,000 files"),
        ("{a-000,a-*}.tar", "names a file twice"),
    ],
)
def test_patterns_that_stand_for_nothing(folder: Path, pattern: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        expand(f"{folder}/{pattern}")
    assert message in str(caught.value)


def test_the_shard_of_a_name_is_found_whatever_folders_are_called() -> None:
    stamp: Stamp = (0, 0)
    tree = ShardTree(Path(), {"x.tar/a.tar": stamp, "b.tar": stamp})
    assert tree.split("x.tar/a.tar/deep/0.jpg") == ("x.tar/a.tar", "deep/0.jpg")
    assert tree.split("b.tar/c.tar/0.jpg") == ("b.tar", "c.tar/0.jpg")
