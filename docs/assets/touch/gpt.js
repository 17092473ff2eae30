// A GPT that reads token by token, with a KV cache: what gptspec.gpt.model computes, in plain loops.
// Needs decoding.js.
touch.gpt = (() => {
  const { softmax } = touch.decoding;

  function linear(x, weight, bias) {
    const [rows, columns] = weight.shape, numbers = weight.data, y = new Float64Array(rows);
    for (let row = 0, at = 0; row < rows; row++) {
      let sum = bias ? bias.data[row] : 0;
      for (let column = 0; column < columns; column++) sum += numbers[at++] * x[column];
      y[row] = sum;
    }
    return y;
  }

  function normalize(x, kind, eps, weight, bias) {
    const mean = kind === "rms" ? 0 : x.reduce((sum, one) => sum + one, 0) / x.length;
    const variance = x.reduce((sum, one) => sum + (one - mean) ** 2, 0) / x.length;
    const size = Math.sqrt(variance + eps);
    return x.map((one, at) => ((one - mean) / size) * weight.data[at] + (bias ? bias.data[at] : 0));
  }

  const silu = (x) => x / (1 + Math.exp(-x));
  const gelu = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

  // What each kind of positions does: to the vectors, to queries and keys, to the scores.
  const POSITIONS = {
    none: {},
    learned: {
      embed: (x, position, { table }) =>
        x.map((one, at) => one + table.data[position * x.length + at]),
    },
    sinusoidal: {
      embed: (x, position) =>
        x.map((one, at) => {
          const angle = position / 10000 ** ((at - (at % 2)) / x.length);
          return one * Math.sqrt(x.length) + (at % 2 ? Math.cos(angle) : Math.sin(angle));
        }),
    },
    rotary: {
      rotate: (heads, position, { width, theta }) =>
        heads.map((one, at) => {
          const place = at % width, half = width / 2, first = place < half;
          const angle = position / theta ** ((2 * (place % half)) / width);
          const other = first ? -heads[at + half] : heads[at - half];
          return one * Math.cos(angle) + other * Math.sin(angle);
        }),
    },
    relative: {
      bias: (distance, head, { table, heads }) => table.data[bucket(distance) * heads + head],
    },
    alibi: {
      bias: (distance, head, { heads }) => -distance * slope(head, heads),
    },
  };

  function bucket(distance) { // 16 distances have one each, the others share 16 up to 128
    if (distance < 16) return distance;
    return Math.min(31, 16 + Math.floor((Math.log(distance / 16) / Math.log(8)) * 16));
  }

  function slope(head, heads) {
    const power = 2 ** Math.floor(Math.log2(heads));
    return 2 ** ((-4 * (head < power ? 2 * (head + 1) : 2 * (head - power) + 1)) / power);
  }

  // Puts a configuration and its tensors together, by the names that gptspec gives them.
  function build(config, tensors) {
    const of = (prefix) => (name) => tensors[`${prefix}${name}`];
    const [heads, own] = [config.n_heads, of("")];
    return {
      config,
      kind: POSITIONS[config.positions],
      settings: {
        table: own("positions.weight"),
        theta: config.theta,
        width: config.d_model / heads,
        heads,
      },
      embedding: own("tokens.weight"),
      blocks: Array.from({ length: config.n_layers }, (_, layer) => of(`blocks.${layer}.`)),
      last: own,
      head: own("head.weight") ?? own("tokens.weight"),
    };
  }

  // What the blocks keep of a text: keys and values of each token.
  function newCache({ blocks }) {
    return { time: 0, layers: blocks.map(() => ({ keys: [], values: [] })) };
  }

  // Forgets all tokens but the first ones.
  function truncate(cache, time) {
    cache.time = time;
    for (const kept of cache.layers) kept.keys.length = kept.values.length = time;
  }

  function attend(x, block, kept, position, model, weights) {
    const { config, kind, settings } = model, { width, heads } = settings;
    const part = (name) => linear(x, block(`attention.${name}.weight`), block(`attention.${name}.bias`));
    const rotate = (one) => (kind.rotate ? kind.rotate(one, position, settings) : one);
    const queries = rotate(part("query"));
    kept.keys.push(rotate(part("key")));
    kept.values.push(part("value"));
    const first = Math.max(0, position + 1 - (config.window ?? Infinity));
    const shared = heads / (config.n_kv_heads ?? heads), mixes = new Float64Array(x.length);
    for (let head = 0; head < heads; head++) {
      const query = head * width, key = Math.floor(head / shared) * width, scores = [];
      for (let time = first; time <= position; time++) {
        let score = 0;
        for (let at = 0; at < width; at++) score += queries[query + at] * kept.keys[time][key + at];
        const bias = kind.bias ? kind.bias(position - time, head, settings) : 0;
        scores.push(score / Math.sqrt(width) + bias);
      }
      const shares = softmax(scores);
      shares.forEach((share, at) => {
        for (let place = 0; place < width; place++)
          mixes[query + place] += share * kept.values[first + at][key + place];
      });
      weights.push([...Array(first).fill(0), ...shares]);
    }
    return linear(mixes, block("attention.output.weight"), block("attention.output.bias"));
  }

  function feedForward(x, block, { config }) {
    const part = (name, from) =>
      linear(from, block(`feed_forward.${name}.weight`), block(`feed_forward.${name}.bias`));
    const up = part("up", x);
    if (config.feed_forward === "gelu") return part("down", up.map(gelu));
    const gate = part("gate", x);
    return part("down", up.map((one, at) => one * silu(gate[at])));
  }

  // Reads the next token: return the logits of the one that follows, and where each head looked.
  function read(model, id, cache) {
    const { config, kind, settings, embedding } = model, position = cache.time++;
    if (position >= config.context_length) throw new Error("the context is full");
    const norm = (x, of, name) =>
      normalize(x, config.norm, config.norm_eps, of(`${name}.weight`), of(`${name}.bias`));
    let x = Float64Array.from(embedding.data.subarray(id * config.d_model, (id + 1) * config.d_model));
    if (kind.embed) x = kind.embed(x, position, settings);
    const attention = [];
    model.blocks.forEach((block, layer) => {
      const weights = [], seen = norm(x, block, "attention_norm");
      const found = attend(seen, block, cache.layers[layer], position, model, weights);
      x = x.map((one, at) => one + found[at]);
      const thought = feedForward(norm(x, block, "feed_forward_norm"), block, model);
      x = x.map((one, at) => one + thought[at]);
      attention.push(weights);
    });
    return { logits: linear(norm(x, model.last, "norm"), model.head), attention };
  }

  return { build, newCache, truncate, read };
})();
