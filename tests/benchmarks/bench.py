"""Speed beside peers, each measured in one run with what it is compared with.

A race is a small function here that returns two calls, ours and the peer's. They run in turns,
round after round, so that what slows the machine slows both; `ours` and `peer` are medians, and
`ratio` is the median over the rounds of how many times as fast ours was.

Run by `nox -s bench`, which writes docs/assets/bench.json for the site. With words after `--` only
races whose names hold one of them run, and the other rows stay as they are. On a machine that has
other things to do, `--busy` measures the processor time of one thread instead of seconds.
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nanogpt
import torch
import writing

from gptspec.generation.quantization import quantized
from gptspec.gpt.config import GPTConfig
from gptspec.gpt.model import GPT
from gptspec.sampling.batches import Windows
from gptspec.training import loop

RECORD, PROFILE = Path("docs/assets/bench.json"), Path("docs/assets/profile.json")
ROUNDS = 9


@dataclass(frozen=True, kw_only=True)
class Race:
    """Two ways to do the same work.

    Args:
        name: What is done, how large, and beside what.
        ours: Does it once.
        peer: Does it once in the other way.
        tokens: How many tokens a call reads or writes; with 0 the record is in milliseconds.
    """

    name: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    tokens: int = 0


SMALL = {"n_layers": 4, "width": 128, "n_heads": 4, "time": 128, "batch": 16, "vocab": 4096}
LARGE = {"n_layers": 6, "width": 384, "n_heads": 6, "time": 256, "batch": 4, "vocab": 4096}


def text(vocab: int) -> torch.Tensor:
    """Return ids to learn from; which ones makes no difference to the speed."""
    return torch.randint(vocab, [100_000], generator=torch.Generator().manual_seed(0))


def stepper(sizes: dict[str, int], **training: object) -> Callable[[], object]:
    """Return a function that takes one training step of ours each time it is called."""
    torch.manual_seed(0)
    shape = GPTConfig(
        vocab_size=sizes["vocab"],
        context_length=sizes["time"],
        d_model=sizes["width"],
        n_layers=sizes["n_layers"],
        n_heads=sizes["n_heads"],
        bias=False,
    )
    config = loop.TrainConfig(
        steps=10**6, batch_size=sizes["batch"], learning_rate=6e-4, **training
    )
    ids = text(sizes["vocab"]).to(torch.int32)
    steps = loop.train(loop.Run(GPT(shape), config), Windows(ids, sizes["time"]))
    return lambda: next(steps)


def beside_nanogpt(sizes: dict[str, int]) -> Race:
    data = text(sizes["vocab"]).to(torch.uint16).numpy()
    shape = f"{sizes['n_layers']} × {sizes['width']}, {sizes['batch']} × {sizes['time']} tokens"
    return Race(
        name=f"training step, {shape}, beside nanoGPT",
        ours=stepper(sizes),
        peer=nanogpt.stepper(data, **sizes),
    )


def small_training_step() -> Race:
    return beside_nanogpt(SMALL)


def large_training_step() -> Race:
    return beside_nanogpt(LARGE)


def muon_step() -> Race:
    return Race(
        name="training step by Muon, 6 × 384, beside AdamW's",
        ours=stepper(LARGE, optimizer="muon"),
        peer=stepper(LARGE),
    )


def greedy_generation() -> Race:
    ours = writing.model()
    return Race(
        name="greedy generation, SmolLM2's shape, float32, beside transformers",
        ours=writing.writer(ours),
        peer=writing.their_writer(writing.llama(ours)),
        tokens=writing.N_TOKENS,
    )


def share_of_memory() -> Race:
    ours = writing.model()
    return Race(
        name="the same, beside reading the weights once a token",
        ours=writing.writer(ours),
        peer=writing.memory(ours),
        tokens=writing.N_TOKENS,
    )


def prefill() -> Race:
    ours = writing.model()
    return Race(
        name="reading a prompt of 512 tokens, beside transformers",
        ours=writing.prefill(ours),
        peer=writing.their_prefill(writing.llama(ours)),
        tokens=512,
    )


def eight_texts() -> Race:
    ours = writing.model()
    return Race(
        name="eight texts at once, beside one after the other",
        ours=writing.together(ours),
        peer=writing.in_turn(ours),
        tokens=8 * writing.N_TOKENS,
    )


def eight_bits() -> Race:
    ours = writing.model()
    return Race(
        name="greedy generation in 8 bits, beside float32",
        ours=writing.writer(quantized(ours)),
        peer=writing.writer(ours),
        tokens=writing.N_TOKENS,
    )


def drafting() -> Race:
    target, draft = writing.easily_drafted()
    return Race(
        name="speculative decoding, a draft of 4 of 30 blocks that is always right, beside without",
        ours=writing.drafted(target, draft),
        peer=writing.writer(target),
        tokens=writing.N_TOKENS,
    )


# One function a row; each builds what it needs when its turn comes.
RACES: tuple[Callable[[], Race], ...] = (
    small_training_step,
    large_training_step,
    muon_step,
    greedy_generation,
    share_of_memory,
    prefill,
    eight_texts,
    eight_bits,
    drafting,
)


clock = time.perf_counter


def seconds(call: Callable[[], object]) -> float:
    start = clock()
    call()
    return clock() - start


def run(race: Race) -> dict[str, object]:
    """Return the row of a race."""
    for call in (race.ours, race.peer, race.ours, race.peer):  # the first calls allocate
        call()
    pairs = []
    for number in range(ROUNDS):
        if number % 2:  # neither is always the one that comes second
            peer = seconds(race.peer)
            pairs.append((seconds(race.ours), peer))
        else:
            pairs.append((seconds(race.ours), seconds(race.peer)))
    ours, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    shown = (lambda s: race.tokens / s) if race.tokens else (lambda s: 1000 * s)
    return {
        "name": race.name,
        "ours": float(f"{shown(ours):.3g}"),
        "peer": float(f"{shown(peer):.3g}"),
        "ratio": round(statistics.median(peer / ours for ours, peer in pairs), 2),
        "unit": "tokens/s" if race.tokens else "ms",
        "rounds": ROUNDS,
        "on": place(),
    }


def place() -> str:
    """Return the processor, its widest instructions that torch uses, its threads, and torch."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    widest, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    how = "processor time of one thread" if clock is time.process_time else f"{threads} threads"
    return f"{name} ({widest}), {how}, torch {torch.__version__}"


