import torch
from hypothesis import example, given
from hypothesis import strategies as st

from strategies import assert_close, keeps, rejects, sizes, token_ids, views

LARGE = torch.arange(70_000)


@st.composite
def texts_to_cut(draw):
    """A text of ids, a context length it has room for, and a stride."""
    context_length = draw(sizes(1, 4))
    n_tokens = draw(st.integers(context_length + 1, 12))
    return draw(token_ids(9, n_tokens)), context_length, draw(sizes(1, 5))


@example(cut=(LARGE, 1100, 1100))
@given(texts_to_cut())
def test_target_is_next(windows, cut):
    tokens, context_length, stride = cut
    with keeps(tokens):
        inputs, targets = windows.windows(*cut)
    assert inputs.shape == targets.shape
    for i, row in enumerate(targets):
        assert_close(row, tokens[i * stride + 1 :][:context_length], rtol=0, atol=0)
    assert_close(targets[:, :-1], inputs[:, 1:], rtol=0, atol=0)


@given(texts_to_cut())
def test_windows_are_full(windows, cut):
    tokens, context_length, stride = cut
    inputs, _ = windows.windows(*cut)
    for i, row in enumerate(inputs):
        expected = [tokens[i * stride + t].item() for t in range(context_length)]
        assert row.tolist() == expected


@example(cut=(LARGE, 2, 1))
@given(texts_to_cut())
def test_no_room_is_left(windows, cut):
    tokens, context_length, stride = cut
    starts = [s for s in range(0, len(tokens), stride) if s + context_length + 1 <= len(tokens)]
    assert windows.count(len(tokens), context_length, stride) == len(starts)
    assert len(windows.windows(*cut)[0]) == len(starts)


@example(cut=(LARGE, 3, 3))
@example(cut=(LARGE, 5000, 5000))
@given(texts_to_cut())
def test_full_stride_repeats_nothing(windows, cut):
    tokens, context_length, _ = cut
    inputs, targets = windows.windows(tokens, context_length, context_length)
    read = inputs.numel()
    assert_close(inputs.flatten(), tokens[:read], rtol=0, atol=0)
    assert_close(targets.flatten(), tokens[1 : read + 1], rtol=0, atol=0)
    assert 0 <= len(tokens) - 1 - read < context_length


@example(cut=(LARGE, 1100, 1000))
@given(texts_to_cut())
def test_one_is_one_of_all(windows, cut):
    inputs, targets = windows.windows(*cut)
    tokens, context_length, stride = cut
    for i in range(len(inputs)):
        one_input, one_target = windows.window(tokens, i, context_length, stride)
        assert_close(one_input, inputs[i], rtol=0, atol=0)
        assert_close(one_target, targets[i], rtol=0, atol=0)


@example(cut=(LARGE, 1100, 1000))
@given(texts_to_cut())
def test_copies_nothing(windows, cut):
    tokens, context_length, stride = cut
    for text in (tokens, *views(tokens).values()):
        together = windows.windows(text, context_length, stride)
        for i in (0, len(together[0]) - 1):
            alone = windows.window(text, i, context_length, stride)
            for shift in (0, 1):
                expected = text[i * stride + shift :][:context_length]
                for found in (together[shift][i], alone[shift]):
                    assert found.data_ptr() == expected.data_ptr()
                    assert_close(found, expected, rtol=0, atol=0)


END = 9


@example(documents=[[1, 2], [], [3]], context_length=4, stride=1)
@given(st.lists(st.lists(st.integers(0, 8), max_size=4), min_size=2, max_size=5), sizes(1, 6),
       sizes(1, 3))  # fmt: skip
def test_documents_join(windows, documents, context_length, stride):
    """Read without a mark for where a document ends, but for its last token, END."""
    ended = [[*document, END] for document in documents]
    place = [(d, t) for d, document in enumerate(ended) for t in range(len(document))]
    text = torch.tensor([id for document in ended for id in document])
    context_length = min(context_length, len(text) - 1)
    inputs, targets = windows.windows(text, context_length, stride)
    for i, (read, asked) in enumerate(zip(inputs.tolist(), targets.tolist(), strict=True)):
        for t in range(context_length):
            document, at = place[i * stride + t]
            assert read[t] == ended[document][at]
            goes_on = at + 1 < len(ended[document])
            expected = ended[document][at + 1] if goes_on else ended[document + 1][0]
            assert asked[t] == expected


@given(st.integers(1, 50), st.data())
def test_rejects_short_text(windows, context_length, data):
    n_tokens = data.draw(st.integers(0, context_length), "n_tokens")
    tokens = torch.zeros(n_tokens, dtype=torch.long)
    short = context_length + 1 - n_tokens
    for attempt in (
        lambda: windows.count(n_tokens, context_length, 1),
        lambda: windows.window(tokens, 0, context_length, 1),
        lambda: windows.windows(tokens, context_length, 1),
    ):
        with rejects(f"{n_tokens} tokens", f"{short} too few", "context_length"):
            attempt()


@given(st.integers(-3, 0), st.sampled_from(["context_length", "stride"]))
def test_rejects_sizes(windows, size, argument):
    sizes = {"context_length": 2, "stride": 2, argument: size}
    with rejects(argument, size):
        windows.count(9, **sizes)


@given(texts_to_cut(), st.data())
def test_rejects_index(windows, cut, data):
    tokens, context_length, stride = cut
    n_windows = windows.count(len(tokens), context_length, stride)
    index = data.draw(st.integers(-3, -1) | st.integers(n_windows, n_windows + 3), "index")
    message = ""
    try:
        windows.window(tokens, index, context_length, stride)
    except IndexError as error:
        message = str(error)
    assert f"got {index}" in message


@given(texts_to_cut())
def test_rejects_several_rows(windows, cut):
    tokens, context_length, stride = cut
    rows = tokens.unsqueeze(1).expand(-1, 2)
    for attempt in (windows.windows, lambda *cut: windows.window(rows, 0, *cut[1:])):
        with rejects("tokens"):
            attempt(rows, context_length, stride)
