"""A training step as nanoGPT takes it on a CPU, written anew from its structure: the peer to beat.

What decides its speed is kept: one projection for queries, keys and values; torch's attention
kernel, exact GELU, `F.cross_entropy` over all logits at once, `torch.optim.AdamW` as it comes,
`clip_grad_norm_`, a batch of random windows cut from an array of 16-bit ids. No compiler, no
autocast: nanoGPT's own way on a CPU is `--device=cpu --compile=False`.

Source: Karpathy, nanoGPT (2022-2024), `model.py` and `train.py`.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

BETAS, WEIGHT_DECAY, MAX_NORM, PEAK = (0.9, 0.95), 0.1, 1.0, 6e-4


class Block(nn.Module):
    """Pre-norm attention and feed-forward, without biases."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mixed = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        heads = [
            part.view(batch, time, self.n_heads, width // self.n_heads).transpose(1, 2)
            for part in self.qkv(self.norms[0](x)).split(width, dim=2)
        ]
        read = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.mixed(read.transpose(1, 2).contiguous().view(batch, time, width))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class Model(nn.Module):
    """GPT-2's shape with tied embeddings; returns the loss."""

    def __init__(self, vocab: int, time: int, width: int, n_layers: int, n_heads: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(time, width)
        self.blocks = nn.ModuleList(Block(width, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocab, bias=False)
        self.head.weight = self.tokens.weight
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                ends = name.endswith(("mixed.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * n_layers) if ends else 0.02)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1), ignore_index=-1)


def stepper(
    data: np.ndarray, *, vocab: int, time: int, batch: int, width: int, n_layers: int, n_heads: int
) -> Callable[[], None]:
    """Return a function that takes one training step each time it is called."""
    torch.manual_seed(0)
    model = Model(vocab, time, width, n_layers, n_heads)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0}],
        lr=PEAK,
        betas=BETAS,
    )

    def batch_of_windows() -> tuple[Tensor, Tensor]:
        starts = torch.randint(len(data) - time, (batch,)).tolist()
        inputs = [torch.from_numpy(data[i : i + time].astype(np.int64)) for i in starts]
        targets = [torch.from_numpy(data[i + 1 : i + 1 + time].astype(np.int64)) for i in starts]
        return torch.stack(inputs), torch.stack(targets)

    def step() -> None:
        loss = model(*batch_of_windows())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
