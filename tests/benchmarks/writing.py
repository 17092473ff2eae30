"""What generation is measured on: SmolLM2's shape with random weights, here and in transformers."""

from collections.abc import Callable

import torch
from torch import nn

from gptspec.generation import speculative, streaming
from gptspec.generation.decoding import Decoding, generate
from gptspec.gpt.config import GPTConfig
from gptspec.gpt.model import GPT

SHAPE = {
    "vocab_size": 49_152, "context_length": 2_048, "d_model": 576, "n_layers": 30, "n_heads": 9,
    "n_kv_heads": 3, "d_ff": 1_536, "bias": False, "positions": "rotary", "theta": 100_000.0,
    "norm": "rms", "feed_forward": "swiglu",
}  # fmt: skip
GREEDY = Decoding(temperature=0.0)
PROMPT = [17 * place % 49_152 for place in range(1, 17)]
N_TOKENS = 32


def model(**other: int) -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(**SHAPE | other)).eval()


def llama(ours: GPT) -> nn.Module:
    """The same weights as the transformers library's Llama."""
    from transformers import LlamaConfig, LlamaForCausalLM

    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=49_152, max_position_embeddings=2_048, hidden_size=576,
            intermediate_size=1_536, num_hidden_layers=30, num_attention_heads=9,
            num_key_value_heads=3, tie_word_embeddings=True, rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
            pad_token_id=0, bos_token_id=None, eos_token_id=None,
        )
    ).eval()  # fmt: skip
    inner = theirs.model
    pairs = [(inner.embed_tokens, ours.tokens), (inner.norm, ours.norm)]
    for layer, block in zip(inner.layers, ours.blocks, strict=True):
        pairs += [
            (layer.input_layernorm, block.attention_norm),
            (layer.post_attention_layernorm, block.feed_forward_norm),
            (layer.self_attn.q_proj, block.attention.query),
            (layer.self_attn.k_proj, block.attention.key),
            (layer.self_attn.v_proj, block.attention.value),
            (layer.self_attn.o_proj, block.attention.output),
            (layer.mlp.gate_proj, block.feed_forward.gate),
            (layer.mlp.up_proj, block.feed_forward.up),
            (layer.mlp.down_proj, block.feed_forward.down),
        ]
    for target, source in pairs:
        target.load_state_dict(source.state_dict())
    return theirs


def writer(ours: GPT, n_tokens: int = N_TOKENS) -> Callable[[], object]:
    return lambda: list(generate(ours, PROMPT, n_tokens, GREEDY, seed=0))


def their_writer(theirs: nn.Module, n_tokens: int = N_TOKENS) -> Callable[[], object]:
    ids = torch.tensor([PROMPT])
    options = {"max_new_tokens": n_tokens, "min_new_tokens": n_tokens, "do_sample": False}
    return lambda: theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)


def prefill(ours: GPT) -> Callable[[], object]:
    ids = torch.arange(1, 513)[None]
    return lambda: ours.read(ids, ours.new_cache(), last=1)


def their_prefill(theirs: nn.Module) -> Callable[[], object]:
    ids = torch.arange(1, 513)[None]
    call = torch.no_grad()(theirs)
    return lambda: call(ids, use_cache=True, logits_to_keep=1)


def memory(ours: GPT, n_times: int = N_TOKENS) -> Callable[[], object]:
    """Return a function that reads as many bytes as all weights have, for each token."""
    weights = torch.ones(sum(parameter.numel() for parameter in ours.parameters()))
    return lambda: [weights.sum() for _ in range(n_times)]


def together(ours: GPT, n_texts: int = 8) -> Callable[[], object]:
    prompts = [PROMPT[: 16 - text] for text in range(n_texts)]
    seeds = range(n_texts)
    return lambda: list(streaming.generate_batch(ours, prompts, N_TOKENS, GREEDY, seeds=seeds))


def in_turn(ours: GPT, n_texts: int = 8) -> Callable[[], object]:
    prompts = [PROMPT[: 16 - text] for text in range(n_texts)]
    return lambda: [list(generate(ours, each, N_TOKENS, GREEDY, seed=0)) for each in prompts]


def easily_drafted() -> tuple[GPT, GPT]:
    """Return a model whose last 26 blocks add nothing, and its first four as a draft."""
    target, draft = model(), model(n_layers=4)
    with torch.no_grad():
        for block in target.blocks[4:]:
            block.attention.output.weight.zero_()
            block.feed_forward.down.weight.zero_()
    weights = target.state_dict()
    draft.load_state_dict({name: weights[name] for name in draft.state_dict()})
    return target, draft


def drafted(target: GPT, draft: GPT) -> Callable[[], object]:
    return lambda: list(
        speculative.generate(target, draft, PROMPT, N_TOKENS, GREEDY, seed=0, n_drafted=4)
    )
