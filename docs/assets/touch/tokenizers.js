// Four tokenizers on one text, and the merges of byte pairs, one by one.
// Needs bytes.js and bpe.js.
touch.tokenizers = (() => {
  const SHOWN = 5; // pairs
  const MOST = 200; // merges
  const WORD = /[\p{L}\p{N}_]+|[^\p{L}\p{N}_\p{White_Space}\x1c-\x1f]/gu; // Python's \w+|[^\w\s]

  // By code points, as Python sorts; JavaScript's own order is that of halves of characters.
  function earlier(one, other) {
    const [left, right] = [one, other].map((text) => Array.from(text, (each) => each.codePointAt(0)));
    const at = left.findIndex((point, place) => point !== right[place]);
    return at < 0 ? left.length - right.length : left[at] - (right[at] ?? -1);
  }

  // Returns each piece with its place in the sorted vocabulary of all pieces.
  function numbered(pieces) {
    const vocabulary = [...new Set(pieces)].sort(earlier);
    const ids = new Map(vocabulary.map((piece, id) => [piece, id]));
    return pieces.map((piece) => [piece, ids.get(piece)]);
  }

  const words = (text) => numbered(text.match(WORD) ?? []);
  const characters = (text) => numbered([...text]);
  const bytes = (text) => touch.bytes.encode(text).map((byte) => [touch.bytes.decode([byte]), byte]);

  function pairs(text, merges) {
    const tokens = touch.bpe.tokens(merges);
    return touch.bpe.encode(text, merges).map((id) => [touch.bytes.decode(tokens[id]), id]);
  }

  const visible = (text) => text.replaceAll(" ", "␣").replaceAll("\n", "⏎");

  function show(box) {
    const { element, data, slider } = touch.controls;
    const told = data(box);
    const [controls, merging] = [".controls", ".merging"].map((name) => box.querySelector(name));
    const says = element("p", { class: "says", "aria-live": "polite" });
    const input = element("textarea", { rows: 2, maxlength: 400, spellcheck: "false" });
    input.value = told.text;
    let steps = [];
    const count = slider("Merges", 0, told.merges, told.merges, draw);
    const next = element("button", { type: "button" }, "Next merge");
    next.addEventListener("click", () => {
      count.value += 1;
      draw();
    });
    input.addEventListener("input", learn);
    controls.replaceChildren(element("label", {}, element("span", {}, "Text"), input));
    merging.replaceChildren(count.row, next, says);

    function learn() {
      steps = touch.bpe.train(input.value, MOST);
      count.most = steps.length;
      draw();
    }

    function fill(name, pieces) {
      const row = box.querySelector(`.${name}`);
      row.querySelector(".count").textContent = `${pieces.length} ids`;
      row.querySelector(".tokens").replaceChildren(...pieces.map(([piece, id]) =>
        element("span", {}, visible(piece), element("small", {}, String(id)))));
    }

    function draw() {
      const text = input.value, merges = steps.slice(0, count.value).map(({ pair }) => pair);
      fill("words", words(text));
      fill("characters", characters(text));
      fill("bytes", bytes(text));
      fill("pairs", pairs(text, merges));
      const tokens = touch.bpe.tokens(merges);
      const named = (id) => visible(touch.bytes.decode(tokens[id]));
      const step = steps[count.value], coming = step ? step.pairs.slice(0, SHOWN) : [];
      box.querySelector(".counts").replaceChildren(...coming.map(({ pair: [left, right], count }) =>
        element("li", {}, element("code", {}, named(left)), " + ", element("code", {}, named(right)),
          " ", element("small", {}, `${count}×`))));
      next.disabled = !step;
      const made = merges.length ? named(256 + merges.length - 1) : null;
      says.textContent = made === null ? "No merge yet: every token is a byte."
        : `Merge ${merges.length} made token ${255 + merges.length}, “${made}”.`;
    }

    learn();
  }

  return { words, characters, bytes, pairs, show };
})();
