from xml.etree import ElementTree

import pytest

from eosbench.report.formula import formula, typeset

SENTENCE = r"For $1<\eta<1.121$ the map $\frac14(x^2-1)^2$ has $3f'''^2-f''f''''>0$."


def test_formulas_become_mathml_and_the_text_around_them_stays():
    html = str(typeset(SENTENCE))
    assert html.startswith("For <math")
    assert " the map <math" in html
    assert "$" not in ElementTree.fromstring(f"<p>{html}</p>").itertext().__next__()
    assert "<code" not in html


def test_the_full_stop_after_a_formula_stays_with_it():
    assert str(typeset("$x$.")).endswith(".</span>")


def test_a_long_formula_may_be_broken_before_a_relation_outside_brackets_only():
    pieces = formula(r"\sqrt{L(x_t)}+\sqrt{L(x_{t+1})}=\tfrac12\eta\lambda_1+O(\eta(\theta_t+\eta)+\eta^2)")
    starts = [next(ElementTree.fromstring(piece).iter("mo")).text for piece in pieces[1:]]
    assert starts == ["=", "+"]
    assert len(formula("a+b=c")) == 1


@pytest.mark.parametrize(
    "tex", ["{", "}", "^", "x^", r"\frac{", r"\begin{matrix}a", r"\left(", r"\right)", "{" * 700, "x_{" * 450]
)
def test_what_is_no_formula_does_no_harm(tex):
    html = str(typeset(f"before ${tex}$ after"))
    assert html.startswith("before ")
    assert html.endswith(" after")
    ElementTree.fromstring(f"<p>{html}</p>")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        r"$\text{<script>alert(1)</script>}$",
        r"$\href{javascript:alert(1)}{x}$",
        r"$\style{background:url(http://x)}{x}$",
        r"$\text{</math><img src=x onerror=alert(1)>}$",
        '$"><img src=x onerror=alert(1)>{$',
    ],
)
def test_markup_in_the_text_is_shown_not_obeyed(text):
    tree = ElementTree.fromstring(f"<p>{typeset(text)}</p>")
    for element in tree.iter():
        assert element.tag not in {"script", "img", "a"}
        assert not {"href", "src", "style", "onerror"} & element.attrib.keys()


def test_a_text_of_a_megabyte_is_cut():
    assert len(typeset("x" * 10**6)) < 10_000
    assert len(typeset("$" + "x" * 10**6 + "$")) < 10_000


@pytest.mark.parametrize("text", [r"$\foo x$", r"$x + \undefinedcommand{y}$"])
def test_a_command_that_is_not_known_is_shown_as_source(text):
    assert str(typeset(text)) == f'<code class="tex">{text.strip("$")}</code>'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"see \(x\), $$y$$.", "see x, y."),
        (r"$z\text{ if $x$ and $y$}$ at \$5", "z if x and y at $5"),
        (r"$a$$b$", "ab"),
    ],
)
def test_the_other_fences_of_formulas_are_known(text, shown):
    html = str(typeset(text))
    assert "".join(ElementTree.fromstring(f"<p>{html}</p>").itertext()).replace("\xa0", " ") == shown
    assert html.count("<math") == html.count("</math>") > 0


def test_many_texts_without_an_end_take_no_time():
    assert "math" not in typeset("$" + r"\text{a}" * 500)
