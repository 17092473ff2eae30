"""Training loop: read a batch, see how wrong the model is, move its weights, and again."""

import dataclasses
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from gptspec.gpt.model import GPT
from gptspec.sampling.batches import Windows, batch
from gptspec.training import muon
from gptspec.training.loss import chunked_cross_entropy, cross_entropy
from gptspec.training.optimizer import AdamW, clip, parameter_groups
from gptspec.training.precision import Precision, choose, mixed
from gptspec.training.schedule import learning_rate

IGNORE = -100
Choice = Literal["adamw", "muon"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained.

    Args:
        steps: How often the weights are moved.
        batch_size: Windows whose mean loss decides a step.
        accumulation: Parts a batch is read in, one after the other, to need less memory.
        optimizer: AdamW for all weights, or Muon for the blocks' matrices and AdamW for the rest.
        learning_rate: The highest learning rate.
        warmup: Steps that climb towards it.
        floor: The learning rate that the last steps come close to.
        weight_decay: Pull of the matrices towards zero.
        betas: How much of its two averages AdamW keeps from step to step.
        max_norm: Longest gradient that is not shortened.
        precision: In which products are taken, float32 or bfloat16; with auto a `Run` measures
            which is faster, and keeps what it chose.
        seed: Decides the order of the windows and what dropout drops.

    Raises:
        ValueError: If a value is out of its range.
    """

    steps: int
    batch_size: int
    accumulation: int = 1
    optimizer: Choice = "adamw"
    learning_rate: float = 3e-3
    warmup: int = 0
    floor: float = 0.0
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    max_norm: float = 1.0
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "steps": (self.steps >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "accumulation": (1 <= self.accumulation <= self.batch_size, "from 1 to batch_size"),
            "optimizer": (self.optimizer in get_args(Choice), "adamw or muon"),
            "learning_rate": (0 < self.learning_rate < math.inf, "above 0 and finite"),
            "warmup": (0 <= self.warmup < self.steps, "at least 0 and below steps"),
            "floor": (0 <= self.floor <= self.learning_rate, "from 0 to learning_rate"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "at least 0 and finite"),
            "betas": (all(0 <= beta < 1 for beta in self.betas), "at least 0 and below 1"),
            "max_norm": (self.max_norm > 0, "above 0"),
            "precision": (
                self.precision in (*get_args(Precision), "auto"),
                "float32, bfloat16 or auto",
            ),
            "seed": (0 <= self.seed < 2**63, "at least 0 and below 2^63"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise ValueError(f"{name} must be {rule}, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Record:
    """What happened in one step.

    Args:
        step: Steps taken so far, this one included.
        loss: Mean nats per token on the step's batch, before the weights moved.
        learning_rate: The rate they moved with.
        norm: Length of the gradient before it was shortened.
    """

    step: int
    loss: float
    learning_rate: float
    norm: float


class Run:
    """A training under way: all that decides how it goes on, apart from the text.

    Args:
        model: Its weights are moved in place.
        config: How.

    Examples:
        >>> from gptspec.gpt.model import GPTConfig
        >>> shape = GPTConfig(vocab_size=3, context_length=2, d_model=2, n_layers=1, n_heads=1)
        >>> run = Run(GPT(shape), TrainConfig(steps=2, batch_size=1))
        >>> windows = Windows(torch.tensor([0, 1, 2, 0, 1, 2]), context_length=2)
        >>> [record.step for record in train(run, windows)]
        [1, 2]
    """

    def __init__(self, model: GPT, config: TrainConfig) -> None:
        if config.precision == "auto":
            config = dataclasses.replace(config, precision=choose(model))
        self.model = model
        self.config = config
        self.optimizers = _optimizers(model, config)
        self.step = 0  # steps taken


def _optimizers(model: GPT, config: TrainConfig) -> list[torch.optim.Optimizer]:
    if config.optimizer == "adamw":
        groups = parameter_groups(model, weight_decay=config.weight_decay)
        return [AdamW(groups, betas=config.betas)]
    hidden, rest = muon.parameter_groups(model, weight_decay=config.weight_decay)
    return [muon.Muon(hidden), AdamW(rest, betas=config.betas)]


def train(run: Run, windows: Windows) -> Iterator[Record]:
    """Take the steps that are left, one each time a record is asked for.

    Between two records the run is at rest: to be evaluated, sampled from, saved, or left. Ctrl-C
    leaves it at rest too: before a step or after it, never inside.

    Raises:
        ValueError: If there are fewer windows than a batch needs.
        FloatingPointError: If a gradient is not finite; the weights are those of the step before.
    """
    while run.step < run.config.steps:
        yield _advance(run, windows)


def _advance(run: Run, windows: Windows) -> Record:
    model, config, step = run.model, run.config, run.step
    device = next(model.parameters()).device
    inputs, targets = batch(windows, step, batch_size=config.batch_size, seed=config.seed)
    rate = learning_rate(
        step,
        peak=config.learning_rate,
        warmup=config.warmup,
        steps=config.steps,
        floor=config.floor,
    )
    model.train()
    with _chance(config.seed, step, device):
        loss = accumulate(
            model,
            inputs.to(device),
            targets.to(device),
            config.accumulation,
            precision=config.precision,
        )
    norm = clip(model.parameters(), config.max_norm).item()
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"the gradient of step {step + 1} is {norm}, with a loss of {loss}: "
            "try a lower learning_rate or a longer warmup"
        )
    with _undivided(), mixed(config.precision, device):
        for optimizer in run.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        run.step += 1
    return Record(step=run.step, loss=loss, learning_rate=rate, norm=norm)


@contextmanager
def _undivided() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the block: weights, averages and count move together."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is None:  # then Python has no say in it
        yield
        return
    held: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if held:
            signal.raise_signal(signal.SIGINT)


def accumulate(
    model: GPT,
    inputs: Int[Tensor, "batch time"],
    targets: Int[Tensor, "batch time"],
    parts: int,
    *,
    precision: str = "float32",
) -> float:
    """Set the gradients to those of the whole batch's mean loss, reading it in parts.

    Args:
        model: Gets the gradients; those of earlier calls are forgotten.
        inputs: Token ids.
        targets: The ids that truly came next, -100 where none is to be learned.
        parts: How many; only one part's activations are in memory at a time.
        precision: In which products are taken, float32 or bfloat16.

    Returns:
        The loss, in nats per token.
    """
    model.zero_grad()
    counted = (targets != IGNORE).sum()
    total = 0.0
    for some, answers in zip(inputs.chunk(parts), targets.chunk(parts), strict=True):
        # A part weighs as much as it has tokens that count, which need not be the same for all.
        share = (answers != IGNORE).sum() / counted
        if share > 0:
            with mixed(precision, some.device):
                states = model.hidden_states(some)
                loss = chunked_cross_entropy(states, model.head.weight, answers) * share
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
    return total


@contextmanager
def _chance(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Let dropout's draws depend on the seed and the step alone, and disturb nobody else's."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        mixed = np.random.SeedSequence((seed, step)).generate_state(1)  # (0, 1) is not (1, 0)
        torch.manual_seed(int(mixed[0]))
        yield


def evaluate(model: GPT, windows: Windows, batch_size: int) -> float:
    """Return the mean loss over all targets that count, in nats per token, with dropout off.

    Give windows that do not overlap, so that every token counts once. Targets of -100 are ignored.

    Raises:
        ValueError: If `batch_size` is below 1, or all targets are ignored.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    device = next(model.parameters()).device
    total, n_counted = 0.0, 0
    for start in range(0, len(windows), batch_size):
        end = min(start + batch_size, len(windows))
        inputs, targets = windows[torch.arange(start, end, device=windows.inputs.device)]
        if counted := int((targets != IGNORE).sum()):
            loss = cross_entropy(model.read(inputs.to(device)), targets.to(device))
            total += loss.item() * counted
            n_counted += counted
    if not n_counted:
        raise ValueError(f"windows must hold a target that counts, got {IGNORE} only")
    return total / n_counted
