import math
import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import parse_qsl

import numpy as np
import pytest

from eosbench.report import write
from eosbench.report.exports import FORMATS
from eosbench.report.pages import anchor, room

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)> \u202e\u2066 {{ 7 * 7 }} \"'`"
DOCUMENT = "https://example.org/talk_1%20a"
VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """Every tag with its attributes, and whether each that was opened was closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def all(self, name):
        return [value[name] for _, value in self.tags if name in value]


@pytest.fixture
def written(troubled, tmp_path):
    write(troubled, tmp_path / "out")
    return (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_its_ids_are_unique(written):
    page = Page(written)
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    assert {target for targets in page.all("aria-labelledby") for target in targets.split()} <= set(ids)


def test_every_claim_can_be_linked_to(written):
    page = Page(written)
    links = [link for link in page.all("href") if link.startswith("#") and "=" not in link]
    assert "#orbit/quartic" in links
    assert {link[1:] for link in links} <= set(page.all("id"))


def test_a_link_to_a_part_of_the_claims_asks_for_what_the_filter_has(written):
    """As #verdict=out+of+scope: each names a field of the filter and one of its options."""
    form = Page(written[written.index("<form") : written.index("</form>") + len("</form>")])
    options, field = set(), None
    for tag, value in form.tags:
        field = value["name"] if tag == "select" else field
        options |= {(field, value["value"])} if tag == "option" else set()
    asked = [pair for link in Page(written).all("href") if "=" in link for pair in parse_qsl(link[1:])]
    assert ("verdict", "not run") in asked
    assert ("severity", "wrong constant") in asked
    assert ("document", "arora-2022-talk") in asked
    assert set(asked) <= options


def test_the_page_asks_the_network_for_nothing(written):
    page = Page(written)
    assert page.all("src") == []
    assert {value["href"] for tag, value in page.tags if tag == "a" and not value["href"].startswith("#")} == {DOCUMENT}
    fetched = [value[key] for tag, value in page.tags if tag != "a" for key in ("href", "xlink:href") if key in value]
    assert not [link for link in fetched if not link.startswith(("#", "data:,"))]
    rest = written.replace(f'<a href="{DOCUMENT}">', "")
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org/1998/Math/MathML)", rest)
    policy = next(value["content"] for tag, value in page.tags if tag == "meta" and "http-equiv" in value)
    assert policy.startswith("default-src 'none'")


def test_two_renderings_are_the_same_to_the_byte(troubled, tmp_path):
    for out in ("a", "b"):
        write(troubled, tmp_path / out)
    for name in FORMATS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_nothing_is_left_behind_but_the_report(troubled, tmp_path):
    results = write(troubled, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FORMATS)
    assert results.report == tmp_path / "out" / "report.html"


def test_the_first_screen_says_what_the_page_is_and_what_it_is_not(written):
    top = written[: written.index('id="map"')]
    for text in (
        "Of 13 claims, 7 came out as expected, 3 drifted from expectation",
        "<em>not</em> a proof",
        "A partial run: 76 of 79 planned cases selected",
        "uncommitted changes on top of commit 4be1c07",
        "1 case died in mid-run",
        "<bdi>float64</bdi>",
        "commit 4be1c07 with uncommitted changes",
        "<span><bdi>JAX 0.10.2</bdi></span>",
    ):
        assert text in top
    for word in ("holds", "corrected", "refuted", "inconclusive", "vacuous", "broken", "partial", "not run"):
        assert re.search(rf"</span> <b>\d+</b> {word}</a>", top), word


def test_a_claim_shows_both_forms_its_controls_constants_and_command(written):
    quartic = written[written.index('id="orbit/quartic"') :]
    quartic = quartic[: quartic.index("</article>")]
    for text in (
        "As printed", "Corrected", "<math", "Counterexample to the printed form", "0.17861", "✔ fired",
        "below 1 the minimum is stable", "met in all 4",
        "pytest claims/orbit/test_quartic.py::test_every_generic_start",
        '<svg role="img"',
    ):  # fmt: skip
        assert text in quartic, text
    assert "admissible <b>[0.24971, 0.25034]</b>" in written


def test_the_findings_are_grouped_by_severity_and_the_news_is_first(written):
    section = written[written.index('aria-labelledby="errata"') :]
    section = section[: section.index("</section>")]
    told = re.findall(r'<h3><a [^>]*>([A-Z][a-z ]+)<|<p class="what"><a href="#([^"]+)"', section)
    assert ["".join(pair) for pair in told] == [
        "False",
        "edge/every-step-size",
        "Wrong constant",
        "phase-two/loss-sqrt",
        "Missing hypothesis",
        "orbit/quartic",
    ]
    assert "Where the step is small training ends before the sharpness is there." in section


