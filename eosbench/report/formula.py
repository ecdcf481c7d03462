"""Text with formulas as HTML with MathML, harmless whatever the text."""

import re
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markupsafe import Markup, escape

from eosbench.report.notation import clip, printable

_LONGEST_TEXT = 4000
_LONGEST_FORMULA = 1500

# A formula between $...$, $$...$$ or \(...\), in which a \text may hold others, and the punctuation after it.
_FORMULA = re.compile(
    r"(?<!\\)(?:(?P<fence>\$\$?)(?P<tex>(?:\\text\s*\{[^{}]*\}|[^$\\]|\\.)++)(?P=fence)|\\\((?P<round>.+?)\\\))"
    r"(?P<stop>[.,;:!?)’”]*)",
    re.DOTALL,
)
_TEXT = re.compile(r"\\text\s*\{([^{}$]*)\$([^{}$]*)\$([^{}]*)\}")

# latex2mathml reads f''^2 as a double superscript; TeX takes it as the square of f''.
_PRIMED_POWER = re.compile(r"([A-Za-z]|\\[A-Za-z]+)('+)\^")

# A formula longer than this may be broken before these operators, where no bracket is open; browsers break none.
_LONG_FORMULA = 25
_BREAKS = frozenset("=<>≤≥≈∼→∈≠+−⇒")
_OPENING, _CLOSING = frozenset("([{⟨⌊⌈"), frozenset(")]}⟩⌋⌉")

_ELEMENTS = frozenset(
    """math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mtable mtr mtd mstyle
    mpadded mphantom menclose""".split()  # noqa: SIM905
)
_ATTRIBUTES = frozenset(
    """display displaystyle scriptlevel stretchy fence form separator lspace rspace minsize maxsize symmetric accent
    accentunder mathvariant linethickness columnalign rowspacing columnspacing width height depth movablelimits
    notation""".split()  # noqa: SIM905
)
_VALUE = re.compile(r"[\w.%+ -]{0,40}")


def typeset(text: str) -> Markup:
    """The text, escaped, each formula in it as MathML; one that cannot be read is shown as its TeX source."""
    text = clip(printable(text), _LONGEST_TEXT)
    parts, position = [], 0
    for match in _FORMULA.finditer(text):
        parts.append(escape(text[position : match.start()].replace(r"\$", "$")))
        pieces = formula(match["tex"] or match["round"])
        # No line may begin with the full stop after a formula.
        parts += pieces[:-1]
        parts.append(
            Markup('<span class="unbroken">{}{}</span>').format(pieces[-1], match["stop"])
            if match["stop"]
            else pieces[-1]
        )
        position = match.end()
    parts.append(escape(text[position:].replace(r"\$", "$")))
    return Markup("").join(parts)


@lru_cache(maxsize=4096)
def formula(tex: str) -> tuple[Markup, ...]:
    """One formula as inline MathML, a long one in several pieces between which a line may end."""
    source = (Markup('<code class="tex">{}</code>').format(tex),)
    if len(tex) > _LONGEST_FORMULA:
        return source
    try:
        tree = convert_to_element(_PRIMED_POWER.sub(r"{\1\2}^", _without_inner(tex)))
    except Exception:  # its parser raises errors of many kinds, and RecursionError on deep nesting
        return source
    for element in tree.iter():
        if element.tag not in _ELEMENTS or (element.text or "").startswith("\\"):
            return source  # no MathML, or a command that the converter does not know
        element.attrib = {
            name: value for name, value in element.attrib.items() if name in _ATTRIBUTES and _VALUE.fullmatch(value)
        }
        # The converter leaves character references in its tree and text unescaped in its output.
        element.text = unescape(element.text) if element.text else element.text
    pieces = list(_pieces(tree)) if len("".join(tree.itertext())) > _LONG_FORMULA else [tree]
    pieces[0].set("alttext", tex)
    return tuple(Markup(ElementTree.tostring(piece, encoding="unicode")) for piece in pieces)


def _without_inner(tex: str) -> str:
    r"""The formula with each $...$ within a \text beside that text, as the converter knows none within."""
    before = None
    while before != tex:
        before, tex = tex, _TEXT.sub(r"\\text{\1}\2\\text{\3}", tex)
    return tex


def _pieces(tree: Element) -> Iterator[Element]:
    """The formula as several, each but the first beginning with one of the operators to break before."""
    row = tree[0] if len(tree) == 1 and tree[0].tag == "mrow" else tree
    depth, piece = 0, Element("mrow")
    for element in row:
        symbol = element.text or "" if element.tag == "mo" else ""
        # The bracket that closes may carry an exponent.
        inner = {e.text for e in element.iter("mo")} if element.tag in ("msup", "msub", "msubsup") else {symbol}
        if depth == 0 and symbol in _BREAKS and len(piece) > 1:
            yield _math(piece)
            piece = Element("mrow")
            element.set("form", "infix")
        depth += len(inner & _OPENING) - len(inner & _CLOSING)
        piece.append(element)
    yield _math(piece)


def _math(row: Element) -> Element:
    tree = Element("math", display="inline")
    tree.append(row)
    return tree
