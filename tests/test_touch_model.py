"""The model, the tokenizers and the decoding that run in a page compute what Python computes."""

import json
import math
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import quickjs
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from gptspec import demo
from gptspec.generation.decoding import Decoding, distribution
from gptspec.gpt.model import GPT, GPTConfig
from gptspec.tokenization import bpe, characters, words
from gptspec.tokenization import bytes as utf8
from gptspec.training import checkpoint
from gptspec.training.loop import Run, TrainConfig
from strategies import RARE, rare_texts, single_precision, texts

TOUCH = Path(__file__).parents[1] / "docs/assets/touch"
POSITIONS = ["rotary", "learned", "sinusoidal", "relative", "alibi", "none"]
MODERN = {"positions": "rotary", "norm": "rms", "feed_forward": "swiglu", "bias": False}
GPT2 = {"positions": "learned", "norm": "layer", "feed_forward": "gelu", "bias": False}


def engine(*scripts):
    """Return a small JavaScript engine that has read these scripts."""
    found = quickjs.Context()
    found.eval("globalThis.touch = {}; globalThis.URL = class {}")
    for script in scripts:
        found.eval((TOUCH / f"{script}.js").read_text(encoding="utf-8"))
    return found


ENGINE = engine("safetensors", "bytes", "bpe", "tokenizers", "decoding", "gpt", "model")


def javascript(code, *arguments):
    """Return what a function of JavaScript makes of arguments, through JSON."""
    given = ", ".join(map(json.dumps, arguments))
    return json.loads(ENGINE.eval(f"JSON.stringify(({code})({given}))"))


@st.composite
def shapes(draw):
    """What `gptspec train` can be asked for, in small."""
    kinds = draw(st.sampled_from([MODERN, GPT2]) | st.fixed_dictionaries({
        "positions": st.sampled_from(POSITIONS),
        "norm": st.sampled_from(["rms", "layer"]),
        "feed_forward": st.sampled_from(["swiglu", "gelu"]),
        "bias": st.booleans(),
    }))  # fmt: skip
    n_kv_heads, shared = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    return GPTConfig(
        vocab_size=257 + draw(st.integers(0, 5)),
        context_length=draw(st.sampled_from([1, 2, 5, 8])),
        d_model=n_kv_heads * shared * draw(st.sampled_from([2, 4])),
        n_layers=draw(st.integers(1, 3)),
        n_heads=n_kv_heads * shared,
        n_kv_heads=draw(st.sampled_from([None, n_kv_heads])),
        d_ff=draw(st.none() | st.integers(1, 9)),
        tied=draw(st.booleans()),
        window=draw(st.none() | st.integers(1, 9)),
        theta=draw(st.sampled_from([10_000.0, 100.0])),
        norm_eps=draw(st.sampled_from([1e-5, 0.1])),
        **kinds,
    )


def lively(config, seed):
    """Return a model whose every number counts: a fresh one has zeros, ones and small numbers."""
    torch.manual_seed(seed)
    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    return model


def tokenizer_of(config):
    pairs = [(97, 98), (256, 99), (32, 97), (120, 121), (256, 256)]
    return bpe.BPE(tuple(pairs[: config.vocab_size - 257]))


READ = """(config, tokenizer, weights, ids) => {
  const model = touch.model.assemble(config, tokenizer, weights);
  const {steps} = touch.model.begin(model, ids);
  return steps.map(({logits, attention}) => [Array.from(logits), attention]);
}"""


