"""Changes of color as matrices: from (R, G, B, 1), with R, G, B in 0..255, to R, G, B; float64 [B, 3, 4].

Applied in one go, so that pixels are rounded and clamped once.
"""

import numpy as np
from numpy.typing import NDArray

Factors = NDArray[np.float64]  # [B]; 1 for no change

LUMA = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601, which Pillow converts to gray with
MID_GRAY = 127.5
# To luma and two axes of color (NTSC's YIQ); a turn of these two changes the hue.
YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def brightness(factors: Factors) -> NDArray[np.float64]:
    """From black (0) to twice as bright (2)."""
    return _scaled(factors)


def contrast(factors: Factors) -> NDArray[np.float64]:
    """Away from mid gray. Pillow and torchvision take the image's mean gray, which would need a look at its pixels."""
    matrix = _scaled(factors)
    matrix[:, :, 3] = ((1 - factors) * MID_GRAY)[:, None]
    return matrix


def saturation(factors: Factors) -> NDArray[np.float64]:
    """From gray (0) to twice as colorful (2)."""
    matrix = _scaled(factors)
    matrix[:, :, :3] += (1 - factors)[:, None, None] * LUMA
    return matrix


def hue(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns the hue, in turns [B]; a third turns red to green. In YIQ, where it is a rotation; torchvision uses HSV."""
    cos, sin = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    turn = np.zeros((len(turns), 3, 3))
    turn[:, 0, 0], turn[:, 1, 1], turn[:, 2, 2] = 1, cos, cos
    turn[:, 1, 2], turn[:, 2, 1] = sin, -sin
    matrix = np.zeros((len(turns), 3, 4))
    matrix[:, :, :3] = np.linalg.inv(YIQ) @ turn @ YIQ
    return matrix


def then(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """One change after another as one matrix."""
    matrix = second[:, :, :3] @ first
    matrix[:, :, 3] += second[:, :, 3]
    return matrix


def _scaled(factors: Factors) -> NDArray[np.float64]:
    return factors[:, None, None] * np.eye(3, 4)
