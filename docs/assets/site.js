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
