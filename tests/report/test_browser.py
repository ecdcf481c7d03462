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
        ("document", "summary-2022", ["summary/beats-state-of-the-art"]),
    ):
        page.select_option(f"select[name={field}]", value)
        assert page.evaluate(SHOWN) == expected
        page.click("button[type=reset]")
        eventually(page, f"{SHOWN}.length == 13")
    page.fill("input[name=text]", "preimages period-2")
    assert page.evaluate(SHOWN) == ["orbit/quartic"]
    assert page.inner_text("output") == "1 of 13 claims"


def test_the_filter_narrows_every_list_of_claims(page):
    page.select_option("select[name=severity]", "wrong constant")
    listed = "[...document.querySelectorAll('[data-claim]')].filter(e => e.checkVisibility() && !e.matches('.faded'))"
    assert page.evaluate(f"[...new Set({listed}.map(e => e.dataset.claim))]") == ["phase-two/loss-sqrt"]
    assert page.evaluate(f"{listed}.map(e => e.tagName)") == ["LI", "DIV", "ARTICLE"]
    headings = "[...document.querySelectorAll('main h2, main h3')].filter(e => e.checkVisibility())"
    assert page.evaluate(f"{headings}.map(e => e.textContent.trim().split(' ')[0])") == [
        "All", "phase", "Where", "Wrong", "phase", "phase-two/loss-sqrt",
    ]  # fmt: skip
    assert page.evaluate("document.querySelectorAll('.sources > li:not([hidden])').length") == 1
    page.select_option("select[name=topic]", "orbit")
    page.select_option("select[name=severity]", "missing hypothesis")
    assert page.locator("h3:visible [data-count]").inner_text() == "1"
    page.click("button[type=reset]")
    eventually(page, "document.querySelectorAll('main [hidden], main .faded').length == 0")


def test_what_no_claim_checks_is_found_by_its_document_and_its_words_alone(page):
    shown = "[...document.querySelectorAll('[data-statement]')].filter(e => !e.hidden).map(e => e.dataset.statement)"
    everything = page.evaluate(shown)
    page.select_option("select[name=document]", "chen-bruna-poster")
    assert page.evaluate(shown) == ["chen-bruna-poster"] * 3  # two statements, and a section that has none
    page.select_option("select[name=verdict]", "holds")
    assert page.evaluate(shown) == []
    page.click("button[type=reset]")
    page.fill("input[name=text]", "it explodes")
    assert page.evaluate(shown) == ["chen-bruna-poster"]
    page.fill("input[name=text]", "")
    assert page.evaluate(shown) == everything


def test_the_state_of_the_filter_is_in_the_address(page, url):
    page.select_option("select[name=severity]", "wrong constant")
    page.fill("input[name=text]", "1/2 sum")
    eventually(page, "location.hash == '#text=1%2F2+sum&severity=wrong+constant'")
    page.requests.clear()
    page.reload()
    assert page.evaluate(SHOWN) == ["phase-two/loss-sqrt"]
    assert page.input_value("input[name=text]") == "1/2 sum"
    assert page.inner_text("output") == "1 of 13 claims"
    page.click("button[type=reset]")
    eventually(page, "location.hash == ''")
    assert len(page.evaluate(SHOWN)) == 13


def test_a_link_opens_a_filtered_view_and_back_leaves_it(page):
    page.click(".counts a:has-text('refuted')")
    eventually(page, f"{SHOWN}.length == 1")
    assert page.evaluate("location.hash") == "#verdict=refuted"
    assert page.input_value("select[name=verdict]") == "refuted"
    page.go_back()
    eventually(page, f"{SHOWN}.length == 13")


def test_a_link_to_what_this_report_has_not_finds_nothing(page):
    page.evaluate("location.hash = '#document=some-other'")
    eventually(page, f"{SHOWN}.length == 0")
    assert page.input_value("select[name=document]") == "some-other"
    assert page.inner_text("output") == "0 of 13 claims"


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


@pytest.mark.parametrize("id", ["balancing/scalar", "edge/hovers", "relu/alignment"])
def test_a_jump_arrives_at_once(chromium, url, id):
    """Both on the way in and on the page: within a frame, whatever was not laid out yet."""
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    top = f"document.getElementById('{id}').getBoundingClientRect().top"
    page.goto(f"{url}#{id}")
    assert 0 <= page.evaluate(top) < 200
    page.evaluate("scrollTo(0, 0)")
    arrived = (
        "new Promise(done => { location.hash = '#claims'; location.hash = '#ID';"
        "requestAnimationFrame(() => requestAnimationFrame(() => done(TOP))); })"
    )
    assert 0 <= page.evaluate(arrived.replace("ID", id).replace("TOP", top)) < 200
    page.close()


