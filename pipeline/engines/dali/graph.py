"""What DALI does with a batch, as a graph."""

from typing import Any

import torch
from nvidia.dali import fn, pipeline_def, types

from feedline.pipeline.engines.types import EngineSpec

_DTYPES = {torch.float32: types.FLOAT, torch.float16: types.FLOAT16, torch.uint8: types.UINT8}


@pipeline_def(enable_conditionals=False)
def graph(spec: EngineSpec, *, encoded: bool, on_device: bool) -> Any:
    """Read or decode, slice by the window, resize where its size is not the output's, mirror, normalise.

    Args:
        spec: the settings of the engine.
        encoded: the images are bytes of image files.
        on_device: the images are already in the GPU's memory.
    """
    gpu = spec.device.type == "cuda"
    # Decoding what is cut away would cost more than the rest.
    decode_window = encoded and spec.resize and spec.inside
    images = fn.external_source(
        name="images", device="gpu" if on_device else "cpu", no_copy=True, layout=None if encoded else "HWC"
    )
    start = fn.external_source(name="start")
    shape = fn.external_source(name="shape")
    flip = fn.external_source(name="flip")
    if encoded:
        # Fancy upsampling is libjpeg-turbo's (and so Pillow's and torchvision's) way of enlarging the chroma planes.
        options = {"output_type": types.RGB, "jpeg_fancy_upsampling": True}
        options["device"] = "mixed" if gpu and spec.decode == "mixed" else "cpu"
        if decode_window:
            images = fn.decoders.image_slice(images, start=start, shape=shape, axes=(0, 1), **options)
        else:
            images = fn.decoders.image(images, **options)
    if gpu and not on_device:
        images = images.gpu()
    if not decode_window:
        images = fn.slice(images, start=start, shape=shape, axes=(0, 1), out_of_bounds_policy="pad", fill_values=0)
    if spec.resize:
        images = fn.resize(images, size=spec.output, interp_type=types.INTERP_LINEAR, antialias=True)
    mean, std = ((0.0,) * 3, (1 / 255,) * 3) if spec.dtype == torch.uint8 else (spec.mean, spec.std)
    return fn.crop_mirror_normalize(
        images,
        mirror=flip,
        mean=[255 * v for v in mean],
        std=[255 * v for v in std],
        dtype=_DTYPES[spec.dtype],
        output_layout="HWC",
    )
