"""x-transformers' `LayerNorm`, which never has a bias: examples with one are not judged."""

from peers.fitting import rename
from peers.x_transformers._quiet import library


class LayerNorm(library.LayerNorm):
    def __init__(self, d_model, *, eps=1e-5, bias=True):
        if bias:
            raise NotImplementedError
        super().__init__(d_model)
        self.ln.eps = eps
        rename(self, gamma="weight")


def normalize(x, eps=1e-5):
    return LayerNorm(x.shape[-1], eps=eps, bias=False).to(x.dtype)(x)
