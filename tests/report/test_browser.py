"""The page in a real browser, where there is one: pip install playwright, and chromium on the path."""

import shutil

import pytest

from eosbench.report import write

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")

SHOWN = "[...document.querySelectorAll('article.claim')].filter(c => c.checkVisibility()).map(c => c.id)"


def eventually(page, condition):
    """Playwright's own waiting takes eval, which the page's policy forbids."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


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


def test_without_javascript_everything_is_there_but_the_filter(chromium, url):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    assert page.locator("article.claim").count() == 13
    assert not page.locator("form.filter").is_visible()
    assert page.locator("math").first.is_visible()
    context.close()


@pytest.mark.parametrize("width", [400, 1440])
def test_nothing_is_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width
