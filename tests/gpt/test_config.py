import dataclasses
import math

from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, LlamaConfig

from strategies import rejects, sizes

SMALL = {"vocab_size": 5, "context_length": 3, "d_model": 4, "n_layers": 1, "n_heads": 2}
KINDS = {
    "positions": ["learned", "sinusoidal", "relative", "rotary", "alibi", "none"],
    "norm": ["layer", "rms"],
    "feed_forward": ["gelu", "swiglu"],
}
WRONG_SIZES = [0, -1, True, 2.0, 2.5, "2"]
WRONG_NUMBERS = [0, -0.1, math.nan, math.inf, False, "0.1", None]
WRONG = {
    **{name: [*WRONG_SIZES, None] for name in SMALL},
    **dict.fromkeys(["d_ff", "n_kv_heads", "window"], WRONG_SIZES),
    "dropout": [-0.1, 1.0, 1.5, math.nan, False, "0.1", None],
    **dict.fromkeys(["theta", "norm_eps"], WRONG_NUMBERS),
    **{name: [0, 1, "no", None] for name in ["bias", "tied"]},
    **{name: ["", "Rotary", "rope", 0, None] for name in KINDS},
}


@given(sizes(1, 9), sizes(1, 9), sizes(1, 4))
def test_defaults_are_gpt2(config, n_layers, n_heads, d_head):
    theirs = GPT2Config(n_embd=n_heads * d_head, n_layer=n_layers, n_head=n_heads)
    ours = config.GPTConfig(
        vocab_size=theirs.vocab_size, context_length=theirs.n_positions,
        d_model=n_heads * d_head, n_layers=n_layers, n_heads=n_heads,
    )  # fmt: skip
    assert ours.tied == theirs.tie_word_embeddings
    assert ours.norm_eps == theirs.layer_norm_epsilon
    assert ours.feed_forward_width == (theirs.n_inner or 4 * theirs.n_embd)
    assert (ours.positions, ours.norm, ours.feed_forward) == ("learned", "layer", "gelu")
    assert (ours.bias, ours.n_kv_heads, ours.window, ours.dropout) == (True, None, None, 0.0)
    assert ours.theta == LlamaConfig().rope_parameters["rope_theta"]


@given(sizes(1, 300), st.none() | sizes(1, 2000))
def test_feed_forward_width(config, d_model, d_ff):
    shape = SMALL | {"d_model": 2 * d_model, "d_ff": d_ff}
    gelu, swiglu = (config.GPTConfig(**shape, feed_forward=kind) for kind in ("gelu", "swiglu"))
    if d_ff is None:
        assert gelu.feed_forward_width == 4 * 2 * d_model
        numbers = 2 * gelu.feed_forward_width - 3 * swiglu.feed_forward_width
        assert 0 <= numbers < 3
    else:
        assert gelu.feed_forward_width == swiglu.feed_forward_width == d_ff


@given(st.fixed_dictionaries({name: st.sampled_from(KINDS[name]) for name in KINDS}))
def test_kinds_combine(config, kinds):
    made = config.GPTConfig(**SMALL, **kinds)
    assert {name: getattr(made, name) for name in kinds} == kinds
    assert config.GPTConfig(**dataclasses.asdict(made)) == made
    assert len({made, config.GPTConfig(**SMALL, **kinds)}) == 1


@settings(max_examples=200)  # enough to try them all
@given(st.sampled_from([(name, value) for name in WRONG for value in WRONG[name]]))
def test_rejects_what_it_is_not(config, wrong):
    name, value = wrong
    with rejects(name, value):
        config.GPTConfig(**SMALL | {name: value})


@given(sizes(1, 9), sizes(1, 9), st.none() | sizes(1, 9))
def test_heads_divide(config, d_model, n_heads, n_kv_heads):
    shape = SMALL | {"d_model": d_model, "n_heads": n_heads, "n_kv_heads": n_kv_heads}
    if d_model % n_heads:
        with rejects("n_heads", "d_model", d_model, n_heads):
            config.GPTConfig(**shape)
    elif n_heads % (n_kv_heads or 1):
        with rejects("n_heads", "n_kv_heads", n_heads, n_kv_heads):
            config.GPTConfig(**shape)
    else:
        config.GPTConfig(**shape)


@given(st.sampled_from(KINDS["positions"]), sizes(1, 4), sizes(1, 5))
@example("sinusoidal", 1, 3)
@example("rotary", 2, 3)
def test_pairs_need_even_widths(config, positions, n_heads, d_head):
    shape = SMALL | {"d_model": n_heads * d_head, "n_heads": n_heads, "positions": positions}
    odd = {"sinusoidal": n_heads * d_head, "rotary": d_head}.get(positions, 0) % 2
    if odd:
        with rejects(positions, "d_model", n_heads * d_head, n_heads):
            config.GPTConfig(**shape)
    else:
        config.GPTConfig(**shape)