def test_the_value_of_a_curve_is_told_under_the_pointer(page):
    plot = page.locator("[id='orbit/quartic'] .plot").first
    plot.scroll_into_view_if_needed()
    # Where step 60 is and x = 1, by the scale that the figure carries: the level line of the minimum has its end there.
    scale = [[float(part) for part in plot.get_attribute(f"data-{axis}").split()] for axis in "xy"]
    share = [(value - low) / (high - low) for value, (_, _, low, high) in zip((60, 1), scale, strict=True)]
    pixel = [start + s * (end - start) for s, (start, end, _, _) in zip(share, scale, strict=True)]
    told = "[...document.querySelectorAll('.tip div')].map(row => row.textContent)"
    bound = time.monotonic() + 30
    while page.evaluate(told) != ["the minimum", "step t 60", "xt 1"] or not page.locator(".tip").is_visible():
        assert time.monotonic() < bound, f"the tip says {page.evaluate(told)}"
        # The page scrolls still, and what comes into view is laid out, by which the plot moves and the tip is hidden.
        box = plot.bounding_box()
        unit = box["width"] / 388.8
        page.mouse.move(box["x"] + unit * pixel[0] + 3, box["y"] + unit * pixel[1] + 3)
        page.wait_for_timeout(50)
    page.mouse.move(box["x"] - 200, box["y"])
    eventually(page, "!document.querySelector('.tip').checkVisibility()")


def test_an_id_a_command_and_a_citation_can_be_copied(page):
    page.evaluate("void (navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); })")
    card = page.locator("[id='phase-two/loss-sqrt']")
    card.scroll_into_view_if_needed()
    for near, beginning in (
        ("th .copied", "claims/phase_two/test_loss_sqrt.py::test_the_printed_constant[eta=0.01]"),
        (".command .copied", "pytest claims/phase_two/test_loss_sqrt.py::test_the_sum_of_two_losses"),
        (".citation p", "eosbench 0.1.0, commit 4be1c07 with uncommitted changes, 2026-11-22: phase-two/loss-sqrt is"),
        (".citation pre", "@misc{phase-two/loss-sqrt,"),
    ):
        if near.startswith(".citation p") and not card.locator(".citation p").is_visible():
            card.locator(".citation summary").click()
        button = card.locator(f"{near} + button").first
        button.click()
        assert page.evaluate("window.copied").startswith(beginning)
        assert button.inner_text() == "copied"


def test_without_a_clipboard_the_text_is_selected(page):
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('no leave')))")
    card = page.locator("[id='phase-two/loss-sqrt']")
    card.scroll_into_view_if_needed()
    card.locator(".command .copied + button").click()
    eventually(page, "getSelection().toString().startsWith('pytest claims/phase_two')")


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


def test_a_formula_that_is_wider_than_the_window_scrolls_by_keyboard(chromium, recorder, tmp_path):
    """Also in a window that becomes narrow, and no longer in one that becomes wide."""
    wide = r"$\frac{" + "+".join(f"a_{{{i}}}" for i in range(16)) + "}{b}$"
    recorder.simple("toy/claim", printed=wide)
    recorder.end()
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    page.goto(write(recorder.write(tmp_path / "e.jsonl"), tmp_path).report.as_uri())
    reached = "document.querySelector('blockquote').tabIndex == 0"
    assert not page.evaluate(reached)
    page.set_viewport_size({"width": 400, "height": 900})
    eventually(page, reached)
    page.set_viewport_size({"width": 1440, "height": 900})
    eventually(page, f"!({reached})")
    page.close()


def test_a_filtered_view_is_printed_as_such(page):
    page.select_option("select[name=severity]", "wrong constant")
    page.emulate_media(media="print")
    assert page.locator("article.claim:visible").count() == 1
    assert page.inner_text(".filtered") == "1 of 13 claims: severity wrong constant"


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


def test_what_is_printed_is_complete(page):
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("details[open]").count() < page.locator("details").count()
    assert page.locator(".comparisons td").count() > 350
    for selector in ("td", "blockquote", "figure", ".constant", ".controls li", ".erratum-row", ".id", ".citation p"):
        assert page.locator(selector).count() == page.locator(f"{selector}:visible").count() > 0, selector
    for selector in ("button", ".filter", ".citation pre"):
        assert page.locator(f"{selector}:visible").count() == 0, selector
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert min(ratio / asked for _, ratio, asked in page.evaluate(CONTRASTS)) >= 1
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
    assert 5 < pages < 30
