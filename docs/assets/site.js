// The theme's search is a dialog without a name, which a screen reader would announce.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

// The theme's search reads the "a" of "what is a token" as the beginning of any word: such words are
// not sent to it, unless there are no others. A message of type 2 is a query.
const small = new Set(`a an and are as at be by can do does for from has have how i in is it its me
  my of on or so that the this to too was what when where which why will with you your`.split(/\s+/));
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  if (message?.type === 2 && typeof message.data === "string") {
    const words = message.data.split(/\s+/);
    const telling = words.filter((word) => !small.has(word.toLowerCase().replace(/\W+$/, "")));
    message = {...message, data: (telling.length ? telling : words).join(" ")};
  }
  return post.call(this, message, ...rest);
};

// What is folded is there from now on, and can be found in the page (assets/site.css).
addEventListener("load", () => setTimeout(() => document.documentElement.classList.add("started")));

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
