"""Text with $formulas$ as HTML with MathML, harmless whatever the text."""

import re
from functools import lru_cache
from html import unescape
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from markupsafe import Markup, escape

from eosbench.report.notation import clip

_LONGEST_TEXT = 4000
_LONGEST_FORMULA = 1500

_FORMULA = re.compile(r"(?<!\\)\$((?:[^$\\]|\\.)+)\$", re.DOTALL)

# latex2mathml reads f''^2 as a double superscript; TeX takes it as the square of f''.
_PRIMED_POWER = re.compile(r"([A-Za-z]|\\[A-Za-z]+)('+)\^")

_ELEMENTS = frozenset(
    "math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mtable mtr mtd mstyle"
    " mpadded mphantom menclose".split()
)
_ATTRIBUTES = frozenset(
    "display displaystyle scriptlevel stretchy fence form separator lspace rspace minsize maxsize symmetric accent"
    " accentunder mathvariant linethickness columnalign rowspacing columnspacing width height depth movablelimits"
    " notation".split()
)
_VALUE = re.compile(r"[\w.%+ -]{0,40}")


def typeset(text: str) -> Markup:
    """The text, escaped, each `$...$` in it as MathML; a formula that cannot be read is shown as its TeX source."""
    text = clip(text, _LONGEST_TEXT)
    parts, position = [], 0
    for match in _FORMULA.finditer(text):
        parts.append(escape(text[position : match.start()].replace(r"\$", "$")))
        parts.append(formula(match[1]))
        position = match.end()
    parts.append(escape(text[position:].replace(r"\$", "$")))
    return Markup("").join(parts)


@lru_cache(maxsize=4096)
def formula(tex: str) -> Markup:
    """One formula as inline MathML."""
    source = Markup('<code class="tex">{}</code>').format(tex)
    if len(tex) > _LONGEST_FORMULA:
        return source
    try:
        tree = convert_to_element(_PRIMED_POWER.sub(r"{\1\2}^", tex))
    except Exception:  # its parser raises errors of many kinds, and RecursionError on deep nesting
        return source
    for element in tree.iter():
        if element.tag not in _ELEMENTS:
            return source
        element.attrib = {
            name: value for name, value in element.attrib.items() if name in _ATTRIBUTES and _VALUE.fullmatch(value)
        }
        # The converter leaves character references in its tree and text unescaped in its output.
        element.text = unescape(element.text) if element.text else element.text
    tree.set("alttext", tex)
    return Markup(ElementTree.tostring(tree, encoding="unicode"))
