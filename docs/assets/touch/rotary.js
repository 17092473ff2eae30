// Rotary positions as hands of a clock: two tokens, turned by their positions, and their score.
touch.rotary = (() => {
  // Returns a vector turned by its position; feature i is paired with feature i + d_head / 2.
  function rotate(x, position, theta = 10000) {
    const half = x.length / 2;
    const turned = [...x];
    for (let i = 0; i < half; i++) {
      const angle = position / theta ** ((2 * i) / x.length);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      turned[i] = x[i] * cos - x[i + half] * sin;
      turned[i + half] = x[i + half] * cos + x[i] * sin;
    }
    return turned;
  }

  // Returns the dot product of a query and a key, each turned by its own position.
  function score(query, key, queryPosition, keyPosition, theta = 10000) {
    const turned = rotate(key, keyPosition, theta);
    return rotate(query, queryPosition, theta).reduce((sum, x, i) => sum + x * turned[i], 0);
  }

  const say = (number) => number.toFixed(3).replace("-", "−");

  function show(box) {
    const { element, data, slider, live, take } = touch.controls;
    const { query, key, words } = data(box);
    const readers = slider(`${words.query}, the query, at`, 0, 12, 2, draw);
    const read = slider(`${words.key}, the key, at`, 0, 12, 0, draw);
    const before = slider("more tokens in front of both:", 0, 30, 0, draw);
    const clock = element("div", { class: "clock" });
    const says = live();
    let last = null;

    const svg = (name, attributes, text = "") => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [one, value] of Object.entries(attributes)) made.setAttribute(one, value);
      made.textContent = text;
      return made;
    };
    const at = (radius, angle) => [radius * Math.cos(angle), -radius * Math.sin(angle)];

      function hand([x, y], name, kind) {
      const [angle, length] = [Math.atan2(y, x), 85 * Math.hypot(x, y)];
      const tip = [[length, 0], [length - 10, 5 / length], [length - 10, -5 / length]];
      const points = tip.map(([radius, aside]) => at(radius, angle + aside));
      const [wordX, wordY] = at(length + 18, angle);
      return [
        svg("line", { x1: 0, y1: 0, x2: points[0][0], y2: points[0][1], class: kind }),
        svg("polygon", { points: points.join(" "), class: kind }),
        svg("text", { x: wordX, y: wordY, class: kind }, name),
      ];
    }

  function draw() {
      const [t, j] = [readers.value + before.value, read.value + before.value];
      const turned = [rotate(query, t), rotate(key, j)];
      const [to, from] = turned.map(([x, y]) => Math.atan2(y, x));
      const between = Math.atan2(Math.sin(to - from), Math.cos(to - from));
      const [start, end] = [at(30, from), at(30, from + between)];
      const picture = svg("svg", { viewBox: "-120 -110 240 220", role: "img",
        "aria-label": `${words.query} at ${t} and ${words.key} at ${j}, as two hands of a clock` });
      picture.append(svg("circle", { r: 85 }),
        svg("path", { d: `M ${start} A 30 30 0 0 ${between > 0 ? 0 : 1} ${end}` }),
        ...hand(turned[1], words.key, "key"), ...hand(turned[0], words.query, "query"));
      clock.replaceChildren(picture);
      const value = score(query, key, t, j);
      const distance = t - j;
      const moved = last && (last.t !== t || last.j !== j);
      const verdict = !moved
        ? "Move one of them, then both."
        : last.distance === distance
          ? "Both have moved: both hands have turned, the angle between them and the score are as they were."
          : `One has moved: the score was ${say(last.value)}.`;
      const row = (name, ...cells) => element("tr", {}, element("th", { scope: "row" }, name),
        ...cells.map((cell) => element("td", {}, cell)));
      says.replaceChildren(
        element("p", {}, element("strong", {}, `score ${say(value)}`), `, distance ${distance}`.replace("-", "−")),
        element("table", { class: "pair" }, element("tbody", {},
          row(words.query, `at ${t}`, `turned by ${t} rad`),
          row(words.key, `at ${j}`, `turned by ${j} rad`))),
        element("p", { class: "verdict" }, verdict));
      last = { t, j, distance, value };
    }
    draw();
    take(box, element("div", { class: "beside" }, readers.row, read.row, before.row),
      element("div", { class: "beside" }, clock, says));
  }

  return { rotate, score, show };
})();
