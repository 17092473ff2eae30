"""The `LayerNorm` of chapter 4, which always has a bias."""

from llms_from_scratch import ch04 as theirs

from gptspec.gpt import layer_norm
from gptspec_laws import adapt, only


def build(d_model, *, eps=1e-5, bias=True):
    only(locals(), eps=1e-5, bias=True)
    return theirs.LayerNorm(d_model)


names = {"weight": "scale", "bias": "shift"}
LayerNorm = adapt(layer_norm.LayerNorm, build, weights=names)


def normalize(x, eps=1e-5):
    return LayerNorm(x.shape[-1], eps=eps).to(x)(x)
