// Attention on plain arrays: a text is a list of rows, one for each token.
// Python's `gptspec.attention` says the same: tests/test_touch.py compares them.
touch.attention = (() => {
  const dot = (one, other) => one.reduce((sum, x, i) => sum + x * other[i], 0);

  // Returns the score of each query (row) with each key (column).
  const scores = (queries, keys) =>
    queries.map((query) => keys.map((key) => dot(query, key) / Math.sqrt(query.length)));

  // Returns rows in which every number that is hidden, by its row t and column j, is another.
  const masked = (rows, hidden, value) =>
    rows.map((row, t) => row.map((number, j) => (hidden(t, j) ? value : number)));

  // Returns each row as shares, which sum to one. The largest is taken off first: `exp` overflows.
  const softmax = (rows) =>
    rows.map((row) => {
      const most = Math.max(...row);
      const parts = row.map((number) => Math.exp(number - most));
      const sum = parts.reduce((one, other) => one + other, 0);
      return parts.map((part) => part / sum);
    });

  // Returns causal weights; with another diagonal than 1 the mask's edge is moved.
  const causal = (rows, diagonal = 1) =>
    softmax(masked(rows, (t, j) => j >= t + diagonal, -Infinity));

  // Returns for each row of weights the sum of all values, each times its weight.
  const mix = (weights, values) =>
    weights.map((row) => values[0].map((_, i) => dot(row, values.map((value) => value[i]))));

  return { scores, masked, softmax, causal, mix };
})();