def test_the_card_of_a_claim_says_how_far_off_it_is_and_why(written):
    card = written[written.index('<article class="claim v-corrected" id="phase-two/loss-sqrt"') :]
    card = card[: card.index("</article>")]
    assert 'data-severity="wrong constant"' in card
    assert re.search(r'class="severity" title="a number, an exponent[^"]*">wrong constant<', card)
    assert "Why it fails:" in card
    assert re.search(r'<span class="word">corrected · wrong constant</span>', written)
    options = '<option value="false">false</option><option value="wrong constant">'
    assert re.search(rf'<select name="severity"[^>]*>.*{options}', written)


def test_the_filter_is_above_all_that_it_narrows_and_tells_documents_apart_by_their_keys(written):
    form = written.index("<form")
    assert form < written.index("data-claim") < written.index("<article")
    assert '<option value="arora-2022-talk">arora-2022-talk: Understanding Gradient Descent on Edge' in written[form:]


def test_whatever_lists_a_claim_is_marked_so_that_the_filter_finds_it(written):
    """Its tile, its row among the errata, its place in the document, its box in the graph, its card."""
    assert [tag for tag, value in Page(written).tags if value.get("data-claim") == "orbit/quartic"] == [
        "li",
        "li",
        "div",
        "g",
        "li",
        "article",
    ]


def test_each_case_shows_its_id(written):
    shown = r'<code class="id copied"><bdi><span class="file">([^<]*)</span>([^<]*)</bdi></code>'
    ids = ["".join(parts) for parts in re.findall(shown, written)]
    assert "claims/orbit/test_quartic.py::test_every_generic_start[eta=1.05]" in ids
    assert "claims/orbit/test_quartic.py::test_a_preimage_stays[eta=1.0416666666666667,x0=0.6]" in ids
    assert "claims/edge/test_hovers.py::test_it[control: cross-entropy]" in ids
    assert len(ids) == len(set(ids)) == written.count('<th scope="row" rowspan=')


def test_what_came_nearest_to_failing_is_named_with_its_case(written):
    told = re.findall(r'<p class="nearest muted">(.*)</p>', written)
    assert (
        "Nearest to failing: <bdi>distance to the orbit</bdi> in "
        "<code><bdi>test_every_generic_start[eta=1.01]</bdi></code>, with 13 % to spare."
    ) in told


@pytest.mark.parametrize(
    ("slack", "words"),
    [
        (0.123, "with 12 % to spare"),
        (0.0, "with nothing to spare"),
        (-0.5, "50 % beyond"),
        (math.inf, "with any amount to spare"),
        (-math.inf, "beyond any bound"),
        (math.nan, "beyond any bound"),
    ],
)
def test_room_in_words(slack, words):
    assert room(slack) == words


def test_a_verdict_can_be_cited(written):
    card = written[written.index('<article class="claim v-corrected" id="phase-two/loss-sqrt"') :]
    card = card[: card.index("</article>")]
    assert "Cite this verdict" in card
    assert "phase-two/loss-sqrt is corrected (wrong constant), measured. Stated in S. Arora, Z. Li" in card
    assert "@misc{phase-two/loss-sqrt," in card
    assert written.count("Cite this verdict") == 8  # of 13 claims: five came to no verdict


def test_the_finding_of_a_fraction_is_its_lower_bound(written):
    assert "<b>79 of 80: at least 94 % (95 %)</b>" in written


def test_a_claim_shows_what_it_rests_on_and_what_rests_on_it(written):
    quartic = written[written.index('id="orbit/quartic"') :]
    quartic = quartic[: quartic.index("</article>")]
    below, above = quartic[quartic.index("Rests on") :].split("Used by")
    assert re.search(r'href="#orbit/existence-1d">.*</a>\s*<span class="badge v-holds">', below)
    assert 'href="#balancing/scalar"' in above
    assert quartic.count("✔*") == 1


def test_the_claims_stand_a_second_time_in_the_order_of_each_document(written):
    poster = written[written.index('id="document-2"') : written.index('id="document-3"')]
    assert "In its order: 4 claims, 2 statements not encoded" in poster
    body = poster[: poster.index("</dl>")]
    rows = [unescape(re.sub(r"<[^>]+>", " ", row)).split() for row in body.split("<dt>")[1:]]
    assert [" ".join(row) for row in rows] == [
        "I, Introduction Not encoded: It explodes for η > 2 / λ . No claim of its own: orbit/quartic is near.",
        "II, Theorem 1 ✔ orbit/existence-1d holds",
        "II, Convergence ✔ balancing/scalar holds 2-D ✔* orbit/quartic corrected a special 1D function "
        "Not encoded ( higher dimensions ): It converges there too. No rate is given.",
        "III – relu/alignment not run",
        "IV No claim.",
    ]
    assert '<a class="stated v-corrected" href="#orbit/quartic">' in poster
    assert '<a href="#orbit/quartic">orbit/quartic</a> is near.' in poster
    review = written[written.index('id="document-3"') : written.index('id="document-4"')]
    assert re.search(r'descent/inequality.*inconclusive</span></a> <span class="drift">drift</span>', review)


