"""Garbage collection while a command imports what it needs."""

import gc
import sys

import pytest

from feedline.imports import without_collecting


def test_a_command_collects_no_garbage_while_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    before = gc.get_freeze_count()
    try:
        with without_collecting():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


def test_objects_of_a_process_that_has_torch_are_still_collected() -> None:
    before = gc.get_freeze_count()
    with without_collecting():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
