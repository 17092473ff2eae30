from hypothesis import given
from hypothesis import strategies as st

from strategies import rejects, texts

SPECIALS = ["<|unk|>", "<|endoftext|>"]

collections = st.lists(texts(), max_size=4)
marked_texts = st.lists(texts() | st.sampled_from(SPECIALS), max_size=4).map("".join)
unmarked_texts = texts().filter(lambda text: not any(special in text for special in SPECIALS))


def without_spaces(text):
    return "".join(text.split())


@given(texts())
def test_words_and_marks(words, text):
    pieces, word = [], ""
    for character in text + " ":
        if character.isalnum() or character == "_":
            word += character
        else:
            pieces += [word] * bool(word) + [character] * (not character.isspace())
            word = ""
    assert words.split(text) == pieces


@given(collections)
def test_ids_without_gaps(words, collection):
    tokenizer = words.train(collection)
    pieces = [piece for text in collection for piece in words.split(text)]
    ids = [id for text in collection for id in tokenizer.encode(text)]
    ids += tokenizer.encode("".join(SPECIALS), specials=True)
    assert tokenizer.vocab_size == len(set(pieces)) + 2
    assert set(ids) == set(range(tokenizer.vocab_size))


@given(texts(), collections)
def test_round_trip(words, text, others):
    tokenizer = words.train([text, *others])
    assert without_spaces(tokenizer.decode(tokenizer.encode(text))) == without_spaces(text)


@given(marked_texts, st.data())
def test_ids_come_back(words, text, data):
    tokenizer = words.train(["the cat sat", text])
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=6), "ids")
    assert tokenizer.encode(tokenizer.decode(ids), specials=True) == ids


@given(texts(), st.data())
def test_one_space_between(words, text, data):
    tokenizer = words.train(["Why (the cat)? It [1] sat; a {2}: so!", text])
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=6), "ids")
    expected = ""
    for piece in [tokenizer.decode([id]) for id in ids]:
        expected += piece if not expected or piece in list(".,:;!?)]}") else f" {piece}"
    assert tokenizer.decode(ids) == expected


@given(texts(), st.sampled_from(["zebra", "Ω", "¶"]), st.data())
def test_unknown_is_contained(words, text, stranger, data):
    tokenizer = words.train([text.replace(stranger, "")])
    pieces = words.split(text.replace(stranger, ""))
    cut = data.draw(st.integers(0, len(pieces)), "cut")
    ids = tokenizer.encode(" ".join(pieces))
    unknown = tokenizer.encode("<|unk|>", specials=True)
    changed = tokenizer.encode(" ".join([*pieces[:cut], stranger, *pieces[cut:]]))
    assert changed == ids[:cut] + unknown + ids[cut:]


@given(collections, st.data())
def test_order_of_texts(words, collection, data):
    shuffled = data.draw(st.permutations(collection), "shuffled")
    one, other = words.train(collection), words.train(shuffled)
    assert one.vocab_size == other.vocab_size
    for text in collection:
        assert one.encode(text) == other.encode(text)


@given(marked_texts)
def test_specials_on_request(words, text):
    tokenizer = words.train([text])
    special_ids = tokenizer.encode("".join(SPECIALS), specials=True)
    assert len(special_ids) == 2
    unknown, end = special_ids
    assert getattr(tokenizer, "end_of_text", end) == end  # other libraries have no such name
    assert not {unknown, end} & set(tokenizer.encode(text))
    requested = tokenizer.encode(text, specials=True)
    assert requested.count(unknown) == text.count("<|unk|>")
    assert requested.count(end) == text.count("<|endoftext|>")


@given(st.lists(unmarked_texts, max_size=4))
def test_one_end_between_documents(words, documents):
    tokenizer = words.train(documents)
    end = tokenizer.encode("<|endoftext|>", specials=True)
    ids = [id for document in documents for id in end + tokenizer.encode(document)]
    assert tokenizer.encode(words.join(documents), specials=True) == ids[1:]


@given(st.lists(unmarked_texts, max_size=3), st.sampled_from(SPECIALS), st.data())
def test_rejects_forged_ends(words, documents, special, data):
    forger = data.draw(st.integers(0, len(documents)), "forger")
    with rejects(f"documents[{forger}]", special):
        words.join([*documents[:forger], f"An end: {special}", *documents[forger:]])


@given(collections, st.integers())
def test_rejects_ids(words, collection, wrong):
    tokenizer = words.train(collection)
    wrong += tokenizer.vocab_size * (wrong >= 0)
    with rejects("ids", wrong):
        tokenizer.decode([0, wrong])


@given(
    st.lists(st.sampled_from("abc"), unique=True),
    st.sampled_from(["two words", "", " ", "end.", "it's", "the", *SPECIALS]),
)
def test_rejects_unusable_words(words, vocabulary, unusable):
    with rejects("words", repr(unusable)):
        words.WordTokenizer(["the", *vocabulary, unusable])


@given(texts(), st.sampled_from([None, 7, b"bytes", ["a", "list"]]))
def test_rejects_other_types(words, lone, wrong):
    for read, name in [
        (words.train, "texts"),
        (words.join, "documents"),
        (words.WordTokenizer, "words"),
    ]:
        with rejects(name):
            read(lone)
    with rejects("text"):
        words.split(wrong)
