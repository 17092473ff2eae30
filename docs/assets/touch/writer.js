// The demo's model writes in the page, token by token, with what else could have come.
touch.writer = (() => {
  const PACE = 60; // milliseconds between two tokens, for a reader to follow
  const FROM_DISK = "A page that was opened from a disk may not fetch the model: nox -s serve can.";
  const wait = (time) => new Promise((done) => setTimeout(done, time));
  const visible = (text) => text.replaceAll(" ", "␣").replaceAll("\n", "⏎");

  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  function show(box) {
    const { element, data, slider } = touch.controls;
    const { begin, append, shorten, likeliest, load } = touch.model;
    const told = data(box);
    const [controls, written, alternatives] = [".controls", ".written", ".alternatives"]
      .map((name) => box.querySelector(name));
    let model = null, text = null, given = told.given, place = told.ids.length, writing = false, run = 0;

    const button = (name, pressed) => {
      const made = element("button", { type: "button" }, name);
      made.addEventListener("click", pressed);
      return made;
    };
    const labelled = (name, control) => element("label", {}, element("span", {}, name), control);
    const prompt = element("input", { type: "text", value: told.prompt, autocomplete: "off" });
    prompt.addEventListener("keydown", (event) => event.key === "Enter" && restart());
    const write = button("Write", () => (writing ? (writing = false) : go(Infinity)));
    const one = button("One token", () => go(1));
    const says = element("p", { class: "says", "aria-live": "polite" },
      `The first click fetches the model, ${told.megabytes} MB.`);
    controls.replaceChildren(
      element("div", { class: "line" }, labelled("The text begins with", prompt),
        element("div", {}, button("Begin", restart), write, one)),
    );

    const back = slider("What follows token", 1, place, place, () => {
      const wanted = back.value;
      whenReady(() => look(wanted));
    });
    const head = element("select", {}, element("option", { value: "" }, "no head"));
    for (let block = 0; block < told.blocks; block++)
      for (let each = 0; each < told.heads; each++)
        head.append(element("option", { value: [block, each] }, `block ${block + 1}, head ${each + 1}`));
    head.addEventListener("change", () => whenReady(draw));
    controls.append(back.row);
    if (told.parts.includes("look")) controls.append(labelled("Show what is read by", head));

    const hundredths = (twentieths) => (twentieths / 20).toFixed(2);
    const dial = (name, least, most, value, say) =>
      slider(name, least, most, value, () => whenReady(draw), say);
    const dials = {
      temperature: dial("Temperature", 0, 20, 10 * told.temperature, (tenths) => String(tenths / 10)),
      k: dial("Top-k", 1, 41, 41, (k) => (k > 40 ? "all" : String(k))),
      p: dial("Top-p", 1, 20, 20 * told.p, hundredths),
      min: dial("Min-p", 0, 20, 0, hundredths),
    };
    const settings = () => ({
      temperature: dials.temperature.value / 10,
      k: dials.k.value > 40 ? null : dials.k.value,
      p: dials.p.value / 20,
      min: dials.min.value / 20,
    });
    if (told.parts.includes("settings"))
      controls.append(element("div", { class: "dials" }, ...Object.values(dials).map((each) => each.row)));
    controls.append(says);

    // Fetches the model and lets it read what the page shows; says why where it cannot.
    async function ready() {
      if (text) return true;
      says.textContent = `Fetching the model, ${told.megabytes} MB …`;
      try {
        model = await load();
      } catch (error) {
        says.textContent = location.protocol === "file:" ? FROM_DISK : `No model: ${error.message}.`;
        return false;
      }
      text ??= begin(model, told.ids);
      says.textContent = "The model is here.";
      return true;
    }

    const whenReady = async (act) => (await ready()) && act();

    async function restart() {
      writing = false;
      if (!(await ready())) return;
      const ids = touch.bpe.encode(prompt.value, model.merges);
      text = begin(model, (ids.length ? ids : [model.end]).slice(-model.config.context_length));
      given = text.ids.length;
      look(given);
    }

    async function go(most) {
      if (!(await ready())) return;
      writing = true;
      const mine = ++run; // another click may have begun a run of its own meanwhile
      says.textContent = "It writes …";
      let count = 0, spent = 0;
      for (; writing && mine === run && count < most && !full(); count++) {
        const start = performance.now();
        const shares = touch.decoding.distribution(text.steps.at(-1).logits, settings());
        append(model, text, touch.decoding.draw(shares, Math.random()));
        spent += performance.now() - start;
        look(text.ids.length);
        if (text.ids.at(-1) === model.end) break;
        if (count + 1 < most) await wait(PACE);
      }
      if (mine !== run) return;
      writing = false;
      look(text.ids.length);
      const why = full() ? " Its context is full." : "";
      says.textContent = `Tokens written: ${count}, ${(spent / count || 0).toFixed(1)} milliseconds each.${why}`;
    }

    // Goes another way: after the place that is looked at comes this token.
    async function choose(id) {
      const at = place;
      if (!(await ready())) return;
      writing = false;
      shorten(text, at);
      append(model, text, id);
      given = Math.min(given, at);
      look(text.ids.length);
    }

    const full = () => text.ids.length >= model.config.context_length;

    function look(at) {
      place = at;
      back.most = text.ids.length;
      back.value = place;
      draw();
    }

    function offer(shares, chosen) {
      alternatives.replaceChildren(...shares.map(([id, share, name]) => {
        const taken = button(name, () => choose(id));
        taken.className = "token";
        if (id === chosen) taken.setAttribute("aria-current", "true");
        return element("li", {}, taken,
          element("span", { class: "bar", style: `--share: ${share}` }),
          element("span", {}, percent(share)));
      }));
    }

    function draw() {
      const named = (id) => touch.bytes.decode(model.tokens[id]);
      const shares = likeliest(text.steps[place - 1].logits, settings());
      offer(shares.map(([id, share]) => [id, share, visible(named(id))]), text.ids[place]);
      const [block, each] = head.value.split(",");
      const reads = head.value ? text.steps[place - 1].attention[block][each] : null;
      const most = reads ? Math.max(...reads) : 1;
      if (reads)
        says.textContent = `At “${visible(named(text.ids[place - 1]))}” it reads most: ${touch.decoding.ranked(reads)
          .slice(0, 3).map((at) => `${visible(named(text.ids[at]))} ${percent(reads[at])}`).join(", ")}.`;
      written.classList.toggle("looking", reads !== null);
      written.replaceChildren(...text.ids.map((id, at) => {
        const piece = element("span", {}, named(id));
        if (at < given) piece.classList.add("given");
        if (at === place - 1) piece.classList.add("here");
        if (reads) piece.style.setProperty("--share", (reads[at] ?? 0) / most);
        piece.addEventListener("click", () => look(at + 1));
        return piece;
      }));
      const here = written.children[place - 1];
      written.scrollTop = here.offsetTop - written.offsetTop - written.clientHeight / 2;
      write.textContent = writing ? "Stop" : "Write";
      write.disabled = one.disabled = full();
    }

    offer(told.likeliest, null);
  }

  return { show };
})();
