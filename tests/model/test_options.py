from typing import Any

import pytest
import torch
from torchvision.models.resnet import BasicBlock

from feedline.model import resnet18, share_draws
from feedline.model.drop_path import DropPath

OPTIONS: dict[str, Any] = {
    "zero_init": True, "norm_momentum": 0.4, "norm_eps": 1e-3, "drop_path": 0.2, "dirac_init": True, "head_bias": False
}  # fmt: skip


def seeded(**options: Any) -> Any:
    torch.manual_seed(0)
    return resnet18(10, **options)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_keeps_every_parameter_and_its_name(name: str) -> None:
    plain, changed = resnet18(200), resnet18(200, **{name: OPTIONS[name]})
    assert {k: v.shape for k, v in plain.state_dict().items()} == {k: v.shape for k, v in changed.state_dict().items()}
    assert sum(p.numel() for p in changed.parameters()) == 11_271_432


@pytest.mark.parametrize("stem", ["small", "standard"])
def test_an_option_leaves_the_other_weights_of_a_seed_as_they_are(stem: str) -> None:
    plain, changed = seeded(stem=stem).state_dict(), seeded(**OPTIONS, stem=stem).state_dict()
    differing = {name for name in plain if not torch.equal(plain[name], changed[name])}
    convs = {f"layer{i}.{j}.conv{k}.weight" for i in (1, 2, 3, 4) for j in (0, 1) for k in (1, 2)}
    assert differing == convs | {name.replace("conv2", "bn2") for name in convs if "conv2" in name} | {"fc.bias"}


def test_the_stem_leaves_all_other_weights_of_a_seed_as_they_are() -> None:
    small, standard = seeded().state_dict(), seeded(stem="standard").state_dict()
    assert small.keys() == standard.keys()
    assert {name for name in small if not torch.equal(small[name], standard[name])} == {"conv1.weight"}


@pytest.mark.parametrize("stem", ["small", "standard"])
def test_with_all_options_either_stem_trains(stem: str) -> None:
    model = seeded(**OPTIONS, stem=stem)
    model(torch.rand(4, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    assert model.conv1.weight.grad.any()


def test_zero_init_makes_a_block_its_shortcut() -> None:
    x = torch.rand(2, 64, 8, 8)
    torch.testing.assert_close(seeded(zero_init=True).layer1(x), x)
    assert not torch.allclose(seeded().layer1(x), x)


def test_dirac_init_passes_channels_on() -> None:
    model = seeded(dirac_init=True)
    x = torch.rand(2, 64, 8, 8)
    torch.testing.assert_close(model.layer1[0].conv1(x), x)
    wider = model.layer2[0].conv1(x)
    torch.testing.assert_close(wider[:, :64], x[:, :, ::2, ::2])
    assert wider[:, 64:].std() > 0, "the other filters stay random"
    assert torch.equal(model.layer2[0].downsample[0].weight, seeded().layer2[0].downsample[0].weight)


def test_norm_options_reach_every_norm() -> None:
    norms = [m for m in seeded(norm_momentum=0.4, norm_eps=1e-3).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 20
    assert {(m.momentum, m.eps) for m in norms} == {(0.4, 1e-3)}


def test_the_head_without_bias_holds_it_at_zero() -> None:
    model = seeded(head_bias=False)
    model(torch.rand(2, 3, 16, 16)).sum().backward()
    assert model.fc.bias.grad is None
    assert not model.fc.bias.any()
    assert model.fc.weight.grad is not None


def test_drop_path_grows_linearly_with_depth() -> None:
    model = seeded(drop_path=0.7)
    drops = [m.probability for m in model.modules() if isinstance(m, DropPath)]
    assert drops == pytest.approx([0.1 * i for i in range(8)])
    assert sum(isinstance(m, BasicBlock) for m in model.modules()) == 8


def test_drop_path_drops_images_in_training_only_and_keeps_the_mean() -> None:
    drop = DropPath(0.25)
    torch.manual_seed(0)
    ones = torch.ones(4000, 2, 1, 1)
    kept = drop(ones)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(kept[:, 0], kept[:, 1]), "all channels of an image together"
    assert kept.mean() == pytest.approx(1, abs=0.05)
    assert drop.eval()(ones) is ones


def test_a_network_with_drop_path_evaluates_as_one_without() -> None:
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(seeded(drop_path=0.5).eval()(x), seeded().eval()(x))
    assert not torch.allclose(seeded(drop_path=0.9)(x), seeded()(x))


def test_ranks_draw_their_share_of_one_processes_drops() -> None:
    x, drop = torch.rand(8, 2, 1, 1), DropPath(0.5)
    torch.manual_seed(1)
    whole = drop(x)
    parts = []
    for rank in (0, 1):
        torch.manual_seed(1)
        share_draws(drop, rank, 2)
        parts.append(drop(x[4 * rank :][:4]))
    assert torch.equal(torch.cat(parts), whole)
    assert 0 < (whole == 0).sum() < whole.numel()