def test_the_card_of_a_claim_leads_to_its_document(written):
    assert '<p class="place"><a href="#document-2">[2]</a> <bdi>II, Convergence: a special 1D function</bdi>' in written


def test_products_stand_beside_seconds_where_there_are_any(written):
    assert "3,600 products · 2 min 2 s" in written
    assert written.count(" products · ") == 1


def test_hostile_text_is_shown_and_not_obeyed(recorder, tmp_path):
    claim = recorder.claim(
        "toy/claim",
        place=HOSTILE,
        printed=HOSTILE,
        corrected=HOSTILE,
        expected="corrected",
        severity="slip",
        why=HOSTILE,
    )
    recorder.lines[-1]["source"] |= dict.fromkeys(("title", "document", "authors", "version"), HOSTILE)
    recorder.lines[-1]["source"]["url"] = "javascript:alert(1)"
    recorder.lines[-1]["uses"] = [HOSTILE]
    statement = {"place": HOSTILE, "statement": HOSTILE, "why": f"{HOSTILE} toy/claim"}
    recorder.lines[-2] |= {"key": HOSTILE, "contents": [HOSTILE, f"{HOSTILE}."], "not_encoded": [statement]}
    recorder.lines[-1]["file"] = HOSTILE
    recorder.lines[0]["environment"][HOSTILE] = HOSTILE
    recorder.lines[0]["selection"]["args"] = [HOSTILE]

    def record(e):
        e.requires(HOSTILE, True)
        e.constant(HOSTILE, 1.0, 1.0, 0.1)
        e.series(HOSTILE, [0, 1], [0, 1], axes=(HOSTILE, HOSTILE))

    recorder.case(claim, HOSTILE, record)
    recorder.case(claim, f"control: {HOSTILE}", record, role="control")
    recorder.case(claim, "n=1", status="error", message=HOSTILE)
    recorder.lines.append({"type": "collect error", "file": HOSTILE, "message": HOSTILE})
    write(recorder.write(tmp_path / "e.jsonl"), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "img" not in [tag for tag, _ in page.tags]
    assert not [name for _, value in page.tags for name in value if name.startswith("on")]
    assert "javascript:" not in text
    assert "{{ 7 * 7 }}" in text
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", text)
    assert not re.search(r"(?<!\\)<", (tmp_path / "CLAIMS.md").read_text(encoding="utf-8"))


def test_a_megabyte_of_text_is_cut(recorder, tmp_path):
    long = "x" * 10**6
    claim = recorder.claim("toy/claim", printed=long, place=long)
    recorder.case(claim, long, status="error", message=long)
    write(recorder.write(tmp_path / "e.jsonl"), tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 100_000
    assert (tmp_path / "CLAIMS.md").stat().st_size < 10_000


def test_a_hundred_and_thirty_claims_with_figures_stay_below_five_megabytes(recorder, tmp_path):
    random = np.random.default_rng(0)
    t = np.arange(600)
    for n in range(130):
        claim = recorder.claim(f"toy/claim-{n}")
        for k in range(2):
            noise = random.normal(size=(2, 600))

            def record(e, n=n, noise=noise):
                e.at_most("error", 0.0, 1.0)
                e.series("sharpness", t, noise[0], axes=("step", "sharpness"))
                if n % 2:
                    e.series("loss", t, np.exp(noise[1]), axes=("step", "loss"), scale="semilogy")

            recorder.case(claim, f"n={k}", record)
        recorder.case(claim, "control: off", lambda e: e.at_most("error", 2.0, 1.0), role="control")
    recorder.end()
    write(recorder.write(tmp_path / "e.jsonl"), tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 5e6


def test_a_long_list_of_cases_shows_those_with_the_least_room(recorder, tmp_path):
    claim = recorder.claim("toy/claim")
    for n in range(100):
        recorder.case(claim, f"n={n}", lambda e, n=n: e.at_most("error", 0.5 if n == 99 else 0.001 * n, 1.0))
    recorder.end()
    write(recorder.write(tmp_path / "e.jsonl"), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "n=99" in text
    assert "n=10<" not in text
    assert "The 60 comparisons with the least room; 40 more" in text


def test_anchors_hold_no_blanks():
    assert anchor("orbit/quartic") == "orbit/quartic"
    assert anchor('a b"<c') == "a-b-c"
