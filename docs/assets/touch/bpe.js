// Byte-pair encoding: merges learned one by one, replayed on other texts. Needs bytes.js.
touch.bpe = (() => {
  const { encode: bytesOf } = touch.bytes;
  // GPT-2's rule, as in gptspec.tokenization.bpe; `\s` of JavaScript is not that of Python.
  const PATTERN = new RegExp(
    [
      "'(?:s|t|re|ve|m|ll|d)",
      " ?\\p{L}+",
      " ?\\p{N}+",
      " ?[^\\p{White_Space}\\p{L}\\p{N}]+",
      "\\p{White_Space}+$",
      "\\p{White_Space}+(?!\\P{White_Space})",
      "\\p{White_Space}",
    ].join("|"),
    "gu",
  );

  function preTokenize(text) {
    return text.match(PATTERN) ?? [];
  }

  // A pair as one number: the smaller left id comes first, then the smaller right id.
  const RIGHT = 2 ** 20;
  const keyOf = (left, right) => left * RIGHT + right;
  const pairOf = (key) => [Math.floor(key / RIGHT), key % RIGHT];

  function merge(ids, [left, right], made) {
    const merged = [];
    for (const id of ids) {
      if (id === right && merged.length && merged.at(-1) === left) merged[merged.length - 1] = made;
      else merged.push(id);
    }
    return merged;
  }

  // Returns how often each pair stands in a text whose pre-tokens are lists of ids.
  function countPairs(words) {
    const counts = new Map();
    for (const ids of words)
      for (let at = 1; at < ids.length; at++) {
        const key = keyOf(ids[at - 1], ids[at]);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    return counts;
  }

  // Returns the pairs, the most frequent first; of equals the smallest first.
  function ranked(counts) {
    return [...counts]
      .sort(([one, often], [other, rather]) => rather - often || one - other)
      .map(([key, count]) => ({ pair: pairOf(key), count }));
  }

  // Returns the merges that a text teaches, at most so many, each with all counts before it.
  function train(text, most) {
    let words = preTokenize(text).map(bytesOf);
    const steps = [];
    while (steps.length < most) {
      const pairs = ranked(countPairs(words));
      if (!pairs.length) break;
      const made = 256 + steps.length;
      words = words.map((ids) => merge(ids, pairs[0].pair, made));
      steps.push({ ...pairs[0], pairs });
    }
    return steps;
  }

  function encode(text, merges) {
    const made = new Map(merges.map(([left, right], rank) => [keyOf(left, right), 256 + rank]));
    return preTokenize(text).flatMap((word) => {
      let ids = bytesOf(word);
      for (;;) {
        let earliest = Infinity;
        for (let at = 1; at < ids.length; at++)
          earliest = Math.min(earliest, made.get(keyOf(ids[at - 1], ids[at])) ?? Infinity);
        if (earliest === Infinity) return ids;
        ids = merge(ids, merges[earliest - 256], earliest);
      }
    });
  }

  // Returns the bytes of each token; special tokens come last.
  function tokens(merges, specials = []) {
    const all = Array.from({ length: 256 }, (_, id) => [id]);
    for (const [left, right] of merges) all.push([...all[left], ...all[right]]);
    return [...all, ...specials.map(bytesOf)];
  }

  return { preTokenize, merge, countPairs, ranked, train, encode, tokens };
})();
