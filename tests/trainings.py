"""Small trainings that laws make and compare: of a loop, and of its checkpoints."""

import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st

from gptspec.gpt.model import GPT, GPTConfig
from gptspec.sampling.batches import Windows
from strategies import sizes

VOCAB, CONTEXT = 5, 3
seeds = st.integers(0, 2**32)
optimizers = st.sampled_from(["adamw", "muon"])
# Where an example is a whole training: fewer of them, and no search for the smallest.
costly = settings(max_examples=12, phases=[Phase.explicit, Phase.generate])


def source(seed):
    return torch.Generator(torch.get_default_device()).manual_seed(seed)


def gpt(dropout=0.0, vocab_size=VOCAB):
    shape = GPTConfig(
        vocab_size=vocab_size, context_length=CONTEXT, d_model=4, n_layers=1, n_heads=2,
        dropout=dropout,
    )  # fmt: skip
    return GPT(shape)


@st.composite
def texts_to_learn(draw):
    tokens = torch.randint(VOCAB, [draw(sizes(20, 40))], generator=source(draw(seeds)))
    tokens = tokens.to(draw(st.sampled_from([torch.int64, torch.int32])))
    return Windows(tokens, CONTEXT, stride=draw(sizes(1, 3)))


@st.composite
def configs(draw, loop, most=3):
    """A training of a few steps."""
    batch_size = draw(sizes(1, 5))
    return loop.TrainConfig(
        steps=draw(sizes(2, most)),
        batch_size=batch_size,
        accumulation=draw(sizes(1, batch_size)),
        optimizer=draw(optimizers),
        learning_rate=draw(st.floats(1e-3, 0.1)),
        warmup=draw(sizes(0, 1)),
        floor=draw(st.floats(0, 1e-3)),
        weight_decay=draw(st.sampled_from([0.0, 0.1, 2.0])),
        betas=(draw(st.floats(0, 0.99)), draw(st.floats(0, 0.99))),
        max_norm=draw(st.floats(0.01, 10)),
        precision=draw(st.sampled_from(["float32", "bfloat16"])),
        seed=draw(st.integers(0, 1000)),
    )


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def state(run):
    """All that decides how a run goes on, as plain lists: equal only bit for bit."""
    moments = {
        f"{name}/{key}": (value.dtype, value.tolist())
        for name, parameter in run.model.named_parameters()
        for optimizer in run.optimizers
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    tensors = {name: (weight.dtype, weight.tolist()) for name, weight in weights(run.model).items()}
    return {"step": run.step, "config": run.config, **tensors, **moments}
