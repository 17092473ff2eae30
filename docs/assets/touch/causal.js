// The causal mask, whose edge can be dragged, and the law that breaks.
touch.causal = (() => {
  const { causal } = touch.attention;
  const EPSILON = 1e-12;

  // Looks at all texts of two words: does the first word read the same if the second is another?
  // Returns the first such text whose first word does not, or simply the first one.
  // Words are numbers, and `scores` says how each word scores each.
  function twoTokens(scores, diagonal) {
    const words = scores.map((_, word) => word);
    const reads = (first, second) => {
      const rows = [first, second].map((query) => [first, second].map((key) => scores[query][key]));
      const shares = words.map(() => 0);
      causal(rows, diagonal)[0].forEach((weight, j) => { shares[[first, second][j]] += weight; });
      return shares;
    };
    const all = words.flatMap((first) =>
      words.flatMap((second) => words.map((other) => [first, second, other])));
    const distinct = all.filter((three) => new Set(three).size === 3);
    const tried = distinct.map(([first, second, other]) => {
      const [before, after] = [reads(first, second), reads(first, other)];
      const broken = before.some((share, i) => Math.abs(share - after[i]) > EPSILON);
      return { first, second, other, before, after, broken };
    });
    return tried.find((one) => one.broken) ?? tried[0];
  }

  // Returns the law that the mask breaks, or nothing.
  function breaks(scores, diagonal) {
    if (causal(scores, diagonal)[0].some(Number.isNaN)) return "first-reads-itself";
    return twoTokens(scores, diagonal).broken ? "no-future" : null;
  }

  // Returns where a mask's edge is if it goes through a point: x in columns, y in rows.
  const edge = (x, y, most) => Math.min(Math.max(Math.round(x - y + 0.5), 0), most);

  const short = (number) => (Number.isNaN(number) ? "nan" : String(Number(number.toFixed(2))));

  function show(box) {
    const { element, data, slider, live, take } = touch.controls;
    const { tokens, scores } = data(box);
    const most = tokens.length;
    const meaning = (diagonal) =>
      ["hides the word itself, too", "hides every later word", "shows the next word"][diagonal] ??
      (diagonal === most ? "hides nothing" : `shows ${diagonal - 1} later words`);
    const control = slider("Mask:", 0, most, 1, draw,
      (diagonal) => `triu(${diagonal}), ${meaning(diagonal)}`);
    const tables = element("div", { class: "drag" });
    const says = live();

    function table(name, rows, text, diagonal) {
      const head = element("tr", {}, element("td"),
        ...tokens.map((token) => element("th", { scope: "col" }, token)));
      const body = rows.map((row, t) =>
        element("tr", {}, element("th", { scope: "row" }, tokens[t]),
          ...row.map((number, j) => {
            const hidden = j >= t + diagonal;
            const edge = j === t + diagonal ? " edge" : "";
            const kind = hidden ? `hidden${edge}` : j > t ? "ahead" : "past";
            const share = name === "weights" ? number || 0 : 0;
            return element("td", { class: kind, style: `--share: ${share}` }, text(number, hidden));
          })));
      return element("table", {}, element("caption", {}, name), element("thead", {}, head), element("tbody", {}, ...body));
    }

    const reading = (shares) =>
      shares.map((share, word) => [share, tokens[word]]).filter(([share]) => share !== 0)
        .map(([share, word]) => `${short(share)} ${word}`).join(" + ");

    function draw() {
      const diagonal = control.value;
      tables.replaceChildren(
        table("scores", scores, (number, hidden) => (hidden ? "−∞" : short(number)), diagonal),
        table("weights", causal(scores, diagonal), short, diagonal));
      const law = breaks(scores, diagonal);
      const { first, second, other, before, after } = twoTokens(scores, diagonal);
      const name = law ?? "no-future";
      const link = element("a", { href: `#causal.${name}` }, name);
      const em = (word) => element("em", {}, tokens[word]);
      const why = law === "first-reads-itself"
        ? [em(0), " may not even read itself, and the softmax of nothing is nan."]
        : law
          ? [em(first), " changes with the word that comes after it:"]
          : [em(first), " reads the same, whatever comes after it:"];
      const row = (word, shares) =>
        element("tr", {}, element("th", { scope: "row" }, em(first), " ", em(word)),
          element("td", {}, reading(shares) || "nan"));
      says.className = law ? "says broken" : "says";
      says.replaceChildren(
        element("p", {}, element("strong", {}, "The law ", link, law ? " is broken. " : " holds. "), ...why),
        element("table", { class: "pair" },
          element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "text"),
            element("th", { scope: "col" }, em(first), " reads"))),
          element("tbody", {}, row(second, before), row(other, after))));
    }

    let held = -1; // which of the tables a finger or the mouse holds
    function drag(event) {
      if (event.type === "pointerdown") {
        held = [...tables.children].indexOf(event.target.closest("table"));
        if (held >= 0) tables.setPointerCapture(event.pointerId);
      }
      if (held < 0) return;
      const body = tables.children[held].tBodies[0];
      const from = body.rows[0].cells[1].getBoundingClientRect();
      const to = body.getBoundingClientRect();
      const x = ((event.clientX - from.left) / (to.right - from.left)) * most;
      const y = ((event.clientY - to.top) / to.height) * most;
      const diagonal = edge(x, y, most);
      if (diagonal === control.value) return;
      control.value = diagonal;
      draw();
    }
    for (const type of ["pointerdown", "pointermove"]) tables.addEventListener(type, drag);
    tables.addEventListener("lostpointercapture", () => { held = -1; });
    draw();
    take(box, control.row, element("div", { class: "beside" }, tables, says));
  }

  return { twoTokens, breaks, edge, show };
})();
