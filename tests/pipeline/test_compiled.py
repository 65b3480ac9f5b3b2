import importlib

import pytest

from feedline.pipeline import compiled


def test_kernels_of_an_older_version_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a `git pull`, until they are compiled again."""
    kernels = pytest.importorskip("feedline.pipeline._kernels")
    with monkeypatch.context() as patch:
        patch.delattr(kernels, "pad")
        assert importlib.reload(compiled).kernels is None
    assert importlib.reload(compiled).kernels is kernels
