"""The documents whose statements are checked, and the file that describes them."""

import difflib
import re
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from os.path import abspath, isfile
from pathlib import Path
from typing import Any

FILE_NAME = "documents.toml"


class DocumentError(ValueError):
    """A document is not described, or wrongly. The message is one sentence that names the file and the remedy."""


@dataclass(frozen=True)
class Document:
    """Something that makes statements: a paper, a talk, a poster, a review.

    `key` is short and unique among the documents of a report; `title` is what a reader sees. What is known of `authors`
    (all joined by "and", as in BibTeX), `year`, `url` and the `version` that was read ("arXiv v2", a date) goes into
    the report's list of sources.
    """

    key: str
    title: str
    authors: str = ""
    year: int | None = None
    url: str = ""
    version: str = ""


# What a table of the file may say of a document, whose key is the table's name; and what kind of value says it.
_KINDS = {field.name: int if field.name == "year" else str for field in fields(Document) if field.name != "key"}
_WORDS = {int: "a whole number", str: "a string"}


def find_document(key: str, folder: Path) -> Document:
    """The document of this key in the nearest `documents.toml`, looked for in `folder` and upwards from it.

    Raises:
        DocumentError: if there is no such file, it is damaged, or does not have the key.
    """
    # Upwards as the path is spelled: a folder that is reached through a symbolic link lies where the link does.
    start = Path(abspath(folder))
    file = next((path / FILE_NAME for path in (start, *start.parents) if isfile(path / FILE_NAME)), None)
    if file is None:
        raise DocumentError(
            f"there is no {FILE_NAME} in {start} or above it to describe the document {key!r}; write one, or give a "
            "Document in place of its key"
        )
    try:
        known = _documents(file.read_bytes())
    except OSError as problem:
        raise DocumentError(f"{file} cannot be read: {problem.strerror}") from None
    except DocumentError as problem:
        raise DocumentError(f"{file}{problem}") from None
    if key not in known:
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "add it there"
        raise DocumentError(f"{file} does not describe the document {key!r}; {hint}")
    return known[key]


@cache
def _documents(content: bytes) -> dict[str, Document]:
    """The documents by their keys. An error's message goes on where the name of the file ends."""
    try:
        text = content.decode("utf-8")
        tables = tomllib.loads(text)
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise DocumentError(f", line {line}, cannot be parsed: it is not UTF-8") from None
    except tomllib.TOMLDecodeError as problem:
        # "... (at line 3, column 5)", or "... (at end of document)"
        what, _, where = str(problem).rpartition(" (at ")
        number = re.match(r"line (\d+)", where)
        line = int(number[1]) if number else len(text.splitlines())
        raise DocumentError(f", line {line}, cannot be parsed: {what}") from None
    return {key: _document(key, table) for key, table in tables.items()}


def _document(key: str, table: Any) -> Document:
    if not isinstance(table, dict):
        raise DocumentError(f" has {key!r} outside of any table; write [key-of-the-document] above it")
    if not table.get("title"):
        raise DocumentError(f" gives the document {key!r} no title; add it")
    for name, value in table.items():
        if name not in _KINDS:
            near = difflib.get_close_matches(name, _KINDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_KINDS)}"
            raise DocumentError(f" gives the document {key!r} the field {name!r}; {hint}")
        if type(value) is not _KINDS[name]:
            raise DocumentError(f" gives the document {key!r} {name} = {value!r}; give {_WORDS[_KINDS[name]]}")
    return Document(key, **table)
