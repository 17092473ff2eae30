import math
from collections import Counter

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from disk import works
from strategies import assert_close, keeps, rejects, views

seeds = st.integers(0, 2**32 - 1)

lines = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), max_size=9)

half_character = st.just("\ud800")  # which a notebook may hold

documents = st.lists(st.integers(0, 99).map("text {}".format) | half_character, max_size=8)

sure = ["text 1", "text 2", "text 3", "text 4", "text 5", "text 6"]  # on both sides of a half


@given(documents, documents, st.floats(0.3, 0.7))
def test_content_decides(split, some, more, validation):
    everything = some + sure
    with keeps(everything):
        train, held_back = split.split_documents(everything, validation=validation)
    assert Counter(train + held_back) == Counter(some + sure)
    assert not set(train) & set(held_back)
    later_train, later_held_back = split.split_documents(more + some + sure, validation=validation)
    assert later_train[len(later_train) - len(train) :] == train
    assert later_held_back[len(later_held_back) - len(held_back) :] == held_back


HELD_BACK = [6, 12, 13, 14, 17, 19, 20, 26, 28, 30, 34, 41, 43, 47, 57, 63, 64, 66, 85, 96, 99]


@given(st.integers(0, 100))
def test_sides_are_known(split, first):
    """Of a hundred texts, in any order, a fifth."""
    order = [*range(first, 100), *range(first)]
    _, held_back = split.split_documents([f"text {i}" for i in order], validation=0.2)
    assert held_back == [f"text {i}" for i in order if i in HELD_BACK]


ALIKE = {
    "short": "{seed} {i}",
    "a long beginning": "a" * 5000 + "{seed} {i}",
    "a long end": "{seed} {i}" + "a" * 5000,
    "spaces at the end": "{seed}{spaces}",
    "spaces at the beginning": "{spaces}{seed}",
    "halves of characters": "\ud800{seed} {i}",
}


@example(seed=1, validation=0.001, alike="short")
@given(seeds, st.sampled_from([0.05, 0.1, 0.3, 0.8]), st.sampled_from(sorted(ALIKE)))
def test_share_is_kept(split, seed, validation, alike):
    """Of 500 documents or more, within 6 standard errors; a tenth is the default."""
    count = 500 if validation > 0.01 else 10_000
    options = {} if validation == 0.1 else {"validation": validation}
    documents = [ALIKE[alike].format(seed=seed, i=i, spaces=" " * i) for i in range(count)]
    with works():
        held_back = split.split_documents(documents, **options)[1]
    error = math.sqrt(validation * (1 - validation) / count)
    assert abs(len(held_back) / count - validation) < 6 * error


@example(n_tokens=700_000, validation=None)
@example(n_tokens=70_000, validation=0.05)
@given(st.integers(2, 40), st.none() | st.floats(0.05, 0.95))
def test_tokens_laid_end_to_end(split, n_tokens, validation):
    if not 0 < round(n_tokens * (validation or 0.1)) < n_tokens:
        validation = 0.5
    tokens = torch.arange(n_tokens)
    options = {} if validation is None else {"validation": validation}
    train, held_back = split.split_tokens(tokens, **options)
    validation = validation or 0.1
    assert_close(torch.cat([train, held_back]), tokens, rtol=0, atol=0)
    assert abs(len(held_back) - n_tokens * validation) <= 0.5


@given(st.integers(2, 40))
def test_copies_nothing(split, n_tokens):
    """Change a token, and the side that it is on changes with it."""
    tokens = torch.arange(n_tokens)
    for text in (tokens, *views(tokens).values()):
        with keeps(text):
            train, held_back = split.split_tokens(text, validation=0.5)
        assert train.data_ptr() == text.data_ptr()
        assert held_back.data_ptr() == text[len(train) :].data_ptr()
        text.add_(1)
        assert_close(torch.cat([train, held_back]), text, rtol=0, atol=0)


@given(lines, st.integers(0, 3), st.floats(0.01, 0.99))
def test_rejects_empty_side(split, document, twins, validation):
    with rejects("validation", validation, f"{twins} documents"):
        split.split_documents([document] * twins, validation=validation)
    too_small = 0.49 * validation / max(twins, 1)  # less than half a token
    for share in (too_small, 1 - too_small):
        with rejects("validation", share, f"{twins} tokens"):
            split.split_tokens(torch.arange(twins), validation=share)


@given(st.floats(max_value=0) | st.floats(min_value=1) | st.just(math.nan))
def test_rejects_validation(split, validation):
    with rejects("validation", validation, "above 0 and below 1"):
        split.split_documents(sure, validation=validation)
    with rejects("validation", validation, "above 0 and below 1"):
        split.split_tokens(torch.arange(9), validation=validation)


@given(lines)
def test_rejects_one_text(split, text):
    with rejects("documents", "one text"):
        split.split_documents(text)
