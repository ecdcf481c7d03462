"use strict";

// The filter: by what a claim is, everywhere on the page where it is listed. Its state is the fragment of the address,
// as in #verdict=refuted&document=arora-talk, so that a view can be linked.
(() => {
  const form = document.querySelector("form.filter");
  const fields = [...form.elements].map(field => field.name).filter(Boolean);
  const chosen = fields.filter(name => name !== "text");
  const claims = [...document.querySelectorAll("article.claim")];
  const listed = [...document.querySelectorAll("[data-claim]")];
  const statements = [...document.querySelectorAll("[data-statement]")];
  const groups = [...document.querySelectorAll("[data-group]")];
  const texts = new Map();

  const has = (element, words) => {
    if (words.length && !texts.has(element)) texts.set(element, element.textContent.toLowerCase());
    return words.every(word => texts.get(element).includes(word));
  };

  const matches = (claim, wanted, words) => chosen.every(name =>
    !wanted[name] || claim.dataset[name] === wanted[name]
    || (name === "verdict" && wanted[name] === "drifted" && "drifted" in claim.dataset)
  ) && has(claim, words);

  // What no claim checks has a document and words, and none of the rest.
  const mentions = (statement, wanted, words) => chosen.every(name =>
    !wanted[name] || (name === "document" && wanted[name] === statement.dataset.statement)
  ) && has(statement, words);

  const apply = () => {
    const wanted = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
    const words = (wanted.text ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const shown = new Set(claims.filter(claim => matches(claim, wanted, words)).map(claim => claim.id));
    for (const element of listed) {
      const off = !shown.has(element.dataset.claim);
      if (element instanceof SVGElement) element.classList.toggle("faded", off); // a box keeps its place in its graph
      else element.hidden = off;
    }
    for (const element of statements) element.hidden = !mentions(element, wanted, words);
    for (const group of groups)
      group.hidden = !group.querySelector("[data-claim]:not([hidden], .faded), [data-statement]:not([hidden])");
    for (const count of document.querySelectorAll("[data-count]"))
      count.textContent = count.closest("[data-group]").querySelectorAll("[data-claim]:not([hidden])").length;
    document.body.classList.toggle("narrowed", shown.size < claims.length);
    const told = shown.size < claims.length ? `${shown.size} of ${claims.length} claims` : "";
    form.querySelector("output").value = told;
    const asked = Object.entries(wanted).map(pair => pair.join(" ")).join(", ");
    document.querySelector(".filtered").textContent = told && `${told}: ${asked}`;
    return new URLSearchParams(wanted).toString();
  };

  const set = wanted => {
    for (const name of fields) {
      const field = form.elements[name], value = wanted.get(name) ?? "", options = [...field.options ?? []];
      // A link from another report may ask for what this one has not: then nothing is what it finds.
      if (options.length && !options.some(option => option.value === value)) field.add(new Option(value, value));
      field.value = value;
    }
  };

  const toResults = () => {
    const map = document.getElementById("map");
    if (map.getBoundingClientRect().top < 0) map.scrollIntoView();
  };

  let waiting;
  const changed = () => {
    const query = apply();
    toResults();
    clearTimeout(waiting);
    waiting = setTimeout(() => { // a browser takes only so many addresses in a second
      if (query || location.hash.includes("="))
        history.replaceState(null, "", query ? `#${query}` : location.pathname + location.search);
    }, 150);
  };

  // A fragment is a filter, or leads to a claim, which the filter must not hide, or to a document, which unfolds.
  const follow = event => {
    const fragment = location.hash.slice(1), asked = new URLSearchParams(fragment);
    if (!fragment || fields.some(name => asked.has(name))) {
      set(asked);
      apply();
      if (fragment && event) toResults();
      return;
    }
    const target = document.getElementById(decodeURIComponent(fragment));
    const contents = target?.querySelector(":scope > .contents-of");
    if (contents) contents.open = true;
    if (target?.closest("[hidden]")) {
      set(new URLSearchParams());
      apply();
      target.scrollIntoView();
    }
  };

  form.hidden = false;
  form.addEventListener("input", changed);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(changed));
  addEventListener("hashchange", follow);
  follow();

  addEventListener("keydown", event => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(input|select|textarea)$/i.test(event.target.tagName)) return;
    event.preventDefault();
    form.elements.text.focus();
  });

  // Links within an image would be lost to a screen reader, which has the list; a mouse may click the boxes.
  for (const box of document.querySelectorAll("g[data-claim]"))
    box.addEventListener("click", () => { location.hash = box.dataset.claim; });
})();

