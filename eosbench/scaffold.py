"""A new claim's file, to start from: it runs as it is."""

import builtins
import json
from keyword import iskeyword
from pathlib import Path

from eosbench.catalogue import left_out
from eosbench.claim import Claim, ClaimError, Document, Source
from eosbench.documents import FILE_NAME, DocumentError, UnknownDocumentError, described, documents_file, find_document

_FILE = '''"""TODO: what the statements of this file have in common."""

from eosbench import {imports}

{variable} = Claim(
    "{id}",
    source=Source({document}, {place}),
    printed=r"TODO: the statement as printed: $x_{{t+1}} = (1 - \\eta) x_t$ converges for $0 < \\eta < 2$.",
    expected="holds",  # "corrected" comes with corrected=..., severity=...; "refuted" with severity=..., why=...
)


@{variable}.check(eta=[0.5, 1.0, 1.5], controls={{"beyond 2 it diverges": dict(eta=2.5)}})
def test_{name}(evidence, eta):
    evidence.requires("0 < eta < 2", 0 < eta < 2)
    x = [1.0]
    for _ in range(100):
        x.append((1 - eta) * x[-1])
    evidence.at_most("|x| after 100 steps", abs(x[-1]), 1e-6)
    evidence.series("x", range(101), x, axes=("step", "x"))
'''


PLACE = "TODO: Theorem 1"
"""Where a statement stands, before anybody has said it."""


def claim_path(id: str, claims: Path) -> Path:
    """Where the claim's file stands below the folder of all claims: `<topic>/test_<name>.py`."""
    topic, _, name = id.replace("-", "_").partition("/")
    return claims / topic / f"test_{name}.py"


def claim_file(id: str, claims: Path, document: Document | str | None = None, place: str = PLACE) -> str:
    """The text of the file for a claim of this id in the folder of all claims.

    `document` is its key in `documents.toml`, or what is to be described there; without one the file has a document of
    its own to be filled in.

    Raises:
        ClaimError: if the id is not "topic/name" in lower case with hyphens, pytest would not look into a folder of the
            topic's name, or the key is unknown.
    """
    placeholder = Document(id.replace("/", "-"), "TODO: the title of the document")
    folder = claim_path(id, claims).parent
    claim = Claim(id, source=Source(document or placeholder, "", folder=folder), printed="", expected="holds")
    if left_out(folder):
        raise claim.error(f"pytest looks into no folder of the name {folder.name}; choose another topic")
    name = id.partition("/")[2].replace("-", "_")
    own = name.isidentifier() and not iskeyword(name) and not hasattr(builtins, name)
    key = document.key if isinstance(document, Document) else document
    return _FILE.format(
        id=id,
        imports="Claim, Source" if document else "Claim, Document, Source",
        variable=name if own else f"claim_{name}",
        name=name,
        place=json.dumps(place, ensure_ascii=False),
        document=f'"{key}"' if key else f'Document("{placeholder.key}", "{placeholder.title}")',
    )


def write_claim(
    id: str, claims: Path, document: str | None = None, place: str = PLACE, title: str | None = None
) -> list[Path]:
    """Write the file for a new claim, and return the paths of what was written, that file first.

    With a title, the document is one that the nearest `documents.toml` does not describe yet, and is added there.

    The folders that it makes are packages, so that files of two topics may have one name and share a `setting.py`.

    Raises:
        ClaimError: see `claim_file`; or the document is described already, or its title comes without its key.
        OSError: the file exists, or cannot be written.
    """
    path = claim_path(id, claims)
    described_in = documents_file(path.parent) or claims / FILE_NAME
    if title is None:
        if document is not None:
            try:
                find_document(document, path.parent)
            except UnknownDocumentError as problem:
                raise ClaimError(f'{problem}, or let --title "..." do that') from None
            except DocumentError as problem:
                raise ClaimError(str(problem)) from None
        text, documents = claim_file(id, claims, document, place), None
    elif document is None:
        raise ClaimError("a title belongs to a document with a key; give it as --document KEY")
    else:
        added = Document(document, title, contents=(place,))
        text = claim_file(id, claims, added, place)
        try:
            documents = described(added, described_in)
        except DocumentError as problem:
            raise ClaimError(str(problem)) from None
    written = [path]
    for folder in (claims, path.parent):
        if not folder.exists():
            folder.mkdir(parents=True)
            written.append(folder / "__init__.py")
            written[-1].write_text('"""TODO: what the claims of this folder are about."""\n', encoding="utf-8")
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    if documents is not None:
        described_in.write_text(documents, encoding="utf-8")
        written.append(described_in)
    return written
