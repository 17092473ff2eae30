// The settings of decoding, on the probabilities that a model gave to the words after a text.
// Needs decoding.js.
touch.settings = (() => {
  const DRAWS = 10;

  function show(box) {
    const { element, data, slider } = touch.controls;
    const { distribution, ranked, softmax, draw } = touch.decoding;
    const told = data(box), shown = box.querySelectorAll(".alternatives li").length;
    const [controls, rows, drawn] = [".controls", ".alternatives", ".drawn"]
      .map((name) => box.querySelector(name));
    const hundredths = (twentieths) => (twentieths / 20).toFixed(2);
    const [temperature, k, p, min] = [
      slider("Temperature", 0, 30, 10, change, (tenths) => (tenths ? (tenths / 10).toFixed(1) : "0, greedy")),
      slider("Top-k", 1, 21, 21, change, (k) => (k > 20 ? "all" : String(k))),
      slider("Top-p", 1, 20, 20, change, (part) => (part < 20 ? hundredths(part) : "1, all")),
      slider("Min-p", 0, 20, 0, change, (part) => (part ? hundredths(part) : "0, all")),
    ];
    const context = element("select", {},
      ...told.contexts.map(({ text }, at) => element("option", { value: at }, text)));
    context.addEventListener("change", change);
    const says = element("p", { class: "says", "aria-live": "polite" });
    const button = element("button", { type: "button" }, `Draw ${DRAWS} words`);
    button.addEventListener("click", () => {
      const shares = chances();
      const ids = Array.from({ length: DRAWS }, () => draw(shares, Math.random()));
      drawn.replaceChildren(...ids.map((id) => element("span", {}, told.vocabulary[id])));
    });
    controls.replaceChildren(
      element("label", {}, element("span", {}, "The text so far"), context),
      element("div", { class: "dials" }, ...[temperature, k, p, min].map((each) => each.row)),
      button,
      says,
    );

    const logits = () => told.contexts[context.value].logits;
    const chances = () => distribution(logits(), {
      temperature: temperature.value / 10,
      k: k.value > 20 ? null : k.value,
      p: p.value / 20,
      min: min.value / 20,
    });

    function change() {
      const before = softmax(logits()), shares = chances();
      rows.replaceChildren(...ranked(before).slice(0, shown).map((id) =>
        element("li", shares[id] ? {} : { class: "dropped" },
          element("span", { class: "token" }, told.vocabulary[id]),
          element("span", { class: "bar", style: `--share: ${shares[id]}; --before: ${before[id]}` }),
          element("span", {}, `${(100 * shares[id]).toFixed(1)} %`))));
      const kept = shares.filter((share) => share > 0).length;
      says.textContent = `${kept} of ${shares.length} words stay.`;
      drawn.replaceChildren();
    }

    change();
  }

  return { show };
})();
