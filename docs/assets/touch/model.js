// The demo's model, fetched when it is first asked for, and a text that it reads and goes on with.
// Needs safetensors.js, bpe.js, decoding.js and gpt.js.
touch.model = (() => {
  const FILES = new URL("../demo/", globalThis.document?.currentScript.src ?? "file:///");
  const SHOWN = 5; // alternatives
  let arriving = null;

  async function fetched(name, as) {
    const answer = await fetch(new URL(name, FILES));
    if (!answer.ok) throw new Error(`${name} is not there`);
    return answer[as]();
  }

  // Puts together what `gptspec train` writes: the configuration, the tokenizer, the weights.
  function assemble(config, { merges, specials }, weights) {
    return {
      ...touch.gpt.build(config, touch.safetensors.read(weights)),
      merges,
      tokens: touch.bpe.tokens(merges, specials),
      end: 256 + merges.length + specials.indexOf("<|endoftext|>"),
    };
  }

  function load() {
    arriving ??= Promise.all([
      fetched("config.json", "json"),
      fetched("tokenizer.json", "json"),
      fetched("model.safetensors", "arrayBuffer"),
    ]).then((files) => assemble(...files));
    arriving.catch(() => { arriving = null; });
    return arriving;
  }

  // Returns a text: its ids, and after each of them the logits and what each head reads.
  function begin(model, ids) {
    const text = { ids: [], steps: [], cache: touch.gpt.newCache(model) };
    for (const id of ids) append(model, text, id);
    return text;
  }

  function append(model, text, id) {
    text.steps.push(touch.gpt.read(model, id, text.cache));
    text.ids.push(id);
  }

  // Takes back all but the first tokens.
  function shorten(text, time) {
    text.ids.length = text.steps.length = time;
    touch.gpt.truncate(text.cache, time);
  }

  // Returns the likeliest next tokens, [id, probability] each.
  function likeliest(logits, settings) {
    const shares = touch.decoding.distribution(logits, settings);
    return touch.decoding.ranked(shares).slice(0, SHOWN).map((id) => [id, shares[id]]);
  }

  return { assemble, load, begin, append, shorten, likeliest };
})();
