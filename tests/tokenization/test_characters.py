from hypothesis import example, given
from hypothesis import strategies as st

from strategies import keeps, owned, rare_texts, rejects, remembered, texts

SPECIALS = ["<|unk|>", "<|endoftext|>"]

collections = st.lists(texts(), max_size=4)
marked_texts = st.lists(texts() | st.sampled_from(SPECIALS), max_size=4).map("".join)
policies = st.sampled_from(["error", "replace"])


@given(marked_texts, collections, policies, st.booleans())
@rare_texts(others=[], unknown="error", specials=True)
@rare_texts(others=["b"], unknown="replace", specials=False)
@example(  # more than 16 bits hold
    text="".join(map(chr, range(0xE000, 0xE000 + 70_000))),
    others=[],
    unknown="error",
    specials=False,
)
def test_round_trip(characters, text, others, unknown, specials):
    tokenizer = characters.train([text, *others], unknown=unknown)
    assert tokenizer.decode(tokenizer.encode(text, specials=specials)) == text


@given(texts(), collections)
@rare_texts(collection=["a known text"])
def test_one_id_a_character(characters, text, collection):
    tokenizer = characters.train(collection, unknown="replace")
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert ids == [id for character in text for id in tokenizer.encode(character)]


@given(collections, policies)
@example(collection=["bBéeE!aA_9", "日a\ufeff🙂\U0010ffff"], unknown="replace")
def test_sorted(characters, collection, unknown):
    tokenizer = characters.train(collection, unknown=unknown)
    alphabet = "".join(sorted(set("".join(collection))))
    specials = SPECIALS if unknown == "replace" else SPECIALS[1:]
    assert tokenizer.encode(alphabet) == list(range(len(alphabet)))
    assert tokenizer.encode("".join(specials), specials=True) == [
        len(alphabet) + place for place in range(len(specials))
    ]


@given(collections, policies)
@example(collection=[chr(0x4E00 + n) for n in range(1100)], unknown="error")
@example(collection=["".join(map(chr, range(0xE000, 0xE000 + 70_000)))], unknown="replace")
def test_ids_without_gaps(characters, collection, unknown):
    tokenizer = characters.train(collection, unknown=unknown)
    ids = [id for text in collection for id in tokenizer.encode(text)]
    specials = SPECIALS if unknown == "replace" else SPECIALS[1:]
    ids += tokenizer.encode("".join(specials), specials=True)
    assert tokenizer.vocab_size == len(set("".join(collection))) + len(specials)
    assert set(ids) == set(range(tokenizer.vocab_size))


orders = collections.flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(texts)))


@given(orders)
@example(orders=(["aA", "Bb"], ["Bb", "aA"]))
def test_order_of_texts(characters, orders):
    collection, shuffled = orders
    one, other = characters.train(collection), characters.train(shuffled)
    assert one.vocab_size == other.vocab_size
    for text in collection:
        assert one.encode(text) == other.encode(text)


strangers = st.sampled_from(["z", "Ω", "🦓", "\u0301", "\n", "\ufeff"])
places = st.floats(0, 1)  # how much of a text stands before


@given(texts(), strangers, places)
@rare_texts(stranger="z", place=0.5)
@example(text="<|endoftext|>" * 500, stranger="\n", place=1.0)
def test_unknown_is_contained(characters, text, stranger, place):
    text = text.replace(stranger, "")
    tokenizer = characters.train([text], unknown="replace")
    cut = int(place * len(text))
    ids = tokenizer.encode(text)
    unknown = tokenizer.encode("<|unk|>", specials=True)
    assert tokenizer.encode(text[:cut] + stranger + text[cut:]) == ids[:cut] + unknown + ids[cut:]


