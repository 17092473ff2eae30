// From logits to the probabilities that a token is drawn from, as gptspec.generation.decoding.
touch.decoding = (() => {
  const softmax = (logits) => {
    const largest = logits.reduce((one, other) => Math.max(one, other), -Infinity);
    const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
    const sum = powers.reduce((one, other) => one + other, 0);
    return powers.map((power) => power / sum);
  };

  // Returns the ids, those of the largest numbers first, of equals the lowest id first.
  const ranked = (numbers) =>
    Array.from(numbers, (_, id) => id).sort((one, other) => numbers[other] - numbers[one] || one - other);

  const keep = (logits, kept) => logits.map((logit, id) => (kept.has(id) ? logit : -Infinity));

  function applyTemperature(logits, temperature) {
    if (temperature === 0) return topK(logits, 1);
    const largest = logits.reduce((one, other) => Math.max(one, other), -Infinity);
    return logits.map((logit) => (logit - largest) / temperature);
  }

  function topK(logits, k) {
    return keep(logits, new Set(ranked(logits).slice(0, k)));
  }

  function topP(logits, p) {
    if (p === 1) return logits;
    const probabilities = softmax(logits), kept = new Set();
    let sum = 0;
    for (const id of ranked(probabilities)) {
      sum += probabilities[id];
      if (sum - probabilities[id] >= p) break; // the tokens before it hold p already
      kept.add(id);
    }
    return keep(logits, kept);
  }

  function minP(logits, p) {
    if (p === 0) return logits;
    const probabilities = softmax(logits);
    const least = p * Math.max(...probabilities);
    return logits.map((logit, id) => (probabilities[id] < least ? -Infinity : logit));
  }

  // The settings act in this order; a k of null keeps all.
  function distribution(logits, { temperature = 1, k = null, p = 1, min = 0 } = {}) {
    logits = applyTemperature(Array.from(logits), temperature);
    if (k !== null) logits = topK(logits, k);
    return softmax(minP(topP(logits, p), min));
  }

  // Returns the id on which a number from 0 up to 1 falls when the probabilities lie side by side.
  function draw(probabilities, number) {
    const last = probabilities.findLastIndex((probability) => probability > 0);
    const id = probabilities.findIndex((probability) => (number -= probability) < 0);
    return id < 0 ? last : id;
  }

  return { softmax, ranked, distribution, draw };
})();
