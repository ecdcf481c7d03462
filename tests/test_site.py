"""The pages of docs/ build a site that asks nothing of the outside, with the whole reference in it."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import eosbench
from eosbench.records import KINDS

ROOT = Path(__file__).parents[1]
CLAIM_WORDS = {"Claim", "ClaimError", "Document", "Evidence", "EvidenceError", "Source"}


class Loaded(HTMLParser):
    """What a browser fetches for a page, and the anchors on it."""

    def __init__(self, html):
        super().__init__()
        self.addresses, self.anchors = [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag in ("script", "img", "iframe", "link", "source"):
            self.addresses += [attributes[name] for name in ("src", "href", "srcset") if attributes.get(name)]
        self.anchors.add(attributes.get("id"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    built = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(built)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return built


def test_a_page_fetches_nothing_from_outside(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = Loaded(page.read_text(encoding="utf-8")).addresses
        assert [address for address in loaded if re.match(r"(\w+:)?//", address)] == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_formulas_are_in_the_page(site):
    statements = (site / "statements.html").read_text(encoding="utf-8")
    assert statements.count("<math") > 100
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "FORMULA" not in text
        assert r"\frac" not in re.sub(r'alttext="[^"]*"|<code.*?</code>', "", text, flags=re.DOTALL), page.name


def test_every_public_name_has_its_docstring_in_the_reference(site):
    anchors = set()
    for page in (site / "api").glob("*.html"):
        anchors |= Loaded(page.read_text(encoding="utf-8")).anchors
    homes = {name: eosbench._HOME[name] for name in eosbench.__all__ if name in eosbench._HOME}
    assert set(homes) >= CLAIM_WORDS
    assert [name for name, home in homes.items() if f"{home}.{name}" not in anchors] == []
    links = re.findall(r'href="(api/\w+\.html)#([\w.]+)"', (site / "reference.html").read_text(encoding="utf-8"))
    assert len(links) > 100
    assert {anchor for _, anchor in links} <= anchors


def test_the_kinds_of_comparison_are_printed_from_the_code(site):
    page = (site / "evidence-file.html").read_text(encoding="utf-8")
    rows = re.findall(r"<tr>\s*<td><code>(\w+)</code></td>\s*<td>(.)</td>\s*<td>(\w+)</td>\s*<td>(.+?)</td>", page)
    assert [row[:3] for row in rows] == [(name, kind.sign, kind.grade) for name, kind in KINDS.items()]
    assert {row[0]: row[3] for row in rows}["at_most"] == "measured &lt;= bound."
