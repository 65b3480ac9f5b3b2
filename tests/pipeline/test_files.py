import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from feedline.pipeline.files import plain, write_json, write_text


def test_json_is_readable_and_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, 2.5], "a": "n\u00f6"})
    assert path.read_text(encoding="utf-8") == '{\n "b": [\n  1,\n  2.5\n ],\n "a": "n\u00f6"\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_values_that_json_lacks_are_replaced(tmp_path: Path) -> None:
    content: dict[Any, Any] = {
        "loss": math.nan,
        "deep": [{"lr": math.inf}, (-math.inf, 1.0)],
        "where": Path("a/b"),
        3: True,
    }
    write_json(tmp_path / "a.json", content)
    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert read == {"loss": None, "deep": [{"lr": None}, [None, 1.0]], "where": "a/b", "3": True}
    assert plain(content) == read
    assert math.isnan(content["loss"]), "the original is unchanged"


def test_names_of_files_need_not_be_utf_8(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"where": os.fsdecode(b"caf\xe9")})
    assert os.fsencode(json.loads((tmp_path / "a.json").read_bytes())["where"]) == b"caf\xe9"


def test_a_file_is_complete_or_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    written = path.read_text()
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == written

    def interrupted(self: Path, target: Any) -> None:
        assert self.parent == path.parent, "a rename must stay within a file system"
        assert self.read_text() == "more", "the file is complete when it is renamed"
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "more")
    assert path.read_text() == written


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "no" / "a.txt", "x")
