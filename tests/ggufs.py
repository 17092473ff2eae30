"""Small GGUF files, written by the library gguf, and what transformers reads from them."""

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from gptspec.conversation import TEMPLATE

TYPES = (Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q8_0)


@contextmanager
def written(metadata, tensors, *, alignment=None):
    """A GGUF file: settings, and tensors by name with the type that each is stored in."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        writer = gguf.GGUFWriter(path, "llama")
        if alignment is not None:
            writer.add_custom_alignment(alignment)
        for name, value in metadata.items():
            kind = gguf.GGUFValueType.get_type(value)
            if kind is gguf.GGUFValueType.INT32:
                kind = gguf.GGUFValueType.UINT32
            if kind is gguf.GGUFValueType.ARRAY and not value:
                writer.add_key_value(name, value, kind, gguf.GGUFValueType.INT32)
            else:
                writer.add_key_value(name, value, kind)
        for name, (values, type) in tensors.items():
            data = gguf.quants.quantize(values.numpy().astype(np.float32), type)
            writer.add_tensor(name, data, raw_dtype=type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        yield path


def llama(
    *, vocab_size=8, context_length=16, n_layers=1, n_kv_heads=1, repeats=2, d_head=16, d_ff=32,
    tied=True, theta=100.0, eps=0.01, type=Type.F32, seed=0,
):  # fmt: skip
    """Settings and tensors of a small Llama, its rows in the order that Meta published them."""
    n_heads = n_kv_heads * repeats
    d_model = n_heads * d_head
    metadata = {
        "llama.context_length": context_length,
        "llama.embedding_length": d_model,
        "llama.block_count": n_layers,
        "llama.feed_forward_length": d_ff,
        "llama.attention.head_count": n_heads,
        "llama.attention.head_count_kv": n_kv_heads,
        "llama.attention.layer_norm_rms_epsilon": eps,
        "llama.rope.freq_base": theta,
        "llama.rope.dimension_count": d_head,
        "llama.vocab_size": vocab_size,
    }
    shapes = {"token_embd": (vocab_size, d_model), "output_norm": (d_model,)}
    if not tied:
        shapes["output"] = (vocab_size, d_model)
    for layer in range(n_layers):
        shapes |= {
            f"blk.{layer}.attn_norm": (d_model,),
            f"blk.{layer}.attn_q": (d_model, d_model),
            f"blk.{layer}.attn_k": (n_kv_heads * d_head, d_model),
            f"blk.{layer}.attn_v": (n_kv_heads * d_head, d_model),
            f"blk.{layer}.attn_output": (d_model, d_model),
            f"blk.{layer}.ffn_norm": (d_model,),
            f"blk.{layer}.ffn_gate": (d_ff, d_model),
            f"blk.{layer}.ffn_up": (d_ff, d_model),
            f"blk.{layer}.ffn_down": (d_model, d_ff),
        }
    source = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=source, dtype=torch.float32)
        values = values / shape[1] ** 0.5 if len(shape) == 2 else 1 + values / 4
        tensors[f"{name}.weight"] = (values, Type.F32 if len(shape) == 1 else type)
    return metadata, tensors


def theirs(path):
    """The model that transformers reads from a file, as its `from_pretrained` does."""
    with torch.device("cpu"):
        config = LlamaConfig(**load_gguf_checkpoint(path)["config"])
        model = LlamaForCausalLM(config)
        tensors = load_gguf_checkpoint(path, return_tensors=True, model_to_load=model)["tensors"]
        model.load_state_dict(tensors, strict=False)
        model.tie_weights()
    return model.eval()


def vocabulary(bpe, *, absent=(), pre="gpt-2"):
    """Settings of a tokenizer with the merges of a `BPE`, numbered as SmolLM2 numbers them."""
    alphabet = sorted(ByteLevel.alphabet())
    seen = {chr(byte) for byte in range(256)} & set(alphabet)
    others = iter(character for character in alphabet if character not in seen)
    spelled = [chr(byte) if chr(byte) in seen else next(others) for byte in range(256)]
    merges = []
    for left, right in bpe.merges:
        merges.append(f"{spelled[left]} {spelled[right]}")
        spelled.append(spelled[left] + spelled[right])
    normal = sorted(set(spelled[:256]) - {spelled[byte] for byte in absent}) + spelled[256:]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": [*bpe.specials, *normal],
        "tokenizer.ggml.token_type": [3] * len(bpe.specials) + [1] * len(normal),
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.chat_template": TEMPLATE,
    }
