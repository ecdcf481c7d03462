"""The documents whose statements are checked, and the file that describes them."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from os.path import abspath, isfile
from pathlib import Path
from typing import Any

FILE_NAME = "documents.toml"


class DocumentError(ValueError):
    """A document is not described, or wrongly. The message is one sentence that names the file and the remedy."""


class UnknownDocumentError(DocumentError):
    """No `documents.toml` describes it."""


@dataclass(frozen=True)
class NotEncoded:
    """A statement of a document that no claim checks: where it stands, what it says in our own words, and why."""

    place: str
    statement: str
    why: str


@dataclass(frozen=True)
class Document:
    """Something that makes statements: a paper, a talk, a poster, a review.

    `key` is short and unique among the documents of a report; `title` is what a reader sees. What is known of `authors`
    (all joined by "and", as in BibTeX, without a comma), `year`, `url` and the `version` that was read ("arXiv v2", a
    date) goes into the report's list of sources. `contents` are the places of the document in its order, such as
    "Section 2" and "Theorem 4.4", and `not_encoded` are statements that no claim checks: by both the report lists the
    claims a second time, as a reader of the document looks for them.
    """

    key: str
    title: str
    authors: str = ""
    year: int | None = None
    url: str = ""
    version: str = ""
    contents: tuple[str, ...] = ()
    not_encoded: tuple[NotEncoded, ...] = ()


def section_of(place: str, contents: Sequence[str]) -> str | None:
    """The entry of a document's contents that a place is in: the longest with which it begins, in whole words.

    "Section 5.3, Equation (4)" is in "Section 5.3", and in neither "Section 5" nor "Section 5.30".
    """
    begins = [entry for entry in contents if re.match(rf"{re.escape(entry)}(?!\w|\.\d)", place)]
    return max(begins, key=len, default=None)


# What a table of the file may say of a document, whose key is the table's name; and what kind of value says it.
_STRING, _STRINGS, _TABLES = "a string", "a list of strings", "tables, each headed by [[{key}.not_encoded]]"
_KINDS = {
    "title": _STRING,
    "authors": _STRING,
    "year": "a whole number",
    "url": _STRING,
    "version": _STRING,
    "contents": _STRINGS,
    "not_encoded": _TABLES,
}


def find_document(key: str, folder: Path) -> Document:
    """The document of this key in the nearest `documents.toml`, looked for in `folder` and upwards from it.

    Raises:
        UnknownDocumentError: if there is no such file, or it does not have the key.
        DocumentError: if it is damaged.
    """
    file = documents_file(folder)
    if file is None:
        raise UnknownDocumentError(
            f"there is no {FILE_NAME} in {abspath(folder)} or above it to describe the document {key!r}; write one, or "
            "give a Document in place of its key"
        )
    known = _read(file)
    if key not in known:
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? If not, add it there" if near else "add it there"
        raise UnknownDocumentError(f"{file} does not describe the document {key!r}; {hint}")
    return known[key]


def documents_file(folder: Path) -> Path | None:
    """The nearest `documents.toml`, looked for in `folder` and upwards from it."""
    # Upwards as the path is spelled: a folder that is reached through a symbolic link lies where the link does.
    start = Path(abspath(folder))
    return next((path / FILE_NAME for path in (start, *start.parents) if isfile(path / FILE_NAME)), None)


def described(document: Document, file: Path) -> str:
    """The text of a `documents.toml` (empty if there is none yet) with a further document, and what is to be filled in.

    It stands where its key belongs among the others, if those are in alphabetical order, and else at the end.

    Raises:
        DocumentError: if the file is damaged, describes that key already, or the key is not of letters, digits and
            hyphens.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", document.key):
        raise DocumentError(f"a document's key has letters, digits and hyphens alone; {document.key!r} is none")
    title, *contents = (json.dumps(words, ensure_ascii=False) for words in (document.title, *document.contents))
    table = (
        f"[{document.key}]\n"
        f"title = {title}\n"
        'authors = "TODO: A. Author and B. Author"\n'
        '# year, url and version = what was read, such as "arXiv v2"\n'
        f"contents = [{', '.join(contents)}]\n"
    )
    if not file.exists():
        return table
    known = list(_read(file))
    if document.key in known:
        raise DocumentError(f"{file} describes the document {document.key!r} already; leave its title out")
    text = file.read_text(encoding="utf-8")
    later = [key for key in known if key > document.key] if known == sorted(known) else []
    head = re.search(rf"^\[{re.escape(later[0])}\]", text, re.MULTILINE) if later else None
    before, after = (text[: head.start()], text[head.start() :]) if head else (text, "")
    return "\n\n".join(part for part in (before.rstrip(), table.rstrip(), after.rstrip()) if part) + "\n"


def _read(file: Path) -> dict[str, Document]:
    try:
        return _documents(file.read_bytes())
    except OSError as problem:
        raise DocumentError(f"{file} cannot be read: {problem.strerror}") from None
    except DocumentError as problem:
        raise DocumentError(f"{file}{problem}") from None


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
            raise DocumentError(f" gives the document {key!r} the field {name!r}; {_near(name, _KINDS)}")
        if not _is(value, _KINDS[name]):
            raise DocumentError(f" gives the document {key!r} {name} = {value!r}; give {_KINDS[name].format(key=key)}")
    if "," in table.get("authors", ""):
        raise DocumentError(
            f" gives the document {key!r} authors = {table['authors']!r}; "
            'write "A. Author and B. Author and C. Author", as in BibTeX and without a comma'
        )
    contents = tuple(table.get("contents", ()))
    if twice := next((entry for entry in contents if contents.count(entry) > 1), None):
        raise DocumentError(f" lists {twice!r} twice in the contents of the document {key!r}; drop one")
    not_encoded = tuple(_not_encoded(key, entry, contents) for entry in table.get("not_encoded", ()))
    return Document(key, **table | {"contents": contents, "not_encoded": not_encoded})


def _not_encoded(key: str, table: dict[str, Any], contents: Sequence[str]) -> NotEncoded:
    names = [field.name for field in fields(NotEncoded)]
    where = f"a statement not encoded of the document {key!r}"
    for name in table:
        if name not in names:
            raise DocumentError(f" gives {where} the field {name!r}; {_near(name, names)}")
    for name in names:
        if not isinstance(table.get(name), str) or not table[name]:
            raise DocumentError(f' gives {where} no {name}; write {name} = "..."')
    if contents and section_of(table["place"], contents) is None:
        raise DocumentError(f" places {where} in {table['place']!r}, which begins with none of its contents; add it")
    return NotEncoded(**table)


def _is(value: Any, kind: str) -> bool:
    if kind in (_STRINGS, _TABLES):
        entry = str if kind == _STRINGS else dict
        return isinstance(value, list) and all(isinstance(one, entry) and one for one in value)
    return type(value) is (str if kind == _STRING else int)


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
