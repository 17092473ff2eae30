"""Optimizer: from gradients to better weights, with AdamW and clipping."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AdamW(torch.optim.Optimizer):
    """Move each weight against its average gradient, measured by the gradient's usual size.

    The state of a parameter is three tensors, named as PyTorch's AdamW names them:
    `step` (how often it was moved), `exp_avg` (average gradient) and `exp_avg_sq` (average of
    its square).

    Args:
        params: Parameters, or groups of them such as `parameter_groups` returns.
        lr: Learning rate: about how far a weight moves in one step, at most.
        betas: How much of each average is kept from step to step.
        eps: Added to the gradient's size, so that a weight without gradient stays.
        weight_decay: Share of each weight, times `lr`, that is taken away at each step.

    Raises:
        ValueError: If `lr` or `weight_decay` is negative, a beta outside [0, 1), or `eps` not
            positive.

    Examples:
        >>> weight = nn.Parameter(torch.tensor([1.0, 1.0]))
        >>> optimizer = AdamW([weight], lr=0.1, weight_decay=0.0)
        >>> weight.grad = torch.tensor([4.0, -0.004])
        >>> optimizer.step()
        >>> weight.detach()
        tensor([0.9000, 1.1000])

    Source:
        Loshchilov and Hutter 2019, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"lr must be at least 0, got {lr}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be at least 0 and below 1, got {betas}")
        if not eps > 0:
            raise ValueError(f"eps must be above 0, got {eps}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must be at least 0, got {weight_decay}")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: the loss is asked for once
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._move(parameters, group)

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        lr, (keep_mean, keep_square) = group["lr"], group["betas"]
        gradients = _gradients(parameters)
        states = [self._state(p) for p in parameters]
        means = [state["exp_avg"] for state in states]
        squares = [state["exp_avg_sq"] for state in states]
        for state in states:
            state["step"] += 1
        steps = [state["step"].item() for state in states]

        # One call works on a whole list of tensors: a GPT has many, and most are small.
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        torch._foreach_lerp_(means, gradients, 1 - keep_mean)
        torch._foreach_mul_(squares, keep_square)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - keep_square)

        # Both averages began at zero: dividing by the share that is filled lifts them.
        sizes = torch._foreach_sqrt(squares)
        torch._foreach_div_(sizes, [math.sqrt(1 - keep_square**step) for step in steps])
        torch._foreach_add_(sizes, group["eps"])
        rates = [-lr / (1 - keep_mean**step) for step in steps]
        torch._foreach_addcdiv_(parameters, means, sizes, rates)

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device="cpu")
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state


def parameter_groups(model: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters in two groups: matrices, which decay, and vectors.

    Examples:
        >>> groups = parameter_groups(nn.Linear(2, 3), weight_decay=0.1)
        >>> [(group["weight_decay"], len(group["params"])) for group in groups]
        [(0.1, 1), (0.0, 1)]

    Source:
        Karpathy, nanoGPT, `model.py`, `configure_optimizers`.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


@torch.no_grad()
def clip(parameters: Iterable[Tensor], max_norm: float) -> Float[Tensor, ""]:
    """Shorten all gradients by one factor, so that together they are no longer than `max_norm`.

    A gradient that is infinite or NaN cannot be shortened: the norm returned says so.

    Returns:
        The norm before.

    Raises:
        ValueError: If `max_norm` is not positive, or no parameter has a gradient.

    Examples:
        >>> weight = nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> clip([weight], max_norm=1.0)
        tensor(5.)
        >>> weight.grad
        tensor([0.6000, 0.8000])

    Source:
        Pascanu et al. 2013, algorithm 1.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm}")
    gradients = _gradients(parameters)
    if not gradients:
        raise ValueError("parameters have no gradients: call backward() before clip()")
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1))
    return norm


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
