"""A GPT in all but its layers: what it says is looked up, so that laws about its use are quick."""

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from gptspec.attention.cache import Cache
from gptspec.gpt.model import GPT, GPTConfig


class KnownCache(Cache):
    """What a `Known` has read so far: a number for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.totals: Tensor | None = None

    def select(self, texts: Sequence[int], longest: int) -> None:
        if self.totals is not None:
            self.totals = self.totals[list(texts)]

    @classmethod
    def join(cls, caches: Sequence[Cache]) -> "KnownCache":
        joined = cls()
        joined.time = caches[0].time
        joined.totals = torch.cat([each.totals[:, -1:] for each in caches])
        return joined

    def truncate(self, time: int) -> None:
        assert 0 <= time <= self.time
        self.time = time
        self.totals = None if self.totals is None else self.totals[..., :time]


class Known(GPT):
    """Its logits depend on every token it has read, and on where each stood in the window.

    `seen` holds what it was given, `modes` whether any part of it was in training then.
    """

    def __init__(self, rows: Tensor, context_length: int) -> None:
        nn.Module.__init__(self)
        self.config = GPTConfig(
            vocab_size=rows.shape[-1],
            context_length=context_length,
            d_model=1,
            n_layers=1,
            n_heads=1,
        )
        self.rows = nn.Parameter(rows)
        self.part = nn.Dropout(0.5)  # reads nothing, and has a mode of its own
        self.seen: list[Tensor] = []
        self.modes: list[bool] = []

    def new_cache(self, *, spare: int = 0) -> list[Cache]:
        return [KnownCache()]

    def forward_padded(self, ids, cache, padding, *, last=None):
        return self(ids, cache, last=last, padding=padding)

    def forward(
        self,
        ids: Tensor,
        cache: Sequence[Cache] | None = None,
        *,
        last: int | None = None,
        padding: Sequence[int] | None = None,
    ) -> Tensor:
        kept = KnownCache() if cache is None else cache[0]
        end = kept.time + ids.shape[-1]
        skipped = torch.tensor(padding or 0, device=ids.device)[..., None]
        assert end - int(skipped.min()) <= self.config.context_length
        self.seen.append(ids)
        self.modes.append(any(part.training for part in self.modules()))
        place = torch.arange(kept.time + 1, end + 1, device=ids.device)
        place = (place - skipped).clamp(min=0)
        before = ids[..., :0] if kept.totals is None else kept.totals
        total = (place * (ids + 1)).cumsum(-1) + (before[..., -1:] if before.shape[-1] else 0)
        kept.time, kept.totals = end, torch.cat([before, total], dim=-1)
        rows = self.rows[total % len(self.rows)]
        return rows if last is None else rows[..., -last:, :]


@st.composite
def known_models(
    draw: st.DrawFn, vocab_size: int, context_length: int | st.SearchStrategy[int]
) -> Known:
    """Draw a model of seven rows of logits, in either mode."""
    seed = draw(st.integers(0, 2**32 - 1))
    source = torch.Generator(torch.get_default_device()).manual_seed(seed)
    rows = torch.randn(7, vocab_size, generator=source)
    length = context_length if isinstance(context_length, int) else draw(context_length)
    model = Known(rows, length).train(draw(st.booleans()))
    model.part.train(seed % 2 == 0)
    return model


def modes(model: GPT) -> list[bool]:
    """Return of the model and each of its parts whether it is in training."""
    return [part.training for part in model.modules()]


SEEDS = st.sampled_from([0, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)


def decoding_settings() -> st.SearchStrategy[dict[str, Any]]:
    """Draw all settings of a `Decoding`, each of them often away from its default."""
    return st.fixed_dictionaries(
        {
            "temperature": st.sampled_from([1.0, 0.0, 0.5, 2.0]) | st.floats(0.1, 10),
            "top_k": st.none() | st.integers(1, 4),
            "top_p": st.just(1.0) | st.floats(0.05, 1),
            "min_p": st.just(0.0) | st.floats(0, 0.9),
            "repetition_penalty": st.just(1.0) | st.floats(1, 10),
        }
    )
