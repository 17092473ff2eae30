// The theme's search is a dialog without a name, which a screen reader would announce.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

// What scrolls sideways inside the page must be within reach of a keyboard.
function reachable() {
  for (const box of document.querySelectorAll(".katex-display, .md-typeset__scrollwrap")) {
    if (box.scrollWidth > box.clientWidth) box.setAttribute("tabindex", "0");
    else box.removeAttribute("tabindex");
  }
}
addEventListener("load", reachable);
addEventListener("resize", reachable);
addEventListener("toggle", reachable, true); // what was folded had no width

// Things to touch: `<div data-touch="name">` holds a still figure until assets/touch/name.js, a plain
// script that also works from a disk, has set `touch.name.show`, which draws into the box instead.
globalThis.touch = {};
const assets = document.currentScript.src;
const loading = new Map(); // each script once, however many boxes ask for it
function load(name) {
  if (!loading.has(name))
    loading.set(name, new Promise((loaded, failed) => {
      const script = document.createElement("script");
      script.src = new URL(`touch/${name}.js`, assets);
      script.onload = loaded;
      script.onerror = failed;
      document.head.append(script);
    }));
  return loading.get(name);
}
for (const box of document.querySelectorAll("[data-touch]")) {
  const names = box.dataset.touch.split(" "); // those that the last one needs stand before it
  names
    .reduce((before, name) => before.then(() => load(name)), Promise.resolve())
    .then(() => touch[names.at(-1)].show(box));
}
