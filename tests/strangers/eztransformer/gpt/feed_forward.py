"""eztransformer's `MLP`, and the gelu that it is written with."""

from types import SimpleNamespace

from eztransformer import gpt_utils as theirs

from gptspec.gpt import feed_forward
from gptspec_laws import adapt, gpt2_names, only


def build(d_model, d_ff, *, dropout=0.0, bias=True):
    only(locals(), d_ff=4 * d_model)
    return theirs.MLP(SimpleNamespace(n_embd=d_model, dropout=dropout, bias=bias))


gelu_tanh = theirs.new_gelu
FeedForward = adapt(feed_forward.FeedForward, build, weights=gpt2_names("feed_forward"))
