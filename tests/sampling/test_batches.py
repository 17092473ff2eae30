import itertools
import random
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptspec.sampling import windows as one_by_one
from strategies import assert_close, elsewhere, rejects, sizes

seeds = st.integers(0, 2**32 - 1)
steps = st.integers(0, 40)
ids = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=20)


@st.composite
def datasets(draw):
    """Tokens that tell their own place, and how to cut them."""
    context_length, stride = draw(sizes(1, 4)), draw(sizes(1, 5))
    n_tokens = draw(st.integers(context_length + 1, 30))
    return torch.arange(n_tokens), context_length, stride


def same(batches, others):
    pairs = list(zip(batches, others, strict=True))
    return all(torch.equal(a, b) for pair in pairs for a, b in zip(*pair, strict=True))


@contextmanager
def saved(batches, ids):
    with TemporaryDirectory() as folder:
        path = Path(folder, "text.tokens")
        batches.save_tokens(path, ids)
        yield path


@given(datasets(), st.sampled_from([torch.int16, torch.int32, torch.long]), st.data())
def test_items_are_windows(batches, cut, dtype, data):
    tokens, context_length, stride = cut
    windows = batches.Windows(tokens.to(dtype), context_length, stride)
    assert len(windows) == one_by_one.count(len(tokens), context_length, stride)
    several = data.draw(st.lists(st.integers(0, len(windows) - 1), min_size=1, max_size=4))
    together = windows[torch.tensor(several)]
    for row, index in enumerate(several):
        expected = one_by_one.window(tokens, index, context_length, stride)
        assert windows[index][0].dtype == windows[index][1].dtype == torch.long
        assert same([windows[index]], [expected])
        assert same([(together[0][row], together[1][row])], [expected])


@given(datasets(), seeds, st.integers(0, 3), st.data())
def test_epoch_visits_once(batches, cut, seed, epoch, data):
    tokens, context_length, stride = cut
    windows = batches.Windows(tokens, context_length, stride)
    size = data.draw(st.integers(1, len(windows)), "batch_size")
    per_epoch = len(windows) // size
    starts = []
    for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
        inputs, targets = batches.batch(windows, step, batch_size=size, seed=seed)
        assert inputs.shape == targets.shape == (size, context_length)
        assert_close(targets, inputs + 1, rtol=0, atol=0)
        starts += inputs[:, 0].tolist()
    assert len(set(starts)) == len(starts) > len(windows) - size
    assert set(starts) <= {i * stride for i in range(len(windows))}


@given(datasets(), seeds, steps)
def test_device_of_the_text(batches, cut, seed, step):
    windows = batches.Windows(*cut)
    expected = batches.batch(windows, step, batch_size=1, seed=seed)
    with elsewhere():
        batch = batches.batch(windows, step, batch_size=1, seed=seed)
    assert_close(batch, expected, rtol=0, atol=0)


@given(st.integers(0, 20), seeds, st.integers(0, 5))
def test_order_is_a_permutation(batches, n_windows, seed, epoch):
    visited = batches.order(n_windows, seed=seed, epoch=epoch)
    assert sorted(visited.tolist()) == list(range(n_windows))


@given(datasets(), seeds, st.lists(steps, min_size=1, max_size=4), seeds)
def test_seed_alone_decides(batches, cut, seed, visited, other):
    windows = batches.Windows(*cut)

    def read(step):
        return batches.batch(windows, step, batch_size=1, seed=seed)

    expected = {step: read(step) for step in sorted(visited)}
    torch.manual_seed(other)
    random.seed(other)
    np.random.seed(other)
    assert same([read(step) for step in visited], [expected[step] for step in visited])


