// A judge in the page: an expression for causal weights, put before the laws that plain arrays can
// hold. Small texts are tried in order of size, so what breaks a law first is its smallest example.
touch.judge = (() => {
  const { scores, masked, softmax, mix } = touch.attention;
  const VALUES = [0, 1, 2, -0.5]; // a token is one number: its key and its value; its query is one more
  const FAR = [1, 1e3, 1e6, 1e9, 1e12];
  const LONGEST = 9;

  // Returns every text of up to three tokens, and some that are longer.
  function texts() {
    let last = [[]];
    const all = [];
    for (let time = 1; time <= 3; time++) {
      last = last.flatMap((text) => VALUES.map((value) => [...text, value]));
      all.push(...last);
    }
    for (let time = 4; time <= LONGEST; time++)
      all.push([...Array(time).keys()].map((place) => VALUES[(place * place + time) % VALUES.length]));
    return all;
  }

  const between = (text, factor = 1) =>
    scores(text.map((x) => [factor * (x + 1)]), text.map((x) => [x]));
  const outputs = (weigh, text) =>
    mix(weigh(between(text)), text.map((x) => [x])).map(([number]) => number);
  const differs = (one, other) => !(Math.abs(one - other) <= 1e-9); // also if one is nan
  const ahead = (row, t) => row.slice(t + 1);

  // Each law looks at one text and returns what is wrong with it, or nothing.
  const LAWS = {
    "no-future": (weigh, text) => {
      const before = outputs(weigh, text);
      for (let cut = 1; cut < text.length; cut++) {
        const changed = text.map((x, place) => (place < cut ? x : x + 1));
        const wrong = outputs(weigh, changed).slice(0, cut).findIndex((y, t) => differs(y, before[t]));
        if (wrong >= 0)
          return { text, then: changed, at: `output ${wrong}`, expected: before[wrong], got: outputs(weigh, changed)[wrong] };
      }
      return null;
    },
    "prefix-is-self-attention": (weigh, text) => {
      const whole = outputs(weigh, text);
      for (let t = 0; t < text.length; t++) {
        const expected = outputs(softmax, text.slice(0, t + 1))[t];
        if (differs(whole[t], expected)) return { text, at: `output ${t}`, expected, got: whole[t] };
      }
      return null;
    },
    "rows-are-distributions": (weigh, text) => {
      for (const [t, row] of weigh(between(text)).entries()) {
        const sum = row.reduce((one, other) => one + other, 0);
        if (differs(sum, 1)) return { text, at: `sum of row ${t}`, expected: 1, got: sum };
        const least = Math.min(...row);
        if (least < 0) return { text, at: `least weight of row ${t}`, expected: 0, got: least };
      }
      return null;
    },
    "future-weighs-nothing": (weigh, text) => {
      for (const factor of FAR)
        for (const [t, row] of weigh(between(text, factor)).entries()) {
          const wrong = ahead(row, t).findIndex((weight) => weight !== 0);
          const where = (j) => `weight of ${j} in row ${t}` + (factor > 1 ? `, scores times ${factor}` : "");
          if (wrong >= 0) return { text, at: where(t + 1 + wrong), expected: 0, got: row[t + 1 + wrong] };
          const nan = row.findIndex(Number.isNaN);
          if (nan >= 0) return { text, at: where(nan), expected: "a number", got: NaN };
        }
      return null;
    },
    "first-reads-itself": (weigh, text) => {
      const [got] = outputs(weigh, text);
      return differs(got, text[0]) ? { text, at: "output 0", expected: text[0], got } : null;
    },
  };
  const laws = () => Object.keys(LAWS);

  // Returns what an expression computes from scores. Only what a reader has typed comes here.
  function read(expression) {
    const call = new Function("scores", "masked", "softmax", `"use strict"; return (${expression});`);
    return (rows) => {
      const weights = call(rows.map((row) => [...row]), masked, softmax);
      const square = Array.isArray(weights) && weights.length === rows.length &&
        weights.every((row) => Array.isArray(row) && row.length === rows.length && row.every((one) => typeof one === "number"));
      if (!square) throw new TypeError("it must give a row for each token, with a number for each token");
      return weights;
    };
  }

  // Returns the weights of an expression.
  const weights = (expression, rows) => read(expression)(rows);

  // Returns for each law the smallest text that breaks it, or nothing.
  function verdict(expression) {
    const weigh = read(expression);
    const tried = texts();
    return Object.entries(LAWS).map(([law, breaks]) => {
      for (const text of tried) {
        const found = breaks(weigh, text);
        if (found) return { law, found };
      }
      return { law, found: null };
    });
  }

  const say = (one) => (Number.isNaN(one) ? "nan" : typeof one === "number" ? String(Number(one.toFixed(4))).replace("-", "−") : one);
  const list = (text) => text.map(say).join(", ");

  function show(box) {
    const { element, data, live, take } = touch.controls;
    const { expressions, page, others } = data(box);
    const code = element("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off" });
    const buttons = expressions.map(({ name, expression }) => {
      const button = element("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        code.value = expression;
        draw();
      });
      return button;
    });
    const says = live();
    let waiting = null;

    function example({ text, then, at, expected, got }) {
      const row = (name, ...cells) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, ...cells));
      return element("table", { class: "pair" }, element("tbody", {},
        row("tokens", list(text)), ...(then ? [row("changed to", list(then))] : []),
        row(at, "expected ", element("b", {}, say(expected)), ", got ", element("b", {}, say(got)))));
    }

    function draw() {
      let found;
      try {
        found = verdict(code.value);
      } catch (error) {
        says.className = "says broken";
        says.replaceChildren(element("p", {}, element("strong", {}, "Cannot be run. "), String(error.message)));
        return;
      }
      const broken = found.filter((one) => one.found);
      const lines = found.map((one) => {
        const link = element("a", { href: `${page}#causal.${one.law}` }, one.law);
        return one.found
          ? element("li", {}, element("strong", {}, "BROKEN "), link, example(one.found))
          : element("li", {}, "holds ", link);
      });
      says.className = broken.length ? "says broken" : "says";
      says.replaceChildren(
        element("p", {}, element("strong", {}, `${found.length - broken.length} of ${found.length} laws hold.`)),
        element("ul", {}, ...lines));
    }

    code.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(draw, 300); // what is half typed is not judged
    });
    code.value = expressions[0].expression;
    draw();
    const label = element("label", {}, element("span", {}, "weights ="), code);
    const rest = element("p", {}, element("small", {},
      `Tried on ${texts().length} texts of 1 to ${LONGEST} tokens. The other ${others} laws need Python: `,
      element("code", {}, "nox -s judge"), "."));
    take(box, element("div", {}, ...buttons), label, says, rest);
  }

  return { laws, texts, weights, verdict, show };
})();
