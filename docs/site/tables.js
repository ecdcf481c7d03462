// A table that is wider than the page is wrapped by the theme; it scrolls by the keyboard too.
const reachable = () => document.querySelectorAll(".md-typeset__scrollwrap").forEach((wide) => { wide.tabIndex = 0; });
new MutationObserver(reachable).observe(document.body, { childList: true, subtree: true });
reachable();