def in_the_page(folder, tokenizer, ids):
    """Return logits, and what the heads read, as JavaScript finds them by a folder's files."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    weights = list((folder / "model.safetensors").read_bytes())
    told = {"merges": tokenizer.merges, "specials": tokenizer.specials}
    steps = javascript(READ, config, told, weights, ids)
    logits = torch.tensor([logits for logits, _ in steps], dtype=torch.float64)
    return logits, [reads for _, reads in steps]


@settings(max_examples=30)
@given(shapes(), st.integers(0, 2**32 - 1), st.data())
def test_the_model_in_the_page_is_pythons(config, seed, data):
    time = data.draw(st.integers(1, config.context_length), "time")
    ids = data.draw(st.lists(st.integers(0, config.vocab_size - 1), min_size=time, max_size=time))
    with single_precision(), TemporaryDirectory() as folder:
        model = lively(config, seed)
        checkpoint.save(Path(folder), Run(model, TrainConfig(steps=1, batch_size=1)))
        saved = checkpoint.latest(Path(folder))
        logits, reads = in_the_page(saved, tokenizer_of(config), ids)
        assert_close(logits, model.double().read(torch.tensor(ids)), rtol=1e-9, atol=1e-9)
    for place, layers in enumerate(reads):
        assert len(layers) == config.n_layers
        for heads in layers:
            assert len(heads) == config.n_heads
            for shares in heads:
                assert len(shares) == place + 1
                assert math.isclose(sum(shares), 1, rel_tol=1e-9)


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_long_text_is_read_as_python_reads_it(positions):
    shape = {"vocab_size": 257, "context_length": 140, "d_model": 12, "n_layers": 1, "n_heads": 6}
    config = GPTConfig(**shape, positions=positions, window=130)
    ids = torch.arange(140) % 7
    with single_precision(), TemporaryDirectory() as folder:
        model = lively(config, seed=0)
        model.save(Path(folder))
        logits, _ = in_the_page(Path(folder), tokenizer_of(config), ids.tolist())
        assert_close(logits, model.double().read(ids), rtol=1e-9, atol=1e-9)


@settings(max_examples=15)
@given(shapes(), st.integers(0, 2**32 - 1))
def test_a_copy_for_a_page_is_read_as_python_reads_it(config, seed):
    with single_precision(), TemporaryDirectory() as folder:
        trained, copied = Path(folder, "trained"), Path(folder, "copied")
        model, tokenizer = lively(config, seed), tokenizer_of(config)
        assume(tokenizer.vocab_size == config.vocab_size)
        checkpoint.save(trained, Run(model, TrainConfig(steps=1, batch_size=1)))
        tokenizer.save(trained / "tokenizer.json")
        demo.copy(trained, copied)
        read, rounded = demo.load(copied)
        assert read == tokenizer
        ids = torch.arange(config.context_length)
        logits, _ = in_the_page(copied, tokenizer, ids.tolist())
        for name, parameter in rounded.named_parameters():
            exact = dict(model.named_parameters())[name]
            step = exact.abs().amax(-1, keepdim=True) / 127 if exact.ndim == 2 else 0
            assert ((parameter - exact).abs() <= step * 0.501).all()
        assert_close(logits, rounded.double().read(ids), rtol=1e-9, atol=1e-9)


@given(st.lists(st.floats(width=16, allow_nan=False), max_size=9))
def test_numbers_of_16_bits_are_read(numbers):
    with TemporaryDirectory() as folder:
        demo.files.write_tensors(Path(folder, "x"), {"x": torch.tensor(numbers).half()})
        content = list(Path(folder, "x").read_bytes())
    got = javascript("(bytes) => Array.from(touch.safetensors.read(bytes).x.data, String)", content)
    assert [float(one) for one in got] == numbers


READING_ON = """(config, tokenizer, weights, ids, others, kept) => {
  const model = touch.model.assemble(config, tokenizer, weights);
  const text = touch.model.begin(model, ids);
  touch.model.shorten(text, kept);
  for (const id of others) touch.model.append(model, text, id);
  return [text.ids, text.steps.map(({logits}) => Array.from(logits))];
}"""


@settings(max_examples=15)
@given(shapes(), st.integers(0, 2**32 - 1), st.data())
def test_another_token_is_as_if_the_text_had_begun_so(config, seed, data):
    tokens = st.integers(0, config.vocab_size - 1)
    ids = data.draw(st.lists(tokens, min_size=1, max_size=config.context_length))
    kept = data.draw(st.integers(0, len(ids)))
    others = data.draw(st.lists(tokens, max_size=config.context_length - kept))
    with single_precision(), TemporaryDirectory() as folder:
        lively(config, seed).save(Path(folder))
        weights = list(Path(folder, "model.safetensors").read_bytes())
        shape = json.loads(Path(folder, "config.json").read_text("utf-8"))
        told = {"merges": [], "specials": []}
        now = ids[:kept] + others
        changed = javascript(READING_ON, shape, told, weights, ids, others, kept)
        assert changed == javascript(READING_ON, shape, told, weights, now, [], len(now))


def known(text):
    """Leave out characters that Python does not know yet: editions of Unicode differ."""
    return "".join(character for character in text if unicodedata.category(character) != "Cn")


some_texts = texts(12).map(known) | st.text("ab \n7!'s", max_size=24)


@given(some_texts)
@rare_texts()
def test_bytes_in_the_page_are_pythons(text):
    assert javascript("touch.bytes.encode", text) == utf8.encode(text)


@given(st.binary(max_size=12) | st.lists(st.sampled_from([0x41, 0x80, 0x9F, 0xA0, 0xBF, 0xC1, 0xC3,
       0xE0, 0xE2, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF]), max_size=9).map(bytes))  # fmt: skip
@example(b"\xc1\xbf\xe0\x9f\xbf\xed\xa0\x80\xf0\x8f\xbf\xbf\xf4\x90\x80\x80\xf0\x9f\x98a\xe2\x82")
def test_broken_characters_in_the_page_are_pythons(content):
    assert javascript("touch.bytes.decode", list(content)) == utf8.decode(content)


@given(some_texts)
@rare_texts()
def test_pre_tokens_in_the_page_are_pythons(text):
    assert javascript("touch.bpe.preTokenize", text) == bpe.pre_tokenize(text)


@settings(max_examples=100)
@given(text=some_texts, other=some_texts, n_merges=st.integers(0, 20))
@example(text="aaaa aaa ab ba" * 3, other="aaaaa baab", n_merges=20)
@example(text=RARE[-1][:500], other=RARE[-1], n_merges=40)
def test_merges_in_the_page_are_pythons(text, other, n_merges):
    steps = javascript("touch.bpe.train", text, n_merges)
    learned = bpe.train([text], 256 + n_merges, specials=())
    merges = [step["pair"] for step in steps]
    assert merges == [list(pair) for pair in learned.merges]
    pairs = bpe.PairIndex(bpe.Counter(bpe.pre_tokenize(text)))
    for rank, step in enumerate(steps):
        counts = {tuple(each["pair"]): each["count"] for each in step["pairs"]}
        assert counts == {pair: count for pair, count in pairs.counts.items() if count}
        in_order = [(-count, pair) for pair, count in counts.items()]
        assert in_order == sorted(in_order)
        assert step["count"] == counts[tuple(step["pair"])]
        pairs.merge(tuple(step["pair"]), 256 + rank)
    for each in (text, other):
        pieces = javascript("touch.tokenizers.pairs", each, merges)
        ids = learned.encode(each)
        assert pieces == [[learned.decode([id]), id] for id in ids]


@given(some_texts)
@rare_texts()
def test_words_characters_and_bytes_in_the_page_are_pythons(text):
    known_words = words.train([text])
    pieces = [[known_words.tokens[id], id] for id in known_words.encode(text)]
    assert javascript("touch.tokenizers.words", text) == pieces
    alphabet = characters.train([text])
    pieces = [[alphabet.tokens[id], id] for id in alphabet.encode(text)]
    assert javascript("touch.tokenizers.characters", text) == pieces
    pieces = [[utf8.decode([id]), id] for id in utf8.encode(text)]
    assert javascript("touch.tokenizers.bytes", text) == pieces


chosen = st.fixed_dictionaries({
    "temperature": st.sampled_from([0.0, 0.1, 1.0, 2.0]) | st.floats(0.05, 5),
    "k": st.none() | st.integers(1, 8),
    "p": st.just(1.0) | st.floats(0.01, 1),
    "min": st.just(0.0) | st.floats(0, 1),
})  # fmt: skip


@settings(max_examples=200)
@given(st.lists(st.floats(-20, 20) | st.integers(-2, 2).map(float), min_size=1, max_size=8), chosen)
@example([0.0, 0.0, 0.0, 0.0], {"temperature": 1.0, "k": None, "p": 0.5, "min": 1.0})
@example([1.0, 3.0, 3.0], {"temperature": 0.0, "k": None, "p": 1.0, "min": 0.0})
@example([2.0, 1.0, 2.0, 2.0], {"temperature": 1.0, "k": 2, "p": 1.0, "min": 0.0})
@example(
    [math.log(share) for share in (0.5, 0.2, 0.2, 0.1)],
    {"temperature": 1.0, "k": None, "p": 0.75, "min": 0.3},
)
@example([0.0, -50.0, -40.0], {"temperature": 1.0, "k": None, "p": 1.0, "min": 0.0})
def test_probabilities_in_the_page_are_pythons(logits, chosen):
    decoding = Decoding(
        temperature=chosen["temperature"],
        top_k=chosen["k"],
        top_p=chosen["p"],
        min_p=chosen["min"],
    )
    scores = torch.tensor(logits, dtype=torch.float64)
    expected = distribution(scores, decoding)
    # On a threshold the last bit of a sum decides.
    assume(not _on_a_threshold(scores, decoding))
    got = javascript("touch.decoding.distribution", logits, chosen)
    got = torch.tensor(got, dtype=torch.float64)
    assert_close(got, expected, rtol=1e-9, atol=1e-12)
    assert got.nonzero().tolist() == expected.nonzero().tolist()


def _on_a_threshold(scores, decoding):
    cold = Decoding(temperature=decoding.temperature, top_k=decoding.top_k)
    ranked = distribution(scores, cold).sort(descending=True).values
    before = ranked.cumsum(-1)
    if (ranked == ranked[0]).all() and decoding.temperature == 1:  # sums of equals are exact
        return len(ranked) not in (1, 2, 4, 8)
    kept = Decoding(temperature=cold.temperature, top_k=cold.top_k, top_p=decoding.top_p)
    ranked = distribution(scores, kept).sort(descending=True).values
    near_p = (before - decoding.top_p).abs().min() < 1e-9 and decoding.top_p < 1
    near_min = (ranked - decoding.min_p * ranked[0]).abs()[ranked > 0].min() < 1e-9
    return bool(near_p) or bool(near_min and decoding.min_p > 0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any), st.floats(0, 0.999999))
@example([0, 1, 0], 0.0)
@example([1, 1, 1, 1, 1, 1, 0], 1 - 2**-53)  # rounded sums leave a rest
def test_a_draw_falls_into_its_share(weights, number):
    shares = (torch.tensor(weights, dtype=torch.float64) / sum(weights)).tolist()
    id = javascript("touch.decoding.draw", shares, number)
    assert shares[id] > 0
    assert sum(shares[:id]) <= number + 1e-9
    assert number < sum(shares[: id + 1]) + 1e-9


def test_a_page_shows_the_model_that_is_there(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "TRAINED", tmp_path / "trained")
    monkeypatch.setattr(demo, "COPY", tmp_path / "copied")
    demo.main()
    assert demo.ABSENT in demo.box("Try it.", "ab", 3, seed=0)
    config = GPTConfig(vocab_size=259, context_length=14, d_model=4, n_layers=1, n_heads=1)
    with single_precision():
        model, tokenizer = lively(config, seed=0), tokenizer_of(config)
        checkpoint.save(demo.TRAINED, Run(model, TrainConfig(steps=1, batch_size=1)))
        tokenizer.save(demo.TRAINED / "tokenizer.json")
        demo.main()
        assert demo.TRAINED.name in capsys.readouterr().out
        shown = demo.box("Try {size}.", "ab</script>", 3, seed=0)
        _, rounded = demo.load(demo.COPY)
    assert "Try 0.0 million." in shown
    told = json.loads(shown.split('json">')[1].split("</script>")[0])
    assert told["prompt"] == "ab</script>"
    assert len(told["ids"]) == min(told["given"] + 3, 14)
    chances = rounded.read(torch.tensor(told["ids"]), last=1)[0].softmax(-1)
    for id, chance, _ in told["likeliest"]:
        assert math.isclose(chance, chances[id].item(), rel_tol=1e-4)
    assert told["likeliest"][0][1] == pytest.approx(chances.max().item(), rel=1e-4)
    (demo.TRAINED / "tokenizer.json").unlink()
    for save in demo.TRAINED.glob("save-*"):
        save.rename(demo.TRAINED / "gone")
    demo.main()
    assert demo.ABSENT in demo.box("Try it.", "ab", 3, seed=0)
