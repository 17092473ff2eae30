import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention

from layers import assert_bounded, assert_pure, assert_same_gradients
from strategies import (
    assert_close,
    assert_same_on_views,
    elsewhere,
    keeps,
    owned,
    rejects,
    single_precision,
    sizes,
    tensors,
)

LONG = (3, 1100)  # queries and keys
WIDE = {"n_buckets": 300, "max_distance": 3000, "causal": True}


@st.composite
def layouts(draw, roomy=False):
    """Draw how distances share buckets; `roomy` keeps T5's proportion or reaches farther."""
    causal = draw(st.booleans())
    n_buckets = draw(st.integers(2, 40)) if causal else 2 * draw(st.integers(2, 20))
    least = 4 * n_buckets if roomy else n_buckets // (2 if causal else 4) + 1
    return {
        "n_buckets": n_buckets,
        "max_distance": draw(st.integers(least, 8 * n_buckets)),
        "causal": causal,
    }


@st.composite
def lengths(draw):
    """Draw the number of queries and of keys, which are at least as many."""
    query_time = draw(sizes(0, 4))
    return query_time, query_time + draw(sizes(0, 3))


def trained(relative, layout, data):
    """Return the bias of a few heads whose numbers are drawn."""
    bias = relative.RelativeBias(data.draw(st.sampled_from([1, 2, 3, 12]), "n_heads"), **layout)
    bias.weight.data = data.draw(tensors(*bias.weight.shape), "weight")
    return bias


def directions(layout):
    """Return the signs of the distances that are read, and how many buckets each sign has."""
    if layout["causal"]:
        return [-1], layout["n_buckets"]
    return [-1, 1], layout["n_buckets"] // 2


@given(st.lists(st.integers(-150, 150) | st.integers(-(10**6), 10**6), max_size=5), layouts())
@example([-12, -18], {"n_buckets": 17, "max_distance": 27, "causal": True})
@example([-12], {"n_buckets": 19, "max_distance": 16, "causal": True})
@example([-15], {"n_buckets": 19, "max_distance": 25, "causal": True})
@example([-30], {"n_buckets": 36, "max_distance": 50, "causal": True})
@example([-140, -1000, -1200, -3000, 2000], WIDE)
def test_equals_t5_buckets(relative, distance, layout):
    """The examples lie on a bucket's edge, where rounding decides."""
    distance = torch.tensor(distance, dtype=torch.long)
    theirs = T5Attention._relative_position_bucket(
        distance,
        bidirectional=not layout["causal"],
        num_buckets=layout["n_buckets"],
        max_distance=layout["max_distance"],
    )
    assert_close(relative.bucket(distance, **layout), theirs)


@given(
    lengths() | st.just((200, 200)) | st.just(LONG),
    layouts() | st.sampled_from([{}, WIDE]),
    st.data(),
)
def test_equals_t5_bias(relative, time, layout, data):
    query_time, key_time = time
    bias = trained(relative, layout, data)
    names = {"n_buckets": "num_buckets", "max_distance": "max_distance"}
    config = T5Config(
        d_model=2,
        d_kv=1,
        num_heads=bias.weight.shape[1],
        is_decoder=layout.get("causal", True),
        **{f"relative_attention_{names[name]}": layout[name] for name in names if layout},
    )
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    theirs.relative_attention_bias.load_state_dict(bias.state_dict())
    expected = theirs.compute_bias(query_time, key_time, past_seen_tokens=key_time - query_time)
    assert_close(bias(query_time, key_time), expected[0], rtol=0, atol=0)


@given(lengths() | st.just(LONG), layouts(), st.data())
def test_gradients_sum_over_uses(relative, time, layout, data):
    bias = trained(relative, layout, data).double()
    where = relative.bucket(relative.distances(*time), **layout)
    one_hot = torch.nn.functional.one_hot(where, layout["n_buckets"]).double()
    assert_same_gradients(bias(*time), (one_hot @ bias.weight).movedim(-1, 0), bias)
    table = data.draw(tensors(2 * data.draw(sizes(0, 3), "reach") + 1, 2), "table")
    table, k = table.double().requires_grad_(), len(table) // 2
    one_hot = torch.nn.functional.one_hot(relative.distances(*time).clamp(-k, k) + k, 2 * k + 1)
    vectors = relative.clipped_embeddings(table, *time)
    assert_same_gradients(vectors, one_hot.double() @ table, table)


@given(st.lists(st.integers(-300, 300), min_size=1, max_size=5), lengths(), layouts(), st.data())
def test_is_pure(relative, distance, time, layout, data):
    assert_pure(lambda x: relative.bucket(x, **layout), torch.tensor(distance))
    table = data.draw(tensors(2 * data.draw(sizes(0, 3), "reach") + 1, 2), "table")
    with keeps(table):
        owned(lambda: relative.clipped_embeddings(table, *time))
        assert_same_on_views(lambda table: relative.clipped_embeddings(table, *time), table)
    bias = trained(relative, layout, data)
    with keeps(bias):
        owned(lambda: bias(*time))


def test_tables_belong_to_the_caller(relative):
    """No property: after a failure a spoilt table stays spoilt."""
    owned(lambda: relative.distances(2, 3))
    bias, table = relative.RelativeBias(1), torch.ones(3, 2)
    with keeps(bias, table):
        owned(lambda: bias(1, 1))
        owned(lambda: relative.clipped_embeddings(table[:1], 2, 2))
    assert_bounded(lambda n: relative.distances(1, n + 1))
    assert_bounded(lambda n: bias(1, n + 1))
    assert_bounded(lambda n: relative.clipped_embeddings(table, 1, n + 1))


