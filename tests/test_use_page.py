"""docs/use.md: every command and snippet runs, and prints every line that the page shows."""

from pathlib import Path

import pytest

from tests.pages import checkout, steps

NEEDED = ("onnx", "onnxscript", "onnxruntime", "safetensors", "timm")


def test_the_page_in_its_order(tmp_path: Path) -> None:
    for library in NEEDED:
        pytest.importorskip(library, reason=f"{library} is not installed")
    page, folder = list(steps("use.md")), checkout(tmp_path)
    assert len(page) >= 8
    for step in page:
        step.run(folder)
