import copy

import pytest
import torch
import torch.fx
import torchvision
from torch import nn

from feedline.model import compiled, conv, layer_table, resnet18, stem_for
from feedline.model.resnet import Stem
from feedline.model.summary import layers
from tests.model.conftest import needs_kernels, relative_error

STEMS: tuple[Stem, ...] = ("small", "standard")


def test_it_has_as_many_parameters_as_the_assignments_model() -> None:
    assert sum(p.numel() for p in resnet18(200).parameters()) == 11_271_432


@pytest.mark.parametrize("size", [32, 64])
def test_small_images_keep_their_resolution_into_the_first_stage(size: int) -> None:
    rows = layers(resnet18(10), (3, size, size))
    assert rows[0].shape == (64, size, size)
    assert rows[-2].shape == (512, size // 8, size // 8)
    assert rows[-1].shape == (10,)


def test_the_layer_table_equals_the_assignments() -> None:
    model = resnet18(200)
    table = layer_table(model, (3, 224, 224))
    rows = layers(model, (3, 224, 224))
    assert len(rows) == 49
    kinds = [row.kind for row in rows]
    assert (kinds.count("Conv2d"), kinds.count("BatchNorm2d"), kinds.count("BasicBlock")) == (20, 20, 8)
    # Rows 1, 13, 17, 47 and 49 of the assignment's table, and the totals.
    for line in (
        "            Conv2d-1         [-1, 64, 224, 224]           1,728",
        "           Conv2d-13        [-1, 128, 112, 112]          73,728",
        "           Conv2d-17        [-1, 128, 112, 112]           8,192",
        "      BatchNorm2d-47          [-1, 512, 28, 28]           1,024",
        "           Linear-49                  [-1, 200]         102,600",
        "Total params: 11,271,432",
        "Input size (MB): 0.57",
        "Forward/backward pass size (MB): 551.25",
        "Params size (MB): 43.00",
        "Estimated Total Size (MB): 594.82",
    ):
        assert line in table
    assert model.training, "train or eval mode is unchanged"


def test_the_standard_stem_is_torchvisions() -> None:
    model, theirs = resnet18(200, stem="standard"), torchvision.models.resnet18(num_classes=200)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    model.load_state_dict(theirs.state_dict())
    batch = torch.randn(2, 3, 224, 224)
    torch.testing.assert_close(model.eval()(batch), theirs.eval()(batch))
    rows = layers(model, (3, 224, 224))
    assert [row.kind for row in rows[:3]] == ["Conv2d", "BatchNorm2d", "MaxPool2d"]
    assert (rows[0].shape, rows[2].shape, rows[-2].shape) == ((64, 112, 112), (64, 56, 56), (512, 7, 7))


def test_auto_takes_the_small_stem_for_small_images() -> None:
    assert [stem_for(side) for side in (8, 64, 96, 97, 128, 224)] == ["small"] * 3 + ["standard"] * 3


def test_a_batch_gives_finite_logits_in_any_memory_format() -> None:
    torch.manual_seed(0)
    model = resnet18(7).eval()
    batch = torch.randn(2, 3, 64, 64)
    plain = model(batch)
    last = model.to(memory_format=torch.channels_last)(batch.to(memory_format=torch.channels_last))
    assert plain.shape == (2, 7)
    torch.testing.assert_close(plain, last, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("training", [True, False])
def test_with_and_without_kernels_it_computes_the_same(
    monkeypatch: pytest.MonkeyPatch, training: bool, stem: Stem
) -> None:
    """As near to float32 as torch's operations in bfloat16 are; single layers differ either way."""
    torch.manual_seed(0)
    side = 32 if stem == "small" else 128  # the same in all stages
    batch = torch.randn(32, 3, side, side).to(memory_format=torch.channels_last)
    model = resnet18(20, stem=stem).to(memory_format=torch.channels_last).train(training)
    results = []
    for kernels, autocast in ((compiled.kernels, True), (None, True), (None, False)):
        monkeypatch.setattr(compiled, "kernels", kernels)
        copied = copy.deepcopy(model)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast), torch.set_grad_enabled(training):
            logits = copied(batch).float()
        if training:
            torch.nn.functional.cross_entropy(logits, torch.arange(32) % 20).backward()
        rest = [*(p.grad for p in copied.parameters()), *copied.bn1.buffers(), *copied.layer4[1].bn2.buffers()]
        results.append([logits, *(rest if training else [])])
    fast, plain = ([relative_error(v, exact) for v, exact in zip(r, results[2], strict=True)] for r in results[:2])
    assert max(fast) < 2 * max(plain)
    assert sum(fast) < (1.3 if training else 2) * sum(plain)


@needs_kernels
def test_hooks_run_with_kernels_too() -> None:
    model, seen = resnet18(5).to(memory_format=torch.channels_last), []
    model.layer1[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model.layer3.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last)).sum().backward()
    assert seen == [(2, 64, 32, 32), (2, 256, 8, 8)]


def build(change: str) -> nn.Module:
    model = resnet18(5).to(memory_format=torch.channels_last)
    block = model.layer2[0]
    if change == "activations":
        model.relu, block.relu = nn.GELU(), nn.GELU()
    elif change == "shortcut":
        block.downsample = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(64, 128, 1, bias=False), nn.BatchNorm2d(128))
    elif change == "padding":
        model.layer4[1].conv1.padding_mode = "circular"
        model.layer4[1].conv1._reversed_padding_repeated_twice = [1, 1, 1, 1]
    elif change == "hooks":
        for module in (model.conv1, block.conv2, block.bn1, model.layer4[1].conv2, block.downsample):
            module.register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


@needs_kernels
@pytest.mark.parametrize("change", ["activations", "shortcut", "padding", "hooks"])
def test_what_somebody_changes_in_it_has_its_effect(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr(conv, "has_tiles", lambda: True)
    torch.manual_seed(0)
    model = build(change)
    batch = torch.randn(8, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        changed = model(batch).float()
        monkeypatch.setattr(compiled, "kernels", None)
        wanted = model(batch).float()
    assert relative_error(changed, wanted) < 0.03


@needs_kernels
def test_a_second_derivative_is_refused_and_not_dropped() -> None:
    model = resnet18(5).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)).float().square().sum()
    (gradient,) = torch.autograd.grad(loss, [model.conv1.weight], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@needs_kernels
def test_training_after_inference_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The working memory of matrix products grows first where its tensors could not be trained on."""
    monkeypatch.setattr(conv, "_memory", conv._Memory())
    monkeypatch.setattr(conv, "has_tiles", lambda: True)
    model, batch = resnet18(5), torch.randn(4, 3, 64, 64).to(memory_format=torch.channels_last)
    model = model.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.inference_mode():
            model(batch)
        model(batch).sum().backward()
    assert model.layer4[0].conv1.weight.grad is not None


@pytest.mark.parametrize("stem", STEMS)
def test_torch_can_look_into_it(stem: Stem) -> None:
    model, batch = resnet18(5, stem=stem).eval(), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(batch), model(batch))
    whole = torch.compile(model, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        whole(batch.to(memory_format=torch.channels_last))
