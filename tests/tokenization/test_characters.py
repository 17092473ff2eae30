from hypothesis import example, given
from hypothesis import strategies as st

from strategies import rejects, texts

SPECIALS = ["<|unk|>", "<|endoftext|>"]

collections = st.lists(texts(), max_size=4)
marked_texts = st.lists(texts() | st.sampled_from(SPECIALS), max_size=4).map("".join)
policies = st.sampled_from(["error", "replace"])


@given(marked_texts, collections, policies, st.booleans())
@example(text="e\u0301", others=[], unknown="error", specials=False)
@example(text="a\nb", others=[], unknown="error", specials=True)
def test_round_trip(characters, text, others, unknown, specials):
    tokenizer = characters.train([text, *others], unknown=unknown)
    assert tokenizer.decode(tokenizer.encode(text, specials=specials)) == text


@given(texts(), collections)
def test_one_id_a_character(characters, text, collection):
    tokenizer = characters.train(collection, unknown="replace")
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert ids == [id for character in text for id in tokenizer.encode(character)]


@given(collections, policies)
def test_ids_without_gaps(characters, collection, unknown):
    tokenizer = characters.train(collection, unknown=unknown)
    ids = [id for text in collection for id in tokenizer.encode(text)]
    specials = SPECIALS if unknown == "replace" else SPECIALS[1:]
    ids += tokenizer.encode("".join(specials), specials=True)
    assert tokenizer.vocab_size == len(set("".join(collection))) + len(specials)
    assert set(ids) == set(range(tokenizer.vocab_size))


@given(collections, st.data())
def test_order_of_texts(characters, collection, data):
    shuffled = data.draw(st.permutations(collection), "shuffled")
    one, other = characters.train(collection), characters.train(shuffled)
    assert one.vocab_size == other.vocab_size
    for text in collection:
        assert one.encode(text) == other.encode(text)


@given(texts(), st.sampled_from("zΩ🦓"), st.data())
def test_unknown_is_contained(characters, text, stranger, data):
    text = text.replace(stranger, "")
    tokenizer = characters.train([text], unknown="replace")
    cut = data.draw(st.integers(0, len(text)), "cut")
    ids = tokenizer.encode(text)
    unknown = tokenizer.encode("<|unk|>", specials=True)
    assert tokenizer.encode(text[:cut] + stranger + text[cut:]) == ids[:cut] + unknown + ids[cut:]


@given(marked_texts, st.booleans(), st.sampled_from("zΩ🦓"), st.data())
def test_unknown_is_refused(characters, text, specials, stranger, data):
    text = text.replace(stranger, "")
    tokenizer = characters.train([text])
    cut = data.draw(st.integers(0, len(text)), "cut")
    with rejects("text", repr(stranger), f"position {cut}"):
        tokenizer.encode(text[:cut] + stranger + text[cut:], specials=specials)


@given(marked_texts, policies)
def test_specials_on_request(characters, text, unknown):
    tokenizer = characters.train([text, *SPECIALS], unknown=unknown)
    ends = tokenizer.encode("<|endoftext|>", specials=True)
    assert len(ends) == 1
    end = ends[0]
    assert getattr(tokenizer, "end_of_text", end) == end  # other libraries have no such name
    assert end not in tokenizer.encode(text)
    assert tokenizer.encode(text, specials=True).count(end) == text.count("<|endoftext|>")


@given(collections, policies, st.integers())
def test_rejects_ids(characters, collection, unknown, wrong):
    tokenizer = characters.train(collection, unknown=unknown)
    wrong += tokenizer.vocab_size * (wrong >= 0)
    with rejects("ids", wrong):
        tokenizer.decode([0, wrong])


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
