// What things to touch are made of: elements, sliders with labels, words that are read aloud.
touch.controls = (() => {
  // Returns an element; its children are elements and texts.
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // Returns what the page's Python handed over.
  const data = (box) => JSON.parse(box.querySelector("script").textContent);

  // Returns a slider over whole numbers: its `row` to be placed, its `value` to be read and set.
  function slider(text, least, most, value, changed, say = String) {
    const input = element("input", { type: "range", min: least, max: most, step: 1, value });
    const output = element("b"); // an <output> would take the label for itself
    const row = element("label", { class: "slider" }, element("span", {}, `${text} `, output), input);
    const show = () => {
      output.textContent = say(+input.value);
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => {
      show();
      changed();
    });
    show();
    return {
      row,
      input,
      get value() { return +input.value; },
      set value(number) {
        input.value = number;
        show();
      },
      set most(number) {
        input.max = number;
        show();
      },
    };
  }

  // Returns a place for sentences that a screen reader says when they change.
  const live = () => element("div", { "aria-live": "polite", class: "says" });

  // Draws into the box in place of its still figure.
  function take(box, ...children) {
    box.replaceChildren(element("div", { class: "touch" }, ...children));
  }

  return { element, data, slider, live, take };
})();
