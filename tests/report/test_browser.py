"""The page in a real browser, where there is one: pip install playwright, and chromium on the path."""

import re
import shutil
import time

import pytest

from eosbench.report import write

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")

UNFOLD = "document.querySelectorAll('details').forEach(d => { d.open = true; })"
SHOWN = "[...document.querySelectorAll('article.claim')].filter(c => c.checkVisibility()).map(c => c.id)"


def eventually(page, condition):
    """Wait for it as long as Playwright would, whose own waiting takes eval, which the page's policy forbids."""
    bound = time.monotonic() + 30
    while not page.evaluate(condition):
        assert time.monotonic() < bound, f"never came true: {condition}"
        page.wait_for_timeout(50)


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def url(troubled, tmp_path):
    return write(troubled, tmp_path / "out").report.as_uri()


@pytest.fixture
def page(chromium, url):
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.problems = []
    page.requests = []
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(url)
    yield page
    assert page.problems == []
    assert page.requests == [url]
    page.close()


def test_the_filter_narrows_by_text_topic_verdict_grade_and_document(page):
    everything = page.evaluate(SHOWN)
    assert len(everything) == 13
    for field, value, expected in (
        ("topic", "orbit", ["orbit/existence-1d", "orbit/quartic"]),
        ("verdict", "refuted", ["edge/every-step-size"]),
        ("verdict", "drifted", ["descent/inequality", "descent/quadratic-regimes", "edge/hovers"]),
        ("grade", "proved", ["orbit/existence-1d"]),
        ("severity", "wrong constant", ["phase-two/loss-sqrt"]),
        ("document", "4", ["summary/beats-state-of-the-art"]),
    ):
        page.select_option(f"select[name={field}]", value)
        assert page.evaluate(SHOWN) == expected
        page.click("button[type=reset]")
        eventually(page, f"{SHOWN}.length == 13")
    page.fill("input[name=text]", "preimages period-2")
    assert page.evaluate(SHOWN) == ["orbit/quartic"]
    assert page.inner_text("output") == "1 of 13 claims"


def test_the_keyboard_reaches_filter_and_claims(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "text"
    page.keyboard.type("hovers")
    assert "edge/hovers" in page.evaluate(SHOWN)
    assert page.input_value("input[name=text]") == "hovers"


def test_a_deep_link_shows_its_claim_even_if_the_filter_hid_it(page):
    page.fill("input[name=text]", "nothing has this")
    assert page.evaluate(SHOWN) == []
    page.evaluate("location.hash = '#edge/hovers'")
    eventually(page, "Math.abs(document.getElementById('edge/hovers').getBoundingClientRect().top) < 200")
    assert len(page.evaluate(SHOWN)) == 13


def test_a_link_to_a_document_unfolds_its_contents_and_a_claim_there_leads_to_its_card(page):
    contents = "document.querySelector('#document-2 > details')"
    assert not page.evaluate(f"{contents}.open")
    page.locator("[id='orbit/quartic'] .place a").click()
    eventually(page, f"{contents}.open")
    page.locator("#document-2 .stated", has_text="balancing/scalar").click()
    eventually(page, "location.hash == '#balancing/scalar'")
    eventually(page, "Math.abs(document.getElementById('balancing/scalar').getBoundingClientRect().top) < 200")


def test_without_javascript_everything_is_there_but_the_filter(chromium, url):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    assert page.locator("article.claim").count() == 13
    assert not page.locator("form.filter").is_visible()
    assert page.locator("article math").first.is_visible()
    context.close()


@pytest.mark.parametrize("unfolded", [False, True])
@pytest.mark.parametrize("width", [400, 1200, 1440])
def test_nothing_is_wider_than_the_window(page, width, unfolded):
    page.set_viewport_size({"width": width, "height": 900})
    if unfolded:
        page.evaluate(UNFOLD)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_on_a_narrow_window_a_comparison_is_a_card(page):
    page.set_viewport_size({"width": 400, "height": 900})
    page.evaluate(UNFOLD)
    tables = "[...document.querySelectorAll('.comparisons')]"
    assert page.evaluate(f"{tables}.every(t => t.getBoundingClientRect().width <= t.parentElement.clientWidth)")
    assert page.evaluate("Math.min(...[...document.querySelectorAll('.compared')].map(c => c.clientWidth))") > 250


# Every text as (text, contrast with what is behind it, contrast asked for), by the definition of WCAG 2.
CONTRASTS = """() => {
  const rgba = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (upper, lower) => [0, 1, 2].map(i => upper[i] * upper[3] + lower[i] * (1 - upper[3]));
  const luminance = colour => {
    const [r, g, b] = colour.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    const box = element.closest("g.box")?.querySelector("rect");
    const colour = rgba(box ? getComputedStyle(box).fill : getComputedStyle(element).backgroundColor);
    if (colour[3] === 1) return colour.slice(0, 3);
    return over(colour, element.parentElement ? behind(element.parentElement) : [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || /^(script|style|title|desc|option)$/i.test(element.tagName)) continue;
    if (element.closest(".hidden, .skip") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const colour = rgba(element instanceof SVGElement ? style.fill : style.color);
    for (let e = element; e; e = e.parentElement) colour[3] *= Number(getComputedStyle(e).opacity);
    const lower = behind(element);
    const [a, b] = [luminance(over(colour, lower)), luminance(lower)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    found.push([text.slice(0, 60), (a + 0.05) / (b + 0.05), large ? 3 : 4.5]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.evaluate(UNFOLD)
    found = page.evaluate(CONTRASTS)
    texts = {text for text, _, _ in found}
    # Among them a heading, a formula, a graph's box, a tick of a figure, a badge and a cell.
    assert {"All claims", "η", "orbit/quartic", "2000", "drift: expected", "satisfied"} <= texts
    assert [(text, ratio) for text, ratio, asked in found if ratio < asked] == []


def test_in_print_everything_is_unfolded_but_the_rest_of_long_tables_which_is_said(page, tmp_path):
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("details[open]").count() < page.locator("details").count()
    cells = ".comparisons:not(.long) td"
    assert page.locator(cells).count() == page.locator(f"{cells}:visible").count() > 50
    for selector in ("blockquote", "figure", ".constant", ".controls li", ".erratum-row", ".in-print"):
        assert page.locator(selector).count() == page.locator(f"{selector}:visible").count() > 0, selector
    assert page.locator(".comparisons.long tbody tr:visible").count() == 12
    assert page.locator(".in-print").inner_text() == "Printed are the first 12 of 40 comparisons; claims.json has all."
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert min(ratio / asked for _, ratio, asked in page.evaluate(CONTRASTS)) >= 1
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
    assert 5 < pages < 30