// What costs time for each claim is done when the claim comes near to the window.
(() => {
  const copy = async button => {
    const text = button.previousElementSibling.textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
    } catch { // no clipboard, or no leave to use it: the text is selected, for the reader's own keys
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "selected";
      return;
    }
    button.textContent = "copied";
  };

  const ready = claim => {
    for (const text of claim.querySelectorAll(".copied")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "copy";
      button.setAttribute("aria-label", `copy ${text.textContent.trim().slice(0, 100)}`);
      button.addEventListener("click", () => copy(button));
      button.addEventListener("blur", () => { button.textContent = "copy"; });
      text.after(" ", button);
    }
  };

  const near = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries)
      if (isIntersecting) {
        near.unobserve(target);
        ready(target);
      }
  }, { rootMargin: "300px" });
  for (const claim of document.querySelectorAll("article.claim")) near.observe(claim);

  // A formula that is wider than the window scrolls in its box, also by keyboard.
  const sized = new ResizeObserver(entries => {
    for (const { target } of entries)
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
  });
  for (const box of document.querySelectorAll("article blockquote")) sized.observe(box);
})();

// Values under the pointer: the point of a curve that is nearest to it, read back from the drawing by the scale of the
// axes.
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true"); // claims.json has the numbers for those who use no pointer
  document.body.append(tip);
  const here = document.createElementNS(document.querySelector("svg")?.namespaceURI ?? null, "circle");
  here.setAttribute("class", "here");
  here.setAttribute("r", "3.5");
  const drawn = new WeakMap();

  const points = plot => {
    if (!drawn.has(plot)) {
      const found = [];
      for (const path of plot.querySelectorAll("[data-curve] path[d]:not(defs *)"))
        for (const [, x, y] of path.getAttribute("d").matchAll(/[ML](-?[\d.]+) (-?[\d.]+)/g))
          found.push({ x: Number(x), y: Number(y), curve: path.closest("[data-curve]").dataset.curve });
      drawn.set(plot, found);
    }
    return drawn.get(plot);
  };

  // An axis is "pixel pixel value value", and "log" if it is; what a fifth of a pixel cannot tell is rounded away.
  const read = (axis, pixel) => {
    const [from, to, low, high, log] = axis.split(" ").map((part, i) => i < 4 ? Number(part) : part);
    const share = (pixel - from) / (to - from);
    if (log) return Number((low * (high / low) ** share).toPrecision(3));
    const value = low + (high - low) * share, fineness = Math.abs((high - low) / (to - from)) / 5;
    const digits = Math.ceil(Math.log10(Math.abs(value) / fineness));
    return digits > 0 ? Number(value.toPrecision(Math.min(digits, 12))) : 0;
  };

  const line = (...parts) => {
    const row = document.createElement("div");
    row.append(...parts);
    return row;
  };

  const show = event => {
    const plot = event.target.closest?.("figure")?.querySelector("svg[data-x]");
    const { left, top, width } = plot?.getBoundingClientRect() ?? {};
    const scale = plot?.viewBox.baseVal.width / width;
    const [x, y] = [(event.clientX - left) * scale, (event.clientY - top) * scale];
    let nearest, least = 40 ** 2; // further away than this nothing is meant
    for (const point of plot ? points(plot) : []) {
      const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (distance < least) [nearest, least] = [point, distance];
    }
    tip.hidden = !nearest;
    if (!nearest) return here.remove();
    const label = side => plot.closest("figure").querySelector(`.${side}-label`).cloneNode(true);
    tip.replaceChildren(
      line(nearest.curve),
      line(...label("x").childNodes, ` ${read(plot.dataset.x, nearest.x)}`),
      line(...label("y").childNodes, ` ${read(plot.dataset.y, nearest.y)}`),
    );
    here.setAttribute("cx", nearest.x);
    here.setAttribute("cy", nearest.y);
    plot.append(here);
    const gap = 12, beside = left + nearest.x / scale + gap, room = innerWidth - tip.offsetWidth - gap;
    tip.style.left = `${Math.max(4, beside < room ? beside : beside - 2 * gap - tip.offsetWidth)}px`;
    tip.style.top = `${Math.max(4, top + nearest.y / scale - gap - tip.offsetHeight)}px`;
  };

  addEventListener("pointermove", show);
  addEventListener("pointerdown", show);
  addEventListener("scroll", () => { tip.hidden = true; here.remove(); }, { passive: true });
})();
