"""Hugging Face transformers: the rotations of Llama (halves) and of GLM (neighbours)."""

import torch
from transformers import GlmConfig, LlamaConfig
from transformers.models.glm import modeling_glm as glm
from transformers.models.llama import modeling_llama as llama

DEVIATIONS = {
    "equals-the-formula": (
        "transformers 5.23 computes angles in float32",
        "Tensor-likes are not close",
    ),
    "equals-gpt-j": (
        "transformers 5.23 computes angles in float32",
        "Tensor-likes are not close",
    ),
    "shows-the-sinusoids": (
        "transformers 5.23 computes angles in float32",
        "Tensor-likes are not close",
    ),
    "score-is-by-distance": (
        "transformers 5.23 computes angles in float32",
        "Tensor-likes are not close",
    ),
    "turns-add-up": (
        "transformers 5.23 computes angles in float32",
        "Tensor-likes are not close",
    ),
    "earlier-calls-leave-no-trace": (
        "transformers 5.23 computes angles in float32",
        "Tensor-likes are not close",
    ),
    "low-precision-rounds-once": (
        "transformers 5.23 rounds cosines to the type of x",
        "Tensor-likes are not close",
    ),
    "trains-after-any-mode": (
        "the table of transformers 5.23 lives where its module was made",
        "the call before is in the way: Cannot copy out of",
    ),
    "rejects-odd-widths": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-negative-positions": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-theta": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
    "rejects-other-types": (
        "transformers 5.23 accepts it",
        "accepted what must be refused",
    ),
}


def rotate(x, *, start=0, theta=10_000.0):
    return turn(x, start, theta, LlamaConfig, llama.LlamaRotaryEmbedding, llama)


def rotate_interleaved(x, *, start=0, theta=10_000.0):
    return turn(x, start, theta, GlmConfig, glm.GlmRotaryEmbedding, glm)


def turn(x, start, theta, config, embedding, model):
    time, d_head = x.shape[-2:]
    rope = {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": 1.0}
    shape = {"hidden_size": d_head, "num_attention_heads": 1, "head_dim": d_head}
    rotary = embedding(config(**shape, rope_parameters=rope))
    cos, sin = rotary(x, torch.arange(start, start + time)[None])
    text = x.reshape(1, x.shape[:-2].numel(), time, d_head)
    return model.apply_rotary_pos_emb(text, text, cos, sin)[0].view(x.shape)