@given(marked_texts, st.booleans(), strangers, places)
@rare_texts(specials=True, stranger="z", place=0.5)
@example(text="<|endoftext|>" * 500, specials=True, stranger="\n", place=1.0)
def test_unknown_is_refused(characters, text, specials, stranger, place):
    text = text.replace(stranger, "")
    cut = int(place * len(text))
    strange = text[:cut] + stranger + text[cut:]
    alphabet = "".join(set(text))
    for tokenizer in (characters.train([text]), characters.CharacterTokenizer(alphabet)):
        with rejects("text", repr(stranger), f"position {cut}"):
            tokenizer.encode(strange, specials=specials)
    with rejects("text", repr("e"), "position 13"):
        characters.CharacterTokenizer("").encode("<|endoftext|>e", specials=True)


@given(marked_texts, policies)
@rare_texts(unknown="error")
@rare_texts(unknown="replace")
def test_specials_on_request(characters, text, unknown):
    tokenizer = characters.train([text, *SPECIALS], unknown=unknown)
    ends = tokenizer.encode("<|endoftext|>", specials=True)
    assert len(ends) == 1
    end = ends[0]
    assert getattr(tokenizer, "end_of_text", end) == end  # other libraries have no such name
    assert end not in tokenizer.encode(text)
    asked = tokenizer.encode(text, specials=True)
    assert asked.count(end) == text.count("<|endoftext|>")
    own = text.count("<|unk|>") if unknown == "replace" else 0  # where there is no such token
    assert len(asked) == len(text) - 12 * asked.count(end) - 6 * own


@given(texts(), collections, policies, st.lists(st.just(0), max_size=5))
@rare_texts(others=["a b"], unknown="error", ids=[0, 0])
def test_leaves_no_trace(characters, text, others, unknown, ids):
    collection = [text, *others]
    with keeps(collection, ids):
        tokenizer = characters.train(iter(collection), unknown=unknown)
        assert tokenizer.vocab_size == characters.train(collection, unknown=unknown).vocab_size
        assert tokenizer.decode(iter(ids)) == tokenizer.decode(ids)
        expected = owned(lambda: tokenizer.encode(text))
        for handed_out in ("tokens", "ids"):
            owned(lambda name=handed_out: getattr(tokenizer, name, None))
        assert tokenizer.encode(text) == expected


@given(st.sampled_from([True, False]))
def test_forgets(characters, encoding):
    tokenizer = characters.train(["0123456789 is a number of its own"], unknown="replace")

    def call(number):
        if encoding:
            return tokenizer.encode(f"{number} is a number {chr(0x10000 + number)}")
        return tokenizer.decode([number >> bit & 1 for bit in range(20)])

    assert remembered(call) < 0.5


@given(collections, policies, st.integers(), st.integers(0, 3))
@example(collection=[], unknown="error", wrong=-1, more=3)
@example(collection=[], unknown="error", wrong=0, more=0)
def test_rejects_ids(characters, collection, unknown, wrong, more):
    tokenizer = characters.train(collection, unknown=unknown)
    wrong += tokenizer.vocab_size * (wrong >= 0)
    with rejects("ids", wrong):
        tokenizer.decode([0] * (3 - more) + [wrong] + [0] * more)


@given(st.lists(st.sampled_from("abc"), unique=True).map("".join), st.sampled_from("abc"))
def test_rejects_repeated_characters(characters, alphabet, repeated):
    with rejects("alphabet", repr(repeated)):
        characters.CharacterTokenizer(repeated + alphabet + repeated)


@given(st.sampled_from(["ignore", "<|unk|>", "", None, True]))
def test_rejects_other_policies(characters, unknown):
    with rejects("unknown", repr(unknown)):
        characters.CharacterTokenizer("abc", unknown=unknown)


@given(policies, st.sampled_from([None, 7, b"abc", ["a", "b"]]))
def test_rejects_other_types(characters, unknown, wrong):
    with rejects("text"):
        characters.CharacterTokenizer("abc", unknown=unknown).encode(wrong)
    with rejects("text"):
        characters.train(["a text", wrong], unknown=unknown)
    with rejects("alphabet"):
        characters.CharacterTokenizer(wrong, unknown=unknown)
