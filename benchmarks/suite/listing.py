"""How long the command line takes to answer.

Seconds of a fresh process by the clock, which only inform. What makes it fast, that it loads neither JAX nor NumPy, is
counted by the project's tests.
"""

from pathlib import Path

CLAIM = """
{name} = Claim("listed/{name}", source=Source(talk, "slide 1"), printed="$x > 0$", expected="holds")

@{name}.check(x=[1.0, 2.0], controls={{"sign": dict(x=-1.0)}})
def test_{name}(evidence, x):
    evidence.at_least("x", x, 0.5)
"""


def setup():
    """Twenty files of five claims, in the empty directory in which asv runs a benchmark."""
    try:
        import eosbench.cli  # noqa: F401
    except ImportError:
        raise NotImplementedError from None
    Path("claims").mkdir(exist_ok=True)
    for topic in "abcdefghijklmnopqrst":
        text = 'import jax\nfrom eosbench import Claim, Document, Source\ntalk = Document("talk", "A talk")\n'
        text += "".join(CLAIM.format(name=topic + digit) for digit in "12345")
        Path("claims", f"test_{topic}.py").write_text(text)


def timeraw_list():
    """`eosbench list` of a hundred claims, from import to table."""
    return """
    import contextlib, io
    from eosbench.cli import app
    with contextlib.redirect_stdout(io.StringIO()) as listed:
        app(['list'], standalone_mode=False)
    assert listed.getvalue().count('listed/') == 100
    """


timeraw_list.number = 1
timeraw_list.repeat = 5
