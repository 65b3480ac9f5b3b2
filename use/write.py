"""Writes a network in each form."""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from feedline.pipeline.errors import InputError, first_line
from feedline.pipeline.files import writable
from feedline.use.deployed import INPUT, OUTPUT, Deployed
from feedline.use.forms import FILES
from feedline.use.loading import Loaded

KEPT = "feedline.json"  # the entry of a .pt2 file with the metadata


def write_torch(folder: Path, loaded: Loaded, about: Mapping[str, Any]) -> Path:
    """A program of torch.export, whose batch may have any size. Raises InputError if torch cannot export it."""
    path, module, example, shapes = _parts(folder, "torch", loaded)
    with _exporting("torch"):
        program = torch.export.export(module, (example,), dynamic_shapes=shapes)
        content = io.BytesIO()  # where torch opens a file itself, a disk that is full ends the process
        torch.export.save(program, content, extra_files={KEPT: json.dumps(about)})
    path.write_bytes(content.getvalue())
    return path


def write_onnx(folder: Path, loaded: Loaded, about: Mapping[str, Any]) -> Path:
    """An ONNX file with the weights inside, whose batch may have any size. Raises InputError as `write_torch`."""
    path, module, example, shapes = _parts(folder, "onnx", loaded)
    with _exporting("onnx"):
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for name, value in about.items():
        model.metadata_props.add(key=name, value=writable(value) if isinstance(value, str) else json.dumps(value))
    path.write_bytes(model.SerializeToString())
    return path


def _parts(folder: Path, form: str, loaded: Loaded) -> tuple[Path, Deployed, torch.Tensor, Any]:
    module = Deployed(loaded).eval()
    example = torch.zeros(2, 3, *loaded.preprocess.size, dtype=torch.uint8)  # a batch of 1 would stay one of 1
    return folder / FILES[form], module, example, {INPUT: {0: torch.export.Dim("batch")}}


@contextmanager
def _exporting(form: str) -> Iterator[None]:
    """Quiet, since what torch says there is for its developers; and in one line where it fails."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # torch raises anything on networks that it cannot export
        raise InputError(f"torch cannot export this network in the form {form} ({first_line(error)})") from error
    finally:
        logging.disable(level)
