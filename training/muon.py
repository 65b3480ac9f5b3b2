"""Muon: momentum whose matrix is made orthogonal, for the filters of convolutions.

Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024, https://kellerjordan.github.io/posts/muon/, as
used in airbench94_muon. torch.optim.Muon takes matrices only, one at a time, and in bf16 only.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.optim.sgd import sgd

from feedline.training.replayed import Replayed

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic, from the post
EPS = 1e-7
# Up to three iterations on Gram matrices are within 4 % of the exact result in bf16, also for singular values over 3
# decades (32 to 512 rows; 1.4 % for 512, the plain iteration 0.8 %). Five are not: 39 %.
GRAM_STEPS = 3

Product = Callable[..., torch.Tensor]


def orthogonalised(matrix: torch.Tensor, steps: int, dtype: torch.dtype) -> torch.Tensor:
    """Moves all singular values of matrices towards 1, by Newton-Schulz iterations.

    The quintic does not converge: five steps put the values of a random matrix between 0.7 and 1.2.

    Args:
        matrix: float32 [m, n] or [k, m, n].
        steps: number of iterations.
        dtype: to compute in: bf16 where the hardware has it, or float32.

    Returns:
        The same shape, in `dtype`.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[-2] > matrix.shape[-1]
    norm = matrix.norm(dim=(-2, -1), keepdim=True).clamp(min=EPS)
    x = matrix.to(dtype) / norm.to(dtype)
    x = x.mT if tall else x
    product: Product = torch.addmm if x.ndim == 2 else torch.baddbmm
    if steps <= GRAM_STEPS and x.shape[-1] > 2 * x.shape[-2]:
        x = _iterated_on_gram(x, steps, product)
    else:
        for _ in range(steps):
            gram = x @ x.mT
            x = product(x, product(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _iterated_on_gram(x: torch.Tensor, steps: int, product: Product) -> torch.Tensor:
    """The same iterations on the small square matrix x x^T: half the operations where x is nine times as wide.

    Each iteration is x <- f x with f = a + b g + c g g and g = x x^T, so g becomes f g f, and the factors are
    multiplied before they meet x.
    """
    a, b, c = COEFFICIENTS
    gram, factors = x @ x.mT, None
    for step in range(1, steps + 1):
        factor = product(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        factors = factor if factors is None else factor @ factors
        if step < steps:
            gram = factor @ gram @ factor
    assert factors is not None
    return factors @ x


class Muon(torch.optim.Optimizer):
    """Muon for groups with `filters`, SGD with Nesterov momentum for the others.

    Args:
        groups: of parameters. Groups with `filters=True` hold weights [out, in, height, width] that are taken as
            matrices [out, in * height * width]. `lr`, `momentum` and `weight_decay` are a group's own.
        lr: learning rate of groups without one.
        momentum: of groups without one.
        steps: Newton-Schulz iterations.
        renorm: before each step each weight with `filters` is scaled to a norm of sqrt(out), as airbench does, which
            a norm behind it does not notice; weight decay then has no effect on it. False: decoupled weight decay.
        dtype: of the iterations.
        fused: one kernel per step for SGD; False with a gradient scaler.
        graphs: on a GPU, update filters by a CUDA graph: launching some 200 kernels takes longer than they do. With
            `renorm` only.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float,
        *,
        steps: int = 5,
        renorm: bool = True,
        dtype: torch.dtype = torch.float32,
        fused: bool = False,
        graphs: bool = False,
    ) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "filters": False})
        self._steps, self._renorm, self._dtype, self._fused = steps, renorm, dtype, fused
        self._graphs = graphs and renorm
        # By group: what is fixed in its graph, the negative learning rate, and the graph.
        self._replayed: dict[int, tuple[tuple[float, ...], torch.Tensor, Replayed]] = {}

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Updates all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for index, group in enumerate(self.param_groups):
            parameters = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in parameters if p.grad is not None]
            if not parameters:
                continue
            if not group["filters"]:
                self._step_sgd(parameters, gradients, group)
            elif self._graphs and _on_gpu(parameters):
                self._replay_filters(index, parameters, gradients, group)
            else:
                self._step_filters(parameters, gradients, group)
        return loss

    def _replay_filters(
        self, index: int, filters: list[torch.Tensor], gradients: list[torch.Tensor], group: dict[str, Any]
    ) -> None:
        """As `_step_filters`, for the group with this index. A graph is for one momentum and one place in memory."""
        fixed = (group["momentum"], *(t.data_ptr() for t in (*filters, *self._buffers(filters))))
        if index not in self._replayed or self._replayed[index][0] != fixed:
            rate, weak = torch.zeros((), device=filters[0].device), weakref.proxy(self)  # else a cycle keeps the memory
            self._replayed[index] = fixed, rate, Replayed(lambda found: weak._step_filters(filters, found, group, rate))
        _, rate, replayed = self._replayed[index]
        rate.fill_(-group["lr"])
        replayed(gradients)

    @property
    def replays(self) -> bool:
        """Whether filters are updated by a CUDA graph, which begins with the fourth step."""
        return any(replayed.captured for *_, replayed in self._replayed.values())

    def _step_filters(
        self,
        filters: list[torch.Tensor],
        gradients: list[torch.Tensor],
        group: dict[str, Any],
        rate: torch.Tensor | None = None,
    ) -> None:
        """One call for all filters where torch has one: on a GPU each launch of a kernel takes the host's time.

        Args:
            filters: the weights.
            gradients: of each.
            group: their group.
            rate: the negative learning rate, where they are, instead of the group's.
        """
        updates = self._updates(filters, gradients, group["momentum"])
        if self._renorm:
            scales = torch._foreach_norm(filters)
            torch._foreach_clamp_min_(scales, EPS)
            torch._foreach_reciprocal_(scales)
            torch._foreach_mul_(scales, [len(p) ** 0.5 for p in filters])
            torch._foreach_mul_(filters, scales)
        else:
            torch._foreach_mul_(filters, 1 - group["lr"] * group["weight_decay"])
        stacks: dict[torch.Size, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for p, update in zip(filters, updates, strict=True):
            # In the order of the weight's memory, so that nothing is copied: the order of columns does not matter.
            order = (0, 2, 3, 1) if p.is_contiguous(memory_format=torch.channels_last) else (0, 1, 2, 3)
            weight = p.permute(order)
            stacks.setdefault(weight.shape, []).append((weight, update.permute(order).flatten(1)))
        for members in stacks.values():
            weights, matrices = zip(*members, strict=True)
            changes = [o.reshape(weights[0].shape) for o in self._orthogonalised(matrices)]
            if _on_gpu(weights):  # rounded alike with a graph and without
                torch._foreach_mul_(changes, -group["lr"] if rate is None else rate)
                torch._foreach_add_(list(weights), changes)
            else:
                torch._foreach_add_(list(weights), changes, alpha=-group["lr"])

    def _orthogonalised(self, updates: Sequence[torch.Tensor]) -> Iterable[torch.Tensor]:
        """The orthogonal matrices of updates of one shape."""
        if _on_gpu(updates):  # one product for all; on a CPU products of single matrices take 7 % less time
            return orthogonalised(torch.stack(list(updates)), self._steps, self._dtype).to(updates[0].dtype).unbind()
        return (orthogonalised(update, self._steps, self._dtype) for update in updates)

    def _updates(
        self, filters: list[torch.Tensor], gradients: list[torch.Tensor], momentum: float
    ) -> list[torch.Tensor]:
        """Adds the gradients to the momentum; returns their Nesterov sums."""
        buffers = self._buffers(filters)
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=momentum))

    def _buffers(self, filters: list[torch.Tensor]) -> list[torch.Tensor]:
        """The momentum of each filter; zeros before the first step."""
        for p in filters:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return [self.state[p]["momentum_buffer"] for p in filters]

    def _step_sgd(self, parameters: list[torch.Tensor], gradients: list[torch.Tensor], group: dict[str, Any]) -> None:
        buffers = [self.state[p].get("momentum_buffer") for p in parameters]
        sgd(
            parameters,
            gradients,
            buffers,
            fused=self._fused,
            foreach=not self._fused,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=group["momentum"] > 0,
            maximize=False,
        )
        for p, buffer in zip(parameters, buffers, strict=True):  # the first step made them
            self.state[p]["momentum_buffer"] = buffer


def _on_gpu(tensors: Sequence[torch.Tensor]) -> bool:
    return tensors[0].is_cuda
