"""A new claim's file, to start from: it runs as it is."""

from eosbench.claim import Claim, Document, Source

_FILE = '''"""TODO: what the statements of this file have in common."""

from eosbench import Claim, Document, Source

paper = Document("{key}", title="TODO: the title of the document")

claim = Claim(
    "{id}",
    source=Source(paper, "TODO: Theorem 1"),
    printed=r"TODO: the statement as printed: $x_{{t+1}} = (1 - \\eta) x_t$ converges for $0 < \\eta < 2$.",
    expected="holds",
)


@claim.check(eta=[0.5, 1.0, 1.5], controls={{"beyond 2 it diverges": dict(eta=2.5)}})
def test_{name}(evidence, eta):
    evidence.requires("0 < eta < 2", 0 < eta < 2)
    x = [1.0]
    for _ in range(100):
        x.append((1 - eta) * x[-1])
    evidence.at_most("|x| after 100 steps", abs(x[-1]), 1e-6)
    evidence.series("x", range(101), x, axes=("step", "x"))
'''


def claim_file(id: str) -> str:
    """The text of a claim file for this id.

    Raises:
        ClaimError: if the id is not "topic/name" in lower case with hyphens.
    """
    Claim(id, source=Source(Document("key", "title"), "place"), printed="", expected="holds")
    # Two documents of one key must agree in their titles, and these will be filled in.
    return _FILE.format(id=id, key=id.replace("/", "-"), name=id.partition("/")[2].replace("-", "_"))
