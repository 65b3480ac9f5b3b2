import shutil
from pathlib import Path

import pytest

from feedline import Dataset
from feedline.pipeline import compiled


@pytest.fixture
def copy(dataset: Dataset, tmp_path: Path) -> Path:
    """A dataset folder that a test may damage."""
    return Path(shutil.copytree(dataset.root, tmp_path / "copy"))


@pytest.fixture
def needs_kernels() -> None:
    if compiled.kernels is None:
        pytest.skip("the kernels are not compiled here: there was no C compiler when this was installed")


@pytest.fixture(params=["compiled", "plain"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with the compiled kernels, and with numpy and torch instead."""
    if request.param == "plain":
        monkeypatch.setattr(compiled, "kernels", None)
    else:
        request.getfixturevalue("needs_kernels")
    return str(request.param)
