import re

from markdown.extensions.toc import slugify

from eosbench.report import read
from eosbench.report.markdown import constants, errata, page


def test_the_table_has_a_row_for_every_claim(troubled):
    rows = [line for line in page(read(troubled)).splitlines() if line.startswith("| `")]
    assert len(rows) == 13
    assert rows[8].startswith(
        r"| `orbit/quartic` | ✔\* corrected, missing hypothesis | measured | corrected | 4/4 | 2/2 fired | – |"
    )
    assert "**DRIFT**" in rows[1]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 9 for row in rows)


def test_errata_keep_their_formulas(whole):
    text = page(read(whole))
    assert r"> For $1\lt \eta\lt 1.121$, GD on $\frac14(x^2-1)^2$ converges from any" in text
    assert "As printed in Beyond the Edge of Stability" in text


def test_errata_name_what_the_printed_form_gave(whole):
    text = errata(read(whole))
    assert r"- distance to the orbit: 0.17861, not ≤ 1e-8, at eta=1.04167,x0=0.6" in text
    assert r"### `edge/every-step-size`: refuted" in text
    assert "Why it fails: Where the step is small training ends before the sharpness is there." in text
    assert "balancing/scalar" not in text


def test_errata_are_grouped_by_severity_and_the_news_is_first(whole):
    for text, level in ((errata(read(whole)), "##"), (page(read(whole)), "###")):
        headings = [line for line in text.splitlines() if re.match(rf"{level}#? (\w+ ?\w*: |`)", line)]
        assert [re.sub(r":.*", "", line).strip("# ") for line in headings] == [
            "False",
            "`edge/every-step-size`",
            "Wrong constant",
            "`phase-two/loss-sqrt`",
            "Missing hypothesis",
            "`orbit/quartic`",
        ]


def test_a_file_without_severities_has_all_errata_below_one_heading(whole):
    whole.write_text(re.sub(r'"severity": "[a-z ]+", ', "", whole.read_text(encoding="utf-8")), encoding="utf-8")
    assert re.findall("^## .*", errata(read(whole)), re.MULTILINE) == [
        "## By document",
        "## No severity is told",
        "## How to cite",
    ]


def test_of_each_document_links_lead_to_what_is_wrong_in_it(whole):
    text = errata(read(whole))
    by_document = text.split("## By document")[1].split("\n## ")[0]
    assert "Deep Learning (talk): [`edge/every-step-size`](#" in by_document
    headings = re.findall(r"^### (.*)$", text, re.MULTILINE)
    rendered = {slugify(heading.replace("`", ""), "-") for heading in headings}
    assert set(re.findall(r"\]\(#(.*?)\)", by_document)) == rendered
    assert "@misc{eosbench-verdicts," in text


def test_without_errata_the_page_says_so(recorder, tmp_path):
    recorder.simple()
    assert errata(read(recorder.write(tmp_path / "e.jsonl"))).endswith("None.\n")


def test_it_holds_no_time(whole):
    text = page(read(whole))
    assert "2026-11-22" not in text
    assert "seconds" not in text


def test_constants_with_their_intervals_and_exponents_with_their_errors(whole):
    rows = [line for line in constants(read(whole)).splitlines() if line.startswith("| `")]
    assert any(re.fullmatch(r"\| `limiting-flow/ngd` \| .* \| 0.25 \| \\\[0\.2.*\] \| all \|", row) for row in rows)
    assert any("error against eta | 1 ± 0.15 | 1.0" in row and " ± 0.0" in row for row in rows)
    assert any(
        "rises over windows of 50 steps | 90 % or more | 79 of 80: at least 94 % (95 %) |" in row for row in rows
    )
    assert any("remainder: ratio | 0 or more |" in row for row in rows)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)


def test_the_claims_stand_a_second_time_in_the_order_of_each_document_with_what_is_not_encoded(troubled):
    text = page(read(troubled))
    poster = text.partition("### Beyond the Edge of Stability")[2].partition("###")[0]
    assert poster.splitlines()[2:-1] == [
        r"- I, Introduction: not encoded: It explodes for $\eta\gt 2/\lambda$. "
        "*No claim of its own: orbit/quartic is near.*",
        "- II, Theorem 1: ✔ `orbit/existence-1d`",
        r"- II, Convergence: 2-D ✔ `balancing/scalar`; a special 1D function ✔\* `orbit/quartic`",
        "  - not encoded (higher dimensions): It converges there too. *No rate is given.*",
        "- III: – `relu/alignment`",
        "- IV: no claim",
    ]
    assert "### S. Arora, Z. Li and A. Panigrahi: Understanding" in text
    assert "- Lemma 1: ? `descent/inequality` **DRIFT**" in text
