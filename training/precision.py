"""One policy for mixed precision in training, evaluation and the LR range test."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from feedline.training.config import RunConfig


@dataclass(frozen=True)
class Precision:
    """The dtype that autocast uses on a device; None: float32 everywhere."""

    device: torch.device
    dtype: torch.dtype | None

    @classmethod
    def choose(cls, run: RunConfig, device: torch.device) -> "Precision":
        """bf16 on CPUs and on GPUs that have it, else fp16.

        A CPU always gets bf16: without bf16 instructions torch computes in float32 and rounds; fp16 would not be faster
        and could overflow.
        """
        if not run.amp:
            return cls(device, None)
        if run.amp_dtype != "auto":
            return cls(device, torch.bfloat16 if run.amp_dtype == "bf16" else torch.float16)
        if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            return cls(device, torch.float16)
        return cls(device, torch.bfloat16)

    def autocast(self) -> AbstractContextManager[None]:
        """The autocast context in which the model runs."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)

    @property
    def matrix_dtype(self) -> torch.dtype:
        """Of an optimizer's matrix products: bf16 if autocast uses it, else float32."""
        return torch.bfloat16 if self.dtype is torch.bfloat16 else torch.float32

    @property
    def scales(self) -> bool:
        """Whether gradients need a scaler: fp16 does; bf16 has the range of float32."""
        return self.dtype is torch.float16

    def scaler(self) -> torch.amp.GradScaler:
        """A gradient scaler; disabled where none is needed."""
        return torch.amp.GradScaler(self.device.type, enabled=self.scales)

    @property
    def name(self) -> str:
        """`float32`, `bf16` or `fp16`."""
        return {None: "float32", torch.bfloat16: "bf16", torch.float16: "fp16"}[self.dtype]


def change(scaled: bool, now: Precision) -> list[str]:
    """What to say of a mixed run that is resumed in another precision.

    Args:
        scaled: it had a gradient scaler so far.
        now: of this process.
    """
    if now.dtype is None or scaled == now.scales:
        return []
    before = "fp16" if scaled else "bf16"
    return [
        f"{now.name}, so far {before}: numbers are rounded differently, so the result will not be the same to the bit"
    ]
