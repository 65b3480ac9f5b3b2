"""What DALI does with a batch, as a graph."""

from typing import Any

import torch
from nvidia.dali import fn, pipeline_def, types

from feedline.pipeline.engines.edits import levels
from feedline.pipeline.engines.types import EngineSpec
from feedline.pipeline.plan.edits import EditPart

_DTYPES = {torch.float32: types.FLOAT, torch.float16: types.FLOAT16, torch.uint8: types.UINT8}


@pipeline_def(enable_conditionals=False)
def graph(spec: EngineSpec, *, encoded: bool, on_device: bool) -> Any:
    """Read or decode, slice by the window, resize where its size is not the output's, mirror, edit, normalise.

    Args:
        spec: the settings of the engine.
        encoded: the images are bytes of image files.
        on_device: the images are already in the GPU's memory.
    """
    gpu = spec.device.type == "cuda"
    # On the device DALI copies them: its streams do not wait for the one that fills a tensor which it only shares.
    images = fn.external_source(
        name="images",
        device="gpu" if on_device else "cpu",
        no_copy=not on_device,
        layout=None if encoded else "HWC",
    )
    # Decoding what is cut away would cost more than the rest; of several windows it is decoded once.
    decode_window = encoded and spec.resize and spec.inside and spec.views == 1
    # Fancy upsampling is libjpeg-turbo's (and so Pillow's and torchvision's) way of enlarging the chroma planes.
    decoding = {"device": spec.decode, "output_type": types.RGB, "jpeg_fancy_upsampling": True}
    if encoded and not decode_window:
        images = fn.decoders.image(images, **decoding)
    if gpu and not on_device and not decode_window:
        images = images.gpu()
    outputs = []
    for view in range(spec.views):
        start, shape = (fn.external_source(name=input_of(name, view)) for name in ("start", "shape"))
        if decode_window:
            window = fn.decoders.image_slice(images, start=start, shape=shape, axes=(0, 1), **decoding)
            window = window.gpu() if gpu else window
        else:
            window = fn.slice(images, start=start, shape=shape, axes=(0, 1), out_of_bounds_policy="pad", fill_values=0)
        outputs.append(_finished(window, spec, view))
    return tuple(outputs)


def _finished(images: Any, spec: EngineSpec, view: int) -> Any:
    """Windows resized, mirrored, edited and normalised."""
    flip = fn.external_source(name=input_of("flip", view))
    if spec.resize:
        images = fn.resize(images, size=spec.output, interp_type=types.INTERP_LINEAR, antialias=True)
    if spec.edits:
        images, flip = fn.flip(images, horizontal=flip), 0
        for number, parts in enumerate(spec.edits):
            for name in parts:
                images = _edited(images, name, view, number, spec)
    mean, std = ((0.0,) * 3, (1 / 255,) * 3) if spec.dtype == torch.uint8 else (spec.mean, spec.std)
    return fn.crop_mirror_normalize(
        images,
        mirror=flip,
        mean=[255 * v for v in mean],
        std=[255 * v for v in std],
        dtype=_DTYPES[spec.dtype],
        output_layout="HWC",
    )


def _edited(images: Any, name: EditPart, view: int, number: int, spec: EngineSpec) -> Any:
    """A part of an edit; the engine feeds its array as `input_of(name, view, number)`."""
    values = fn.external_source(name=input_of(name, view, number))
    if name == "warp":
        return fn.warp_affine(images, matrix=values, interp_type=types.INTERP_LINEAR, fill_value=0)
    if name == "color":
        offset = fn.external_source(name=input_of("offset", view, number))
        return fn.coord_transform(images, M=values, T=offset, dtype=types.UINT8)
    if name == "erase":
        size = fn.external_source(name=input_of("size", view, number))
        return fn.erase(images, anchor=values, shape=size, axis_names="HW", fill_value=levels(spec.mean))
    values = values.gpu() if spec.device.type == "cuda" else values
    if name == "posterize":
        return images & values
    inverted = (images >= values) * (255 - 2 * images)  # int32, as all arithmetic with whole constants
    return fn.cast(images + inverted, dtype=types.UINT8)


def input_of(name: str, view: int, edit: int | None = None) -> str:
    """The graph's input for an array of a view, or for a part of one of its edits."""
    return f"{name} of view {view}" + ("" if edit is None else f", edit {edit}")