@given(lengths(), layouts(), st.data())
def test_depends_on_distance(relative, time, layout, data):
    query_time, key_time = time
    bias = trained(relative, layout, data)(query_time + 1, key_time + 1)
    assert_close(bias[:, 1:, 1:], bias[:, :-1, :-1], rtol=0, atol=0)


@given(lengths(), layouts(), st.data())
def test_tail_is_whole(relative, time, layout, data):
    query_time, key_time = time
    bias = trained(relative, layout, data)
    whole = bias(key_time, key_time)[:, key_time - query_time :]
    assert_close(bias(query_time, key_time), whole, rtol=0, atol=0)


@given(layouts())
def test_near_distances_stand_alone(relative, layout):
    signs, n_buckets = directions(layout)
    for sign in signs:
        near = sign * torch.arange(1, n_buckets // 2)
        ids = relative.bucket(sign * torch.arange(8 * layout["max_distance"]), **layout)
        for distance in near:
            id = relative.bucket(distance, **layout)
            assert (ids == id).sum() == 1, f"distance {distance} shares bucket {id}"


@given(layouts())
def test_farther_is_never_lower(relative, layout):
    for sign in directions(layout)[0]:
        steps = torch.arange(1, 2 * layout["max_distance"])
        ids = relative.bucket(sign * steps, **layout)
        assert (ids.diff() >= 0).all()


@given(layouts(roomy=True))
def test_every_bucket_is_used(relative, layout):
    n_buckets = layout["n_buckets"]
    reach = 2 * layout["max_distance"]
    used = set(relative.bucket(torch.arange(-reach, reach), **layout).tolist())
    unused = set() if layout["causal"] else {n_buckets // 2}
    assert used == set(range(n_buckets)) - unused


@given(layouts(), st.integers(0, 10**6))
def test_far_distances_share_the_last(relative, layout, beyond):
    signs, n_buckets = directions(layout)
    for i, sign in enumerate(signs):
        distance = torch.tensor(sign * (layout["max_distance"] + beyond))
        assert relative.bucket(distance, **layout) == (i + 1) * n_buckets - 1


@given(layouts())
def test_ahead_is_not_back(relative, layout):
    layout = layout | {"causal": False, "n_buckets": max(4, layout["n_buckets"] // 2 * 2)}
    steps = torch.arange(1, 2 * layout["max_distance"])
    ahead = set(relative.bucket(steps, **layout).tolist())
    back = set(relative.bucket(-steps, **layout).tolist())
    assert not ahead & back


@given(lengths(), layouts())
def test_starts_without_preference(relative, time, layout):
    assert_close(relative.RelativeBias(3, **layout)(*time), torch.zeros(3, *time))
    with single_precision():
        assert relative.RelativeBias(3, **layout).weight.dtype == torch.float32


@given(lengths(), layouts())
def test_device_of_the_table(relative, time, layout):
    bias, table = relative.RelativeBias(2, **layout), torch.ones(3, 2)
    expected = bias(*time), relative.clipped_embeddings(table, *time)
    with elsewhere():
        found = bias(*time), relative.clipped_embeddings(table, *time)
    assert_close(found, expected)


@given(lengths() | st.just(LONG), sizes(0, 3) | st.just(500), sizes(), st.data())
def test_clipped_equals_shaw(relative, time, reach, d_head, data):
    query_time, key_time = time
    table = data.draw(tensors(2 * reach + 1, d_head), "table")
    vectors = relative.clipped_embeddings(table, query_time, key_time)
    assert vectors.shape == (query_time, key_time, d_head)
    rows = [
        reach + max(-reach, min(reach, key - query))
        for query in range(key_time - query_time, key_time)
        for key in range(key_time)
    ]
    expected = table[torch.tensor(rows, dtype=torch.long)].view(vectors.shape)
    assert_close(vectors, expected, rtol=0, atol=0)


@given(sizes(0), sizes(), layouts())
def test_rejects_more_queries_than_keys(relative, key_time, more, layout):
    with rejects("query_time", -more, key_time):
        relative.distances(-more, key_time)
    query_time = key_time + more
    with rejects("query_time", query_time, key_time):
        relative.RelativeBias(1, **layout)(query_time, key_time)
    with rejects("query_time", query_time, key_time):
        relative.clipped_embeddings(torch.ones(3, 2), query_time, key_time)


@given(layouts(), st.data())
def test_rejects_what_has_no_layout(relative, layout, data):
    few = st.integers(-2, 1 if layout["causal"] else 3)
    odd = st.integers(2, 20).map(lambda n: 2 * n + 1)
    wrong = data.draw(few if layout["causal"] else few | odd, "n_buckets")
    with rejects("n_buckets", wrong):
        relative.RelativeBias(1, **{**layout, "n_buckets": wrong})
    wrong = data.draw(st.integers(-1, directions(layout)[1] // 2), "max_distance")
    with rejects("max_distance", wrong):
        relative.RelativeBias(1, **{**layout, "max_distance": wrong})
    wrong = data.draw(st.integers(-2, 0), "n_heads")
    with rejects("n_heads", wrong):
        relative.RelativeBias(wrong, **layout)


@given(sizes(0).map(lambda k: 2 * k), lengths())
def test_rejects_even_tables(relative, rows, time):
    with rejects("table", rows):
        relative.clipped_embeddings(torch.ones(rows, 2), *time)