# What the operations of a training step are for; each is counted by its own time alone.
PARTS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm"),
    "attention": ("scaled_dot_product",),
    "activation": ("gelu", "silu"),
    "norms": ("layer_norm", "rms_norm"),
    "optimizer and clipping": ("fused_adamw", "vector_norm", "lerp", "foreach"),
    "softmax and loss": ("exp_", "amax", "scatter_add_", "div_", "gather", "sub"),
}


def profile(sizes: dict[str, int]) -> dict[str, float]:
    """Return the share of each part in the time of a training step."""
    step = stepper(sizes)
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        for _ in range(5):
            step()
    times = dict.fromkeys([*PARTS, "all else"], 0.0)
    for event in seen.key_averages():
        name = event.key.removeprefix("aten::")
        exact = [part for part, words in PARTS.items() if name in words]
        within = [part for part, words in PARTS.items() if any(word in name for word in words)]
        near = within if "aten::" in event.key and "mm" not in name else []
        times[(exact or near or ["all else"])[0]] += event.self_cpu_time_total
    total = sum(times.values())
    return {part: round(spent / total, 3) for part, spent in times.items()}


def main(words: list[str]) -> None:
    """Run the races, and write their rows among the others of the record."""
    global clock  # noqa: PLW0603
    if "--busy" in words:
        words.remove("--busy")
        torch.set_num_threads(1)
        clock = time.process_time
    if not words or "profile" in words:
        shares = {f"{s['n_layers']} × {s['width']}": profile(s) for s in (SMALL, LARGE)}
        PROFILE.write_text(json.dumps({"on": place(), "shares": shares}, indent=1) + "\n", "utf-8")
    rows = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else []
    for build in RACES:
        if words and not any(word in build.__name__ for word in words):
            continue
        row = run(build())
        print(
            f"{row['ratio']:5.2f}  {row['name']}: {row['ours']} {row['unit']}, peer {row['peer']}"
        )
        places = [place for place, old in enumerate(rows) if old["name"] == row["name"]]
        if places:
            rows[places[0]] = row
        else:
            rows.append(row)
        RECORD.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
