from hypothesis import example, given
from hypothesis import strategies as st

from strategies import keeps, owned, rare_texts, rejects, remembered, texts

SPECIALS = ["<|unk|>", "<|endoftext|>"]

collections = st.lists(texts(), max_size=4)
marked_texts = st.lists(texts() | st.sampled_from(SPECIALS), max_size=4).map("".join)
unmarked_texts = texts().filter(lambda text: not any(special in text for special in SPECIALS))


def without_spaces(text):
    return "".join(text.split())


@given(texts())
@rare_texts()
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
@example(collection=["b B _ 9 é e E ! a", "A aB 日 10 2"])
def test_sorted(words, collection):
    tokenizer = words.train(collection)
    pieces = sorted({piece for text in collection for piece in words.split(text)})
    assert [tokenizer.encode(piece) for piece in pieces] == [[id] for id in range(len(pieces))]
    specials = tokenizer.encode("".join(SPECIALS), specials=True)
    assert specials == [len(pieces), len(pieces) + 1]


@given(collections)
@example(collection=[f"w{n}" for n in range(1100)])
def test_ids_without_gaps(words, collection):
    tokenizer = words.train(collection)
    pieces = [piece for text in collection for piece in words.split(text)]
    ids = [id for text in collection for id in tokenizer.encode(text)]
    ids += tokenizer.encode("".join(SPECIALS), specials=True)
    assert tokenizer.vocab_size == len(set(pieces)) + 2
    assert set(ids) == set(range(tokenizer.vocab_size))


@given(texts(), collections)
@rare_texts(others=[])
@example(text=" ".join(map(str, range(66_000))), others=[])  # more than 16 bits hold
def test_round_trip(words, text, others):
    tokenizer = words.train([text, *others])
    assert without_spaces(tokenizer.decode(tokenizer.encode(text))) == without_spaces(text)


@given(marked_texts, st.data())
def test_ids_come_back(words, text, data):
    tokenizer = words.train(["the cat sat", text])
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=6), "ids")
    assert tokenizer.encode(tokenizer.decode(ids), specials=True) == ids


picks = st.lists(st.floats(0, 1, exclude_max=True), max_size=6)  # shares of a vocabulary


@given(texts(), picks)
@example(text="", picks=[0.0] * 3000)
@example(text="«¿…、。’”»%-–/*&@#$^~|<>", picks=[n / 5000 for n in range(5000)])
def test_one_space_between(words, text, picks):
    tokenizer = words.train(["Why (the cat)? It [1] sat; a {2}: so!", "'\"", text])
    ids = [int(pick * tokenizer.vocab_size) for pick in picks]
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


orders = collections.flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(texts)))


@given(orders)
@example(orders=(["The", "the", "THE"], ["THE", "the", "The"]))
def test_order_of_texts(words, orders):
    collection, shuffled = orders
    one, other = words.train(collection), words.train(shuffled)
    assert one.vocab_size == other.vocab_size
    for text in collection:
        assert one.encode(text) == other.encode(text)


@given(marked_texts)
@rare_texts()
@example(text="".join(SPECIALS) * 3)
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
    joined = words.join(documents)
    assert tokenizer.encode(joined, specials=True) == ids[1:]
    assert joined.split("<|endoftext|>") == (documents or [""])


@given(st.lists(unmarked_texts, max_size=3), st.sampled_from(SPECIALS), st.data())
def test_rejects_forged_ends(words, documents, special, data):
    forger = data.draw(st.integers(0, len(documents)), "forger")
    with rejects(f"documents[{forger}]", special):
        words.join([*documents[:forger], f"An end: {special}, it says", *documents[forger:]])


@given(texts(), collections, st.lists(st.integers(0, 1), max_size=5))
@rare_texts(others=["a b"], ids=[0, 1])
def test_leaves_no_trace(words, text, others, ids):
    collection = [text, *others]
    with keeps(collection, ids):
        tokenizer = words.train(iter(collection))
        assert tokenizer.vocab_size == words.train(collection).vocab_size
        assert tokenizer.decode(iter(ids)) == tokenizer.decode(ids)
        owned(lambda: tokenizer.encode(text))
        owned(lambda: words.split(text))
        documents = [document for document in collection if not any(map(document.count, SPECIALS))]
        assert words.join(iter(documents)) == words.join(documents)
        vocabulary = sorted({*words.split(text), "the"})
        made = words.WordTokenizer(vocabulary)
        expected = made.encode(text)
        vocabulary.clear()
        assert made.encode(text) == expected
        for handed_out in ("tokens", "ids"):
            owned(lambda name=handed_out: getattr(made, name, None))
        assert made.encode(text) == expected
        assert made.vocab_size == words.train([text, "the"]).vocab_size


@given(st.sampled_from([True, False]))
def test_forgets(words, encoding):
    tokenizer = words.train(["a number of its own"])

    def call(number):
        if encoding:
            return tokenizer.encode(f"{number} is a number of its own")
        return tokenizer.decode([number >> bit & 1 for bit in range(20)])

    assert remembered(call) < 0.5


@given(collections, st.integers(), st.integers(0, 3))
@example(collection=[], wrong=-1, more=3)
@example(collection=[], wrong=0, more=0)
def test_rejects_ids(words, collection, wrong, more):
    tokenizer = words.train(collection)
    wrong += tokenizer.vocab_size * (wrong >= 0)
    with rejects("ids", wrong):
        tokenizer.decode([0] * (3 - more) + [wrong] + [1] * more)


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
    with rejects("text"):
        words.train(["a text", wrong])
