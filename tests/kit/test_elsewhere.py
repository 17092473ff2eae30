"""Laws over code that lives elsewhere: in memory, in a suite of one's own, behind an adapter."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gptspec.attention import causal, multihead
from gptspec.gpt.model import GPT, GPTConfig
from gptspec_laws import adapt, book, gpt2_sizes, in_batch_axes, judge, laws, only, renamed

SMALL = {"vocab_size": 7, "context_length": 5, "d_model": 4, "n_layers": 2, "n_heads": 2}


class Fused(nn.Module):
    """Attention as many programs have it: one matrix for three, and exactly one batch axis."""

    def __init__(self, width, n_head, block_size=64, turned=False):
        super().__init__()
        self.n_head, self.turned = n_head, turned
        self.c_attn = nn.Linear(width, 3 * width, bias=False)
        self.c_proj = nn.Linear(width, width, bias=False)
        if turned:
            self.c_proj.weight.data = self.c_proj.weight.data.T.clone()
        mask = torch.ones(block_size, block_size, dtype=torch.bool).tril()
        self.register_buffer("mask", mask)

    def forward(self, x):
        batch, time, width = x.shape
        q, k, v = (
            one.view(batch, time, self.n_head, -1).transpose(1, 2)
            for one in self.c_attn(x).split(width, dim=2)
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(k.size(-1))
        weights = scores.masked_fill(~self.mask[:time, :time], -math.inf).softmax(-1)
        mixed = (weights @ v).transpose(1, 2).reshape(batch, time, width)
        matrix = self.c_proj.weight
        return mixed @ matrix if self.turned else F.linear(mixed, matrix)


def build(d_in, d_out, *, n_heads, dropout=0.0, bias=False, turned=False):
    if d_in != d_out or dropout or bias:
        raise NotImplementedError("one width, without dropout and bias")
    return Fused(d_out, n_heads, turned=turned)


WEIGHTS = {"query+key+value": "c_attn", "output": "c_proj"}


@pytest.mark.parametrize("turned", [False, True])
def test_an_adapter_lends_weights_and_keeps_gradients(turned):
    made = adapt(
        multihead.MultiHeadAttention,
        lambda *args, **kwargs: build(*args, turned=turned, **kwargs),
        weights=WEIGHTS,
        transposed=["c_proj"] if turned else [],
        batch_axes=1,
    )
    theirs = made(6, 6, n_heads=2)
    ours = multihead.MultiHeadAttention(6, 6, n_heads=2)
    ours.load_state_dict(theirs.state_dict())
    for batch in ((), (2,), (2, 3)):
        x = torch.randn(*batch, 5, 6, requires_grad=True)
        torch.testing.assert_close(theirs(x), ours(x))
        for name, parameter in ours.named_parameters():
            mine = torch.autograd.grad(theirs(x).square().sum(), theirs.get_parameter(name))
            same = torch.autograd.grad(ours(x).square().sum(), parameter)
            torch.testing.assert_close(mine, same)
    assert theirs.double().theirs.mask.device == theirs.query.weight.device


def test_an_adapter_begins_with_the_others_own_weights():
    torch.manual_seed(3)
    made = adapt(multihead.MultiHeadAttention, build, weights=WEIGHTS, batch_axes=1)
    attend = made(4, 4, n_heads=2)
    joined = torch.cat([attend.query.weight, attend.key.weight, attend.value.weight])
    torch.testing.assert_close(joined, attend.theirs.c_attn.weight)


def test_a_weight_that_is_not_lent_is_named():
    made = adapt(multihead.MultiHeadAttention, build, weights={"output": "c_proj"}, batch_axes=1)
    with pytest.raises(TypeError, match=r"c_attn\.weight"):
        made(4, 4, n_heads=2)


class Tower(nn.Module):
    """A GPT-2 of other names, which wants ids twice and returns a pair."""

    def __init__(self, config):
        super().__init__()
        inner = GPT(config)
        self.h = inner.blocks
        self.wte, self.wpe, self.ln_f = inner.tokens, inner.positions, inner.norm

    def forward(self, ids, targets):
        _, time = ids.shape
        x = self.wte(ids) + self.wpe.weight[:time]
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight), targets


def test_an_adapter_reaches_every_layer_and_calls_as_it_is_told():
    names = {"tokens": "wte", "positions": "wpe", "norm": "ln_f"}
    parts = dict(GPT(GPTConfig(**SMALL)).blocks[0].named_parameters())
    names |= {f"blocks.*.{part}": f"h.*.{part}" for part in parts}
    made = adapt(
        GPT, Tower, weights=names, batch_axes=1, call=lambda tower, ids: tower(ids, ids)[0]
    )
    theirs = made(GPTConfig(**SMALL))
    ours = GPT(GPTConfig(**SMALL))
    ours.load_state_dict(theirs.state_dict())
    ids = torch.randint(7, (2, 3, 4))
    torch.testing.assert_close(theirs(ids), ours(ids))
    assert theirs.config == ours.config
    with pytest.raises(NotImplementedError, match="cache"):
        theirs(ids, cache=[])
    block = theirs.blocks[0]
    for hook in (block.register_forward_pre_hook, block.register_forward_hook):
        with pytest.raises(NotImplementedError, match="hooks"):
            hook(print)


def test_what_is_not_offered_is_named():
    only({"d_in": 3}, d_in=3)
    only(GPTConfig(**SMALL), norm="layer")
    with pytest.raises(NotImplementedError, match="another norm"):
        only(GPTConfig(**SMALL, norm="rms"), norm="layer")
    sizes = {"n_embd": 4, "n_head": 2, "n_layer": 2, "vocab_size": 7, "block_size": 5}
    assert gpt2_sizes(GPTConfig(**SMALL)) == sizes
    for other in ({"tied": False}, {"positions": "rotary"}, {"d_ff": 3}, {"window": 2}):
        with pytest.raises(NotImplementedError, match="another"):
            gpt2_sizes(GPTConfig(**SMALL, **other))


def test_axes_go_and_come_back():
    x = torch.arange(24.0).view(2, 3, 4)
    assert in_batch_axes(lambda x: x * 2, x, 1, own=1).equal(x * 2)
    with pytest.raises(NotImplementedError):
        in_batch_axes(lambda x: x, torch.zeros(0, 3, 4), 1)


def test_arguments_have_the_books_names():
    assert renamed(lambda x, temp=1: x / temp, temperature="temp")(4, temperature=2) == 2


def test_a_verdict_on_an_object_and_nothing_else_changes():
    before = torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state()
    verdict = judge(causal.CausalAttention, "attention/causal", explain=False)
    outcomes = {one["law"]: one["outcome"] for one in verdict.results}
    assert outcomes["no-future"] == "passed"
    assert outcomes["rows-are-distributions"] == "not offered"
    assert verdict._repr_html_().startswith("<pre>attention/causal: ")
    after = torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state()
    assert before[:2] == after[:2]
    assert before[2].equal(after[2])


@pytest.mark.parametrize(
    ("code", "concept", "message"),
    [(causal, "attention/casual", "concept must be one of"), (None, "attention/causal", "nothing")],
)
def test_what_cannot_be_judged_is_said(code, concept, message):
    with pytest.raises(ValueError, match=message):
        judge(code, concept)


SUITE = """
import torch
from gptspec.attention.causal import CausalAttention
from gptspec_laws import laws


class Peeks(CausalAttention):
    def forward(self, x):
        return super().forward(x) + x.mean(-2, keepdim=True)[..., :1]


TestSound = laws("attention/causal", CausalAttention)
TestPeeks = laws("attention/causal", CausalAttention=Peeks)
"""


@pytest.mark.slow
def test_laws_join_a_suite_of_ones_own(pytester):
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    counted = result.parseoutcomes()
    assert counted["failed"] >= 2
    suite = vars(laws("attention/causal", causal.CausalAttention))
    tests = {name for name in suite if name.startswith("test_")}
    stated = {law.property for law in book().concepts["attention/causal"].page.laws}
    assert stated - tests == {"test_compiles_for_any_length"}  # a slow law stays at home
    assert counted["passed"] + counted["failed"] + counted["skipped"] == 2 * len(tests)
    result.stdout.fnmatch_lines(["*::TestPeeks::test_no_future*"])
    result.stdout.fnmatch_lines(["*causal.no-future: Changing any token*"])
    result.stdout.no_fnmatch_line("FAILED *::TestSound::*")
