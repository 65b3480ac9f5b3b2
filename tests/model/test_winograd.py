"""Winograd's convolutions, against torch's in float64."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input, conv2d_weight

from feedline.model import conv as conv_module
from feedline.model import winograd
from feedline.model.compiled import kernels
from feedline.model.conv import conv
from tests.model.conftest import activations, exact, relative_error

pytestmark = pytest.mark.skipif(
    not winograd.works(), reason="the processor has no AVX512_BF16, or no compiler was there"
)


@pytest.fixture(autouse=True)
def bf16_autocast_on_a_machine_without_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on machines without AMX, on any that can run the kernels."""
    monkeypatch.setattr(conv_module, "has_tiles", lambda: False)
    with torch.autocast("cpu", torch.bfloat16):
        yield


def layer(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False).to(memory_format=torch.channels_last)


def convolution(x: torch.Tensor, weight: torch.Tensor, *, reverse: bool = False) -> torch.Tensor:
    panels = winograd.transformed(weight, reverse=reverse)
    return winograd.convolve(x, panels, weight.shape[1] if reverse else len(weight))


# A tile that is mostly outside the image, odd sides, height and width that differ; numbers of tiles that do not fill a
# pair, a block of registers, a block of tiles; the filters' gradient in three parts of 2,048 tiles (the last).
@pytest.mark.parametrize(
    ("images", "size", "channels"),
    [
        (3, (1, 2), (64, 64)),
        (1, (2, 3), (64, 128)),
        (5, (4, 4), (128, 64)),
        (2, (5, 7), (192, 64)),
        (4, (9, 18), (64, 192)),
        (1, (24, 24), (64, 64)),
        (9, (48, 48), (64, 64)),
    ],
)
def test_values_and_gradients_are_those_of_torch(images: int, size: tuple[int, int], channels: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = layer(*channels)
    x = activations(images, channels[0], *size).requires_grad_()
    assert winograd.suits(module, x)
    y = conv(module, x)
    dy = torch.randn_like(y)
    y.backward(dy)
    wanted, dx, dweight = exact(x, module.weight, dy)
    assert y.shape == wanted.shape
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert relative_error(y, wanted) < 6e-3
    assert relative_error(x.grad, dx) < 6e-3
    assert relative_error(module.weight.grad, dweight) < 6e-3
    assert module.weight.grad is not None
    assert module.weight.grad.dtype == torch.float32
    assert module.weight.grad.stride() == module.weight.stride()


def test_one_wrong_place_would_be_seen() -> None:
    """Each of the nine taps alone, in each direction, with sums that bfloat16 holds exactly."""
    torch.manual_seed(0)
    x = torch.randint(-2, 3, (2, 64, 6, 6)).bfloat16().contiguous(memory_format=torch.channels_last)
    dy = torch.randint(-2, 3, (2, 64, 6, 6)).bfloat16().contiguous(memory_format=torch.channels_last)
    for tap in range(9):
        filters = torch.zeros(64, 64, 9)
        filters[torch.arange(64), torch.randperm(64), tap] = 4.0
        filters = filters.view(64, 64, 3, 3).contiguous(memory_format=torch.channels_last)
        wanted = conv2d(x.float(), filters, padding=1)
        assert torch.equal(convolution(x, filters).float(), wanted)
        back = conv2d_input(list(x.shape), filters, dy.float(), padding=1)
        assert torch.equal(convolution(dy, filters, reverse=True).float(), back)
    of_filters = conv2d_weight(x.float(), [64, 64, 3, 3], dy.float(), padding=1)
    assert torch.equal(winograd.gradient_of_filters(dy, x), of_filters)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    torch.manual_seed(0)
    module, x = layer(64, 128), activations(6, 64, 20, 22)
    dy = activations(6, 128, 20, 22)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(
                (
                    convolution(x, module.weight),
                    convolution(dy, module.weight, reverse=True),
                    winograd.gradient_of_filters(dy, x),
                )
            )
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


@pytest.mark.parametrize("change", ["channels", "outputs", "stride", "bf16", "kernel", "one pixel"])
def test_what_it_is_not_made_for_goes_another_way(change: str) -> None:
    options = {"channels": (32, 64), "outputs": (64, 200)}
    inputs, outputs = options.get(change, (64, 64))
    kernel = 1 if change == "kernel" else 3
    module = nn.Conv2d(inputs, outputs, kernel, 2 if change == "stride" else 1, kernel // 2, bias=False)
    module = module.to(memory_format=torch.channels_last)
    if change == "bf16":
        module = module.bfloat16()
    x = activations(2, inputs, *((1, 1) if change == "one pixel" else (6, 6)))
    assert not winograd.suits(module, x)
    assert relative_error(conv(module, x), module(x)) < 5e-3


@pytest.mark.parametrize("stride", [1, 2])
def test_torch_has_the_last_word_on_what_does_not_fit(stride: int) -> None:
    module = nn.Conv2d(64, 64, 3, stride, 1, bias=False).to(memory_format=torch.channels_last)
    assert conv(module, activations(0, 64, 8, 8)).shape == module(activations(0, 64, 8, 8)).shape
    with pytest.raises(RuntimeError, match="channels"):
        conv(module, activations(2, 128, 8, 8))
    module.weight = nn.Parameter(module.weight.detach()[:48])
    assert conv(module, activations(2, 64, 8, 8)).shape[1] == 48
    assert conv(module.double(), activations(2, 64, 8, 8).double()).dtype == torch.float64


def test_the_backward_pass_takes_the_weights_of_the_forward_pass() -> None:
    torch.manual_seed(0)
    module, x = layer(64, 64), activations(2, 64, 8, 8).requires_grad_()
    conv(module, x).sum().backward()
    before, x.grad = x.grad, None
    y = conv(module, x)
    with torch.no_grad():
        module.weight.zero_()
    y.sum().backward()
    assert before is not None
    assert x.grad is not None
    assert torch.equal(x.grad, before)


def test_an_input_that_has_changed_is_noticed() -> None:
    module, x = layer(64, 64), activations(2, 64, 8, 8)
    y = conv(module, x)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_filters_in_another_memory_format_and_without_a_gradient() -> None:
    torch.manual_seed(0)
    module, x = layer(64, 64), activations(2, 64, 8, 8).requires_grad_()
    plain = nn.Conv2d(64, 64, 3, padding=1, bias=False)
    plain.load_state_dict(module.state_dict())
    plain.weight.requires_grad_(False)
    y = conv(plain, x)
    assert torch.equal(y, conv(module, x))
    y.sum().backward()
    assert x.grad is not None
    assert plain.weight.grad is None


def test_arrays_that_do_not_fit_are_refused() -> None:
    assert kernels is not None
    x, panels, y = bytes(2 * 64 * 16), bytes(2 * 16 * 64 * 64), bytearray(2 * 64 * 16)
    kernels.winograd_output(x, panels, y, (1, 4, 4, 64), 64, 1)
    overflow = (2**40, 2**17, 1, 64)
    wrong = [((1, 4, 5, 64), 64), ((1, 4, 4, 64), 128), ((1, 4, 4, 32), 64), ((0, 4, 4, 64), 64), (overflow, 64)]
    for shape, outputs in wrong:
        with pytest.raises(ValueError, match="do not fit"):
            kernels.winograd_output(x, panels, y, shape, outputs, 1)
    with pytest.raises(ValueError, match="do not fit"):
        kernels.winograd_gradient(x, x, bytearray(4 * 64 * 64), (1, 4, 4, 64), 64, 1)
    with pytest.raises(ValueError, match="do not fit"):
        kernels.winograd_filters(bytes(4 * 64 * 64), bytearray(2 * 16 * 64 * 64), (64, 64), False, 1)
