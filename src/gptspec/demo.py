"""The demo's model on the book's pages: a small copy of it, and the box in which a browser runs it.

`python -m gptspec.demo` copies the model of `nox -s demo`; a page of a build without it says so.
"""

import dataclasses
import shutil
import sys
from html import escape
from pathlib import Path

import torch

from gptspec import files, plots
from gptspec.generation.decoding import Decoding, distribution, generate
from gptspec.generation.quantization import dequantize, quantize
from gptspec.generation.streaming import until
from gptspec.gpt.config import GPTConfig
from gptspec.gpt.model import GPT, parameter_count
from gptspec.session import holds_checkpoint, load_model, read_tokenizer
from gptspec.tokenization.bpe import BPE

TRAINED = Path("build/demo")
COPY = Path("docs/assets/demo")  # the scripts in docs/assets/touch look for it there
SHOWN = 5  # alternatives
SCRIPTS = "controls safetensors bytes bpe decoding gpt model writer"
ABSENT = "This build of the book has no model: <code>nox -s demo</code> trains one."


def copy(trained: Path, out: Path) -> None:
    """Write the model and the tokenizer of a training in a quarter of the bytes.

    Matrices have 8 bits, with a scale for each row, as `gptspec.generation.quantization` rounds
    them; norms and biases stay as they are.

    Raises:
        ValueError: If there is no training in the folder, or it is damaged.
        OSError: If a file cannot be written.
    """
    tokenizer, model = load_model(trained)
    tensors = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            tensors[name], scale = quantize(parameter.detach())
            tensors[f"{name}.scale"] = scale
        else:
            tensors[name] = parameter.detach()
    files.write_tensors(out / "model.safetensors", tensors)
    files.write_json(out / "config.json", "GPT", dataclasses.asdict(model.config))
    tokenizer.save(out / "tokenizer.json")


def load(folder: Path) -> tuple[BPE, GPT]:
    """Return tokenizer and model of a copy, the model with the rounded weights.

    Raises:
        ValueError: If a file is missing or damaged.
    """
    config = GPTConfig(**files.read_json(folder / "config.json", "GPT"))
    tensors = files.read_tensors(folder / "model.safetensors")
    model = GPT(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = tensors.get(f"{name}.scale")
            whole = tensors[name]
            parameter.copy_(whole if scale is None else dequantize(whole, scale))
    return read_tokenizer(folder, config.vocab_size), model.eval()


def box(
    intro: str,
    prompt: str,
    n_tokens: int,
    *,
    seed: int,
    parts: str = "",
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> str:
    """Return the box in which a browser runs the model (HTML), or a line that says it is absent.

    Until the browser does, the box shows what the model wrote here, and what could come next.

    Args:
        intro: What to try (HTML); `{size}` becomes the number of parameters.
        prompt: What the text begins with.
        n_tokens: How many tokens are written here, if the context has room.
        seed: Decides them.
        parts: What else can be touched: `look` (where a head looks), `settings` (of decoding).
        temperature: Of decoding.
        top_p: Of decoding.
    """
    if not (COPY / "model.safetensors").exists():
        return f"<p><em>{ABSENT}</em></p>"
    tokenizer, model = load(COPY)
    decoding = Decoding(temperature=temperature, top_p=top_p)
    room = model.config.context_length
    given = tokenizer.encode(prompt)[-room:]
    drawn = generate(model, given, min(n_tokens, room - len(given)), decoding, seed=seed)
    ids = [*given, *until(drawn, [tokenizer.end_of_text])]
    chances = distribution(model.read(torch.tensor(ids), last=1)[0], decoding)
    ranked = chances.sort(descending=True, stable=True)
    likeliest = [
        (id, chance, plots.visible(_text(tokenizer, id)))
        for id, chance in zip(ranked.indices[:SHOWN].tolist(), ranked.values.tolist(), strict=False)
    ]
    data = {
        "prompt": prompt,
        "given": len(given),
        "ids": ids,
        "likeliest": likeliest,
        "parts": parts.split(),
        "temperature": temperature,
        "p": top_p,
        "blocks": model.config.n_layers,
        "heads": model.config.n_heads,
        "megabytes": round((COPY / "model.safetensors").stat().st_size / 1e6, 1),
    }
    written = "".join(
        f"<span{' class=given' if place < len(given) else ''}>{escape(_text(tokenizer, id))}</span>"
        for place, id in enumerate(ids)
    )
    rows = "".join(
        f'<li><span class="token">{escape(name)}</span>'
        f'<span class="bar" style="--share: {chance:.4f}"></span>'
        f"<span>{100 * chance:.1f} %</span></li>"
        for _, chance, name in likeliest
    )
    still = (
        f'<div class="touch writer {parts}"><div class="controls">Written when the book was built. '
        "Your browser can go on from here, if it may run scripts.</div>"
        f'<p class="written" tabindex="0" role="region" aria-label="Text">{written}</p>'
        f'<ol class="alternatives" aria-label="Likeliest next tokens">{rows}</ol></div>'
    )
    size = f"{parameter_count(model.config) / 1e6:.1f} million"
    return f"<p>{intro.replace('{size}', size)}</p>{plots.touch(SCRIPTS, still, **data)}"


def _text(tokenizer: BPE, id: int) -> str:
    return tokenizer.token_bytes(id).decode(errors="replace")


def main() -> None:
    """Copy the demo's model to where the pages look for it; without one, remove an older copy."""
    shutil.rmtree(COPY, ignore_errors=True)
    if holds_checkpoint(TRAINED):
        copy(TRAINED, COPY)
        sys.stdout.write(f"{COPY} is a small copy of the model in {TRAINED}\n")
    else:
        sys.stdout.write(f"{TRAINED} holds no model: the book is built without one\n")


if __name__ == "__main__":
    main()
