from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def in_a_new_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands write to runs/ in the current folder."""
    monkeypatch.chdir(tmp_path)
