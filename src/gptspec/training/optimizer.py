"""Optimizer: from gradients to better weights, with AdamW and clipping."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gptspec.checks import check, check_positive


def adamw(
    weight: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    mean: Float[Tensor, "*shape"],
    square: Float[Tensor, "*shape"],
    step: int,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return the weight and both averages after a step: the formula that `AdamW` computes.

    Args:
        weight: The weight before the step.
        gradient: The gradient of the loss there.
        mean: Average of the gradients before, the first moment; 0 before the first step.
        square: Average of their squares, the second moment; 0 before the first step.
        step: The number of this step, counted from 1.
        lr: Learning rate.
        betas: How much of each average is kept.
        eps: Added to the gradient's usual size.
        weight_decay: Share of the weight, times `lr`, that is taken away.

    Examples:
        >>> zero = torch.zeros(1)
        >>> options = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0}
        >>> adamw(torch.ones(1), torch.tensor([4.0]), zero, zero, 1, **options)
        (tensor([0.9000]), tensor([0.4000]), tensor([0.1600]))

    Source:
        Loshchilov and Hutter 2019, algorithm 2.
    """
    beta1, beta2 = betas
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient**2
    corrected_mean = mean / (1 - beta1**step)
    corrected_square = square / (1 - beta2**step)
    weight = weight - lr * weight_decay * weight
    weight = weight - lr * corrected_mean / (corrected_square.sqrt() + eps)
    return weight, mean, square


class AdamW(torch.optim.Optimizer):
    """Move each weight against its average gradient, divided by the gradient's usual size.

    The state of a parameter is three tensors, named as PyTorch's AdamW names them:
    `step` (how often it was moved), `exp_avg` (average gradient, the first moment) and
    `exp_avg_sq` (average of its square, the second moment).

    Args:
        params: Parameters, or groups of them such as `parameter_groups` returns.
        lr: Learning rate: how far a weight moves in one step while its gradients agree.
        betas: How much of each average is kept from step to step.
        eps: Added to the gradient's size, so that a weight without gradient stays.
        weight_decay: Share of each weight, times `lr`, that is taken away at each step.

    Raises:
        ValueError: If `lr` or `weight_decay` is negative or infinite, a beta outside [0, 1), or
            `eps` not positive, here or in a group.

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
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; what it does not set is set as for all others."""
        group = {**self.defaults, **param_group}
        for name in ("lr", "weight_decay"):
            check(name, group[name], 0 <= group[name] < math.inf, "at least 0 and finite")
        kept = len(group["betas"]) == 2 and all(0 <= beta < 1 for beta in group["betas"])
        check("betas", group["betas"], kept, "two numbers of at least 0 and below 1")
        check_positive(eps=group["eps"])
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient.

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
        """Apply `adamw` to a whole list of tensors, through torch's kernel."""
        beta1, beta2 = group["betas"]
        alike = defaultdict(list)  # the kernel takes one type at a time
        for parameter in parameters:
            alike[parameter.device, parameter.dtype].append(parameter)
        for some in alike.values():
            gradients = _gradients(some)
            states = [self._state(p) for p in some]
            means = [state["exp_avg"] for state in states]
            squares = [state["exp_avg_sq"] for state in states]
            # It goes through memory from end to end: what lies there in another order is copied.
            laid = [[x.contiguous() for x in side] for side in (some, gradients, means, squares)]
            # One pass over memory, where the formula takes a dozen.
            torch._fused_adamw_(
                laid[0],
                laid[1],
                laid[2],
                laid[3],
                [],
                [state["step"] for state in states],
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
            for side, copies in zip((some, means, squares), laid[:1] + laid[2:], strict=True):
                for x, moved in zip(side, copies, strict=True):
                    if moved is not x:
                        x.copy_(moved)

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] = state["step"].to(parameter.device) + 1
        return state


def parameter_groups(model: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters in two groups: those that decay, and those that do not.

    What has two or more axes decays: matrices, embeddings, the kernels of convolutions. Biases,
    gains and single numbers do not.

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

    A gradient that is infinite or NaN cannot be shortened: the norm is infinite or NaN then. An
    infinite `max_norm` shortens nothing.

    Returns:
        The norm before, in float32 at least.

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
    check("max_norm", max_norm, max_norm > 0, "above 0")
    gradients = _gradients(parameters)
    if not gradients:
        raise ValueError("parameters have no gradients: call backward() before clip()")
    lengths = [  # in 16 bits a sum of squares would overflow, or stop growing
        torch.linalg.vector_norm(g, dtype=torch.promote_types(g.dtype, torch.float32))
        for g in gradients
    ]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(lengths))
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1))
    return norm


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
