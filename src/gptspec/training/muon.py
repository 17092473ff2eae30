"""Muon: a matrix moves equally far in all the directions in which its gradient points."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.checks import check, check_at_least
from gptspec.gpt.model import GPT
from gptspec.training import optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
EPSILON = 1e-7  # a shorter matrix is divided by this instead of its norm
RMS = 0.2  # root mean square of a step, in learning rates: about that of AdamW's


def orthogonalize(
    matrix: Float[Tensor, "*batch rows columns"], steps: int = 5
) -> Float[Tensor, "*batch rows columns"]:
    """Return the matrix with its singular values brought close to 1, and its singular vectors kept.

    Five steps bring every singular value that is at least 1/500 of the matrix's norm between 0.68
    and 1.21, and smaller ones not above that.

    Raises:
        ValueError: If `steps` is below 1.

    Examples:
        >>> orthogonalize(torch.tensor([[0.0, 5.0], [1.0, 0.0]]))
        tensor([[0.0000, 0.7222],
                [0.7967, 0.0000]])

    Source:
        Jordan et al. 2024, Muon: the coefficients, and the steps.
    """
    check_at_least(1, steps=steps)
    first, third, fifth = COEFFICIENTS
    x = matrix / torch.linalg.matrix_norm(matrix, keepdim=True).clamp(min=EPSILON)
    rows, columns = matrix.shape[-2:]
    if rows > columns:  # `square` is then the smaller of two
        x = x.mT
    stack = x[None].flatten(0, -3)
    for _ in range(steps):
        square = stack @ stack.mT
        # beta * square + alpha * square @ square, in one pass; then the same with the stack.
        factor = torch.baddbmm(square, square, square, beta=third, alpha=fifth)
        stack = torch.baddbmm(stack, factor, stack, beta=first)
    x = stack.view(x.shape).to(matrix.dtype)  # autocast has taken the products in 16 bits
    return x.mT if rows > columns else x


class Muon(torch.optim.Optimizer):
    """Move each matrix against its average gradient, orthogonalized.

    The state of a parameter is one tensor, named as PyTorch's Muon names it: `momentum_buffer`,
    the average gradient.

    Args:
        params: Matrices, or groups of them such as `parameter_groups` returns.
        lr: Learning rate: a step's root mean square is about a fifth of it.
        momentum: How much of the average is kept from step to step.
        weight_decay: Share of each weight, times `lr`, that is taken away at each step.

    Raises:
        ValueError: If `lr` or `weight_decay` is negative or infinite, `momentum` outside [0, 1),
            or a parameter no matrix, here or in a group.

    Examples:
        >>> weight = nn.Parameter(torch.zeros(2, 2))
        >>> mover = Muon([weight], lr=1.0)
        >>> weight.grad = torch.tensor([[0.0, 5.0], [1.0, 0.0]])
        >>> mover.step()
        >>> weight.detach()
        tensor([[ 0.0000, -0.2043],
                [-0.2253,  0.0000]])

    Source:
        Jordan et al. 2024, Muon; the length of a step from Liu et al. 2025, section 2.2.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of matrices; what it does not set is set as for all others."""
        group = {**self.defaults, **param_group}
        for name in ("lr", "weight_decay"):
            check(name, group[name], 0 <= group[name] < math.inf, "at least 0 and finite")
        momentum = group["momentum"]
        check("momentum", momentum, 0 <= momentum < 1, "at least 0 and below 1")
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.ndim != 2:
                raise ValueError(
                    "params must be matrices, got one of shape "
                    f"{tuple(parameter.shape)}: give it to AdamW"
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every matrix that has a gradient.

        Args:
            closure: Computes the loss and its gradients; called once, before the step.

        Returns:
            What the closure returns, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._move(parameters, group)
        return loss

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        means = [self._momentum(p) for p in parameters]
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        # Nesterov: where the average will be if the next gradient is like this one.
        ahead = torch._foreach_lerp(gradients, means, group["momentum"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])

        alike = defaultdict(list)  # one call works on all matrices of a shape
        for parameter, direction in zip(parameters, ahead, strict=True):
            alike[parameter.shape].append((parameter, direction))
        for (rows, columns), pairs in alike.items():
            moves = orthogonalize(torch.stack([direction for _, direction in pairs]))
            rate = group["lr"] * RMS * math.sqrt(max(rows, columns))
            torch._foreach_add_([p for p, _ in pairs], moves.unbind(), alpha=-rate)

    def _momentum(self, parameter: Tensor) -> Tensor:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def parameter_groups(
    model: GPT, *, weight_decay: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the groups for Muon and those for AdamW: the blocks' projections, and all the rest.

    A projection is the weight of an `nn.Linear`. What else has two or more axes decays too: tables
    such as embeddings, the kernels of convolutions.

    Examples:
        >>> from gptspec.gpt.model import GPTConfig
        >>> shape = GPTConfig(vocab_size=9, context_length=4, d_model=2, n_layers=1, n_heads=1)
        >>> hidden, rest = parameter_groups(GPT(shape), weight_decay=0.1)
        >>> [tuple(p.shape) for group in hidden for p in group["params"]]
        [(2, 2), (2, 2), (2, 2), (2, 2), (8, 2), (2, 8)]

    Source:
        Jordan et al. 2024, Muon: embeddings and the head are left to AdamW.
    """
    layers = [m for m in model.blocks.modules() if isinstance(m, nn.Linear)]
    projections = {id(m.weight): m.weight for m in layers}  # each once, if layers share it
    hidden = [weight for weight in projections.values() if weight.requires_grad]
    rest = [
        {**group, "params": [p for p in group["params"] if id(p) not in projections]}
        for group in optimizer.parameter_groups(model, weight_decay=weight_decay)
    ]
    return [{"params": hidden, "weight_decay": weight_decay}], rest
