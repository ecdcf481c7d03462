"use strict";
(() => {
  const form = document.querySelector("form.filter");
  const claims = [...document.querySelectorAll("article.claim")];
  const tiles = new Map([...document.querySelectorAll("[data-claim]")].map(tile => [tile.dataset.claim, tile]));
  const texts = new Map(claims.map(claim => [claim, claim.textContent.toLowerCase()]));
  const output = form.querySelector("output");

  const filter = () => {
    const wanted = Object.fromEntries(new FormData(form));
    const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const claim of claims) {
      const match = words.every(word => texts.get(claim).includes(word))
        && (!wanted.topic || claim.dataset.topic === wanted.topic)
        && (!wanted.document || claim.dataset.document === wanted.document)
        && (!wanted.verdict || claim.dataset.verdict.startsWith(wanted.verdict) || claim.dataset.verdict.endsWith(wanted.verdict))
        && (!wanted.severity || claim.dataset.severity === wanted.severity)
        && (!wanted.grade || claim.dataset.grade === wanted.grade);
      claim.hidden = !match;
      tiles.get(claim.id)?.classList.toggle("faded", !match);
      shown += match;
    }
    for (const topic of document.querySelectorAll(".topic-section"))
      topic.hidden = !topic.querySelector("article.claim:not([hidden])");
    output.value = shown === claims.length ? "" : `${shown} of ${claims.length} claims`;
  };

  // A link to a claim that the filter hides shows the claim, one to a document its contents.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.closest("[hidden]")) {
      form.reset();
      filter();
      target.scrollIntoView();
    }
    const contents = target?.querySelector(":scope > .contents-of");
    if (contents) contents.open = true;
  };

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  addEventListener("hashchange", reveal);
  // Links within an image would be lost to a screen reader, which has the list; a mouse may click the boxes.
  for (const box of document.querySelectorAll("[data-to]"))
    box.addEventListener("click", () => { location.hash = box.dataset.to; });
  // A formula that is wider than the window scrolls in its box, also by keyboard.
  for (const box of document.querySelectorAll("blockquote"))
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  addEventListener("keydown", event => {
    if (event.key === "/" && !/^(input|select|textarea)$/i.test(event.target.tagName)) {
      event.preventDefault();
      form.elements.text.focus();
    }
  });
})();