@given(seeds, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_every_epoch_is_new(batches, seed, epoch, seed_step, epoch_step):
    """Two orders of 30 windows agree by chance once in 10^32."""
    one = batches.order(30, seed=seed, epoch=epoch + epoch_step)
    other = batches.order(30, seed=seed + seed_step, epoch=epoch)
    assert torch.equal(one, other) == (seed_step == epoch_step == 0)


@given(datasets(), seeds, st.integers(0, 12), st.data())
def test_resumed_is_the_rest(batches, cut, seed, start, data):
    windows = batches.Windows(*cut)
    size = data.draw(st.integers(1, len(windows)), "batch_size")
    whole = iter(batches.loader(windows, batch_size=size, seed=seed))
    rest = batches.loader(windows, batch_size=size, seed=seed, start=start)
    expected = list(itertools.islice(whole, start + 4))[start:]
    assert same(itertools.islice(rest, 4), expected)
    single = [batches.batch(windows, start + i, batch_size=size, seed=seed) for i in range(4)]
    assert same(single, expected)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later
@settings(max_examples=2)
@given(seeds, st.integers(1, 2))
def test_workers_change_nothing(batches, seed, workers):
    windows = batches.Windows(torch.arange(30, device="cpu"), 2)
    loader = batches.loader(windows, batch_size=3, seed=seed, workers=workers)
    loader.multiprocessing_context = "fork"  # a mistaken module cannot be imported by a new process
    single = [batches.batch(windows, step, batch_size=3, seed=seed) for step in range(6)]
    assert same(itertools.islice(loader, 6), single)


@given(datasets(), seeds)
def test_global_generator_rests(batches, cut, seed):
    windows = batches.Windows(*cut)
    before = torch.get_rng_state()
    next(iter(batches.loader(windows, batch_size=1, seed=seed)))
    assert torch.equal(torch.get_rng_state(), before)


@given(ids, st.booleans())
def test_saved_tokens_return(batches, ids, as_tensor):
    with saved(batches, torch.tensor(ids) if as_tensor else ids) as path:
        assert batches.load_tokens(path).tolist() == ids


@given(ids, st.data())
def test_tokens_stay_on_disk(batches, ids, data):
    """Change the file, and the tokens and their windows change with it."""
    place = data.draw(st.integers(0, len(ids) - 1), "place")
    with saved(batches, [*ids, 0, 0]) as path:
        tokens = batches.load_tokens(path)
        windows = batches.Windows(tokens, 1)
        with path.open("r+b") as file:
            file.seek(4 * (place - len(ids) - 2), 2)
            file.write((7).to_bytes(4, "little"))
        changed = [*ids[:place], 7, *ids[place + 1 :], 0, 0]
        assert tokens.tolist() == changed
        assert windows[place][0].tolist() == [7]


@given(ids, st.data())
def test_tensor_cannot_spoil_the_file(batches, ids, data):
    with saved(batches, ids) as path:
        before = path.read_bytes()
        batches.load_tokens(path)[data.draw(st.integers(0, len(ids) - 1))] += 1
        assert path.read_bytes() == before


@given(st.integers(1, 5), st.integers(-2, 9))
def test_rejects_batch_size(batches, n_windows, batch_size):
    windows = batches.Windows(torch.arange(n_windows + 1), 1)
    if 1 <= batch_size <= n_windows:
        batch_size = n_windows + 1
    for read in (batches.batch, batches.loader):
        with rejects("batch_size", batch_size, n_windows):
            read(windows, **{"step" if read is batches.batch else "start": 0},
                 batch_size=batch_size, seed=0)  # fmt: skip


@given(st.integers(max_value=-1))
def test_rejects_negative(batches, negative):
    windows = batches.Windows(torch.arange(9), 2)
    with rejects("step", negative):
        batches.batch(windows, negative, batch_size=1, seed=0)
    with rejects("step", negative):
        batches.loader(windows, batch_size=1, seed=0, start=negative)
    with rejects("seed", negative):
        batches.batch(windows, 0, batch_size=1, seed=negative)


@given(st.sampled_from([[], [0.5], [[1, 2]], [-1], [1, 2**31], ["a"]]))
def test_rejects_ids(batches, wrong):
    with TemporaryDirectory() as folder, rejects("ids"):
        batches.save_tokens(Path(folder, "text.tokens"), wrong)


@given(st.sampled_from(["absent", "cut", "empty", "text", "floats", "rows"]), ids)
def test_rejects_token_file(batches, kind, ids):
    with saved(batches, ids) as path:
        match kind:
            case "absent":
                path.unlink()
            case "cut":
                path.write_bytes(path.read_bytes()[:-1])
            case "empty":
                path.write_bytes(b"")
            case "text":
                path.write_text("not tokens at all")
            case _:
                with path.open("wb") as file:
                    np.save(file, np.zeros(3) if kind == "floats" else np.zeros((2, 2), "<i4"))
        with rejects(path):
            batches.load_tokens(path)


@given(st.integers(1, 9), st.data())
def test_rejects_short_text(batches, context_length, data):
    n_tokens = data.draw(st.integers(0, context_length), "n_tokens")
    with rejects(f"{context_length + 1 - n_tokens} too few"):
        batches.Windows(torch.arange(n_tokens), context_length)
