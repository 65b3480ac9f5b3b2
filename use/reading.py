"""Opens exported files, to ask them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.errors import InputError, first_line
from feedline.use.deployed import INPUT
from feedline.use.forms import FILES, need_libraries
from feedline.use.probes import Answer
from feedline.use.timm_form import CONFIG, normalised, read_timm


def open_exported(path: Path) -> Answer:
    """Something that answers as an exported file does: uint8 [B, 3, height, width] to logits [B, classes].

    Raises:
        InputError: if it cannot be read, or a library is missing.
    """
    form = next((form for form, name in FILES.items() if Path(name).suffix == path.suffix), None)
    if form is None:
        raise InputError(f"{path}: is no exported file; they are called {', '.join(FILES.values())}")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    need_libraries(form)
    return {"onnx": _onnx, "torch": _torch, "timm": _timm}[form](path)


def _onnx(path: Path) -> Answer:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds of errors, one for each cause
        raise InputError(f"{path}: onnxruntime cannot open it ({first_line(error)})") from error

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        (logits,) = session.run(None, {INPUT: images})
        return np.asarray(logits)

    return answer


def _torch(path: Path) -> Answer:
    try:
        program: Any = torch.export.load(io.BytesIO(path.read_bytes())).module()
    except Exception as error:
        raise InputError(f"{path}: torch cannot open it ({first_line(error)})") from error

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(program(torch.from_numpy(images)).numpy())

    return answer


def _timm(path: Path) -> Answer:
    try:
        config = json.loads((path.parent / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.parent / CONFIG}: cannot be read ({first_line(error)})") from error
    net = read_timm(path, config)

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(net(normalised(torch.from_numpy(images), config)).numpy())

    return answer
