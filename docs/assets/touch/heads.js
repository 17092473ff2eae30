// Several attentions over one text, side by side: how much one word reads from each other.
touch.heads = (() => {
  // Returns the places that a row of weights reads most; several, if they are equal.
  function most(row) {
    const largest = Math.max(...row);
    return [...row.keys()].filter((place) => row[place] > largest - 1e-9);
  }

  function show(box) {
    const { element, data, slider, live, take } = touch.controls;
    const { tokens, attentions, reader } = data(box);
    const chosen = slider("The word that reads:", 0, tokens.length - 1, reader, draw,
      (place) => tokens[place]);
    const table = element("div");
    const says = live();

    function draw() {
      const head = tokens.map((token, place) =>
        element("th", place === chosen.value ? { scope: "col", "aria-current": "true" } : { scope: "col" }, token));
      const rows = attentions.map(({ name, weights }) =>
        element("tr", {}, element("th", { scope: "row" }, name),
          ...weights[chosen.value].map((share, place) =>
            element("td", { class: place > chosen.value ? (share ? "ahead" : "hidden") : "past",
              style: `--share: ${share}` }, share ? String(Math.round(100 * share)) : ""))));
      table.replaceChildren(element("table", { class: "words" },
        element("caption", {}, `what ${tokens[chosen.value]} reads, in percent`),
        element("thead", {}, element("tr", {}, element("td"), ...head)),
        element("tbody", {}, ...rows)));
      says.replaceChildren(element("p", {}, "It reads most from: ",
        attentions.map(({ name, weights }) =>
          `${name}: ${most(weights[chosen.value]).map((place) => tokens[place]).join(", ")}`).join("; "), "."));
    }
    draw();
    take(box, chosen.row, table, says);
  }

  return { most, show };
})();
