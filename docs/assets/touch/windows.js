// Windows over the words of a text: what each reads, what it asks for, what is left aside.
touch.windows = (() => {
  // Returns how many windows fit into a text of so many tokens.
  const count = (nTokens, contextLength, stride) =>
    Math.floor((nTokens - contextLength - 1) / stride) + 1;

  // Returns the inputs and the targets of one window.
  function window(tokens, index, contextLength, stride) {
    const start = index * stride;
    return {
      inputs: tokens.slice(start, start + contextLength),
      targets: tokens.slice(start + 1, start + contextLength + 1),
    };
  }

  // Returns what each place of the text is to a window: read, asked for as last target, or neither.
  function places(nTokens, index, contextLength, stride) {
    const { inputs, targets } = window([...Array(nTokens).keys()], index, contextLength, stride);
    return [...Array(nTokens).keys()].map((place) =>
      inputs.includes(place) ? "read" : targets.includes(place) ? "asked" : "");
  }

  function show(box) {
    const { element, data, slider, live, take } = touch.controls;
    const { tokens, contextLength, stride } = data(box);
    const n = tokens.length;
    const length = slider("context_length:", 1, n - 1, contextLength, draw);
    const step = slider("stride:", 1, n - 1, stride, draw);
    const chosen = slider("window:", 0, n - 1, 0, draw,
      (index) => `${index} of 0 to ${count(n, length.value, step.value) - 1}`);
    const grid = element("div");
    const one = element("div");
    const says = live();
    const cells = (kind, words) => words.map((word) => element(kind, {}, word));
    const line = (head, words) => // a column for each word of the text, so that words keep their width
      element("tr", {}, element("th", { scope: "row" }, head), ...cells("td", words),
        ...cells("td", Array(n - words.length).fill("")));

    function draw() {
      const total = count(n, length.value, step.value);
      chosen.most = total - 1;
      const rows = [...Array(total).keys()].map((index) => {
        const kinds = places(n, index, length.value, step.value);
        const current = index === chosen.value ? { "aria-current": "true" } : {};
        return element("tr", current, element("th", { scope: "row" }, String(index)),
          ...kinds.map((kind, place) => element("td", { class: kind }, kind ? tokens[place] : "")));
      });
      grid.replaceChildren(element("table", { class: "words" },
        element("caption", {}, "windows over the text"),
        element("tbody", {}, line("text", tokens), ...rows)));
      const { inputs, targets } = window(tokens, chosen.value, length.value, step.value);
      one.replaceChildren(element("table", { class: "words" },
        element("caption", {}, `window ${chosen.value}: below each input its target`),
        element("tbody", {}, line("inputs", inputs), line("targets", targets))));
      const end = (total - 1) * step.value + length.value + 1; // behind the last target
      const rest = tokens.slice(end).join(" ");
      const again = Math.max(length.value - step.value, 0);
      const skipped = Math.max(step.value - length.value, 0);
      const overlap = again
        ? `Neighbours share ${again} of the words they read. `
        : skipped ? `Between neighbours ${skipped} of the words are not read. ` : "No word is read twice. ";
      says.replaceChildren(element("p", {}, element("strong", {},
        total === 1 ? "1 window. " : `${total} windows. `), total > 1 ? overlap : "",
        ...(rest ? ["Left aside at the end: ", element("em", {}, rest)] : ["Nothing is left aside."])));
    }
    draw();
    take(box, element("div", { class: "beside" }, length.row, step.row, chosen.row), grid, one, says);
  }

  return { count, window, places, show };
})();
