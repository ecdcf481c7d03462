"""A claim names its document by a key; what is known of it stands in one file, the nearest above the claim."""

import os
import runpy

import pytest

from eosbench import Document, Source
from eosbench.catalogue import read_claims
from eosbench.claim import ClaimError
from eosbench.documents import NotEncoded, section_of

DOCUMENTS = """
[talk]
title = "A talk"
authors = "A. Author and B. Author"
year = 2022
url = "https://example.org/talk"
version = "of July"

[poster]
title = "A poster"
"""
CONTENTS = """
contents = ["slide 1", "slide 2"]
[[talk.not_encoded]]
place = "slide 2, note"
statement = "$x$ is small."
why = "How small?"
"""
CLAIM = """
from eosbench import Claim, Source
one = Claim("toy/one", source=Source("{key}", "slide 1"), printed="p", expected="holds")
"""


@pytest.fixture
def claims(tmp_path):
    (tmp_path / "claims" / "toy").mkdir(parents=True)
    (tmp_path / "claims" / "documents.toml").write_text(DOCUMENTS)
    return tmp_path / "claims"


def both_ways(file):
    """The source of the claim in a file, as the catalogue reads it and as an import makes it."""
    (listed,) = read_claims(file)
    return listed.source, runpy.run_path(str(file))["one"].source


def refusals(file):
    """What either says, without the name of the claim file that the catalogue puts in front."""
    said = []
    for make in (read_claims, lambda file: runpy.run_path(str(file))):
        with pytest.raises(ClaimError) as raised:
            make(file)
        said.append(str(raised.value))
    listed, imported = said
    assert listed == f"{file}: {imported}"
    assert "\n" not in imported
    return imported


def test_a_key_finds_its_document_upwards_from_the_file_of_the_claim(claims):
    file = claims / "toy" / "test_one.py"
    file.write_text(CLAIM.format(key="talk"))
    talk = Document("talk", "A talk", "A. Author and B. Author", 2022, "https://example.org/talk", "of July")
    assert both_ways(file) == (Source(talk, "slide 1"), Source(talk, "slide 1"))


def test_contents_and_what_is_not_encoded_are_read(claims):
    file = claims / "toy" / "test_one.py"
    file.write_text(CLAIM.format(key="talk"))
    (claims / "documents.toml").write_text(DOCUMENTS.replace("[poster]", f"{CONTENTS}\n[poster]"))
    for source in both_ways(file):
        assert source.document.contents == ("slide 1", "slide 2")
        assert source.document.not_encoded == (NotEncoded("slide 2, note", "$x$ is small.", "How small?"),)


@pytest.mark.parametrize(
    ("place", "section"),
    [
        ("Section 5", "Section 5"),
        ("Section 5, last paragraph", "Section 5"),
        ("Section 5: the end", "Section 5"),
        ("Section 5.", "Section 5"),
        ("Section 5.3, Equation (4)", "Section 5.3"),
        ("Section 5.30", None),
        ("Section 5.4", None),
        ("Section 50", None),
        ("Section 5a", None),
        ("section 5", None),
        ("In Section 5", None),
        ("Results (2), (3), Theorem 1", "Results (2), (3)"),
        ("Results (2), Theorem 1", "Results (2)"),
    ],
)
def test_a_place_is_in_the_longest_entry_with_which_it_begins_in_whole_words(place, section):
    contents = ["Results (2)", "Results (2), (3)", "Section 5", "Section 5.3"]
    assert section_of(place, contents) == section
    assert section_of(place, contents[::-1]) == section


def test_the_nearest_file_counts_and_is_not_added_to(claims):
    file = claims / "toy" / "test_one.py"
    file.write_text(CLAIM.format(key="talk"))
    nearest = claims / "toy" / "documents.toml"
    nearest.write_text('[talk]\ntitle = "Another talk"\n')
    assert {source.document.title for source in both_ways(file)} == {"Another talk"}
    nearest.write_text('[slides]\ntitle = "Slides"\n')
    assert refusals(file) == f"{nearest} does not describe the document 'talk'; add it there"


def test_a_folder_of_that_name_and_a_link_to_nowhere_are_passed_over(claims):
    file = claims / "toy" / "test_one.py"
    file.write_text(CLAIM.format(key="poster"))
    (claims / "toy" / "documents.toml").symlink_to("nowhere.toml")
    assert {source.document.title for source in both_ways(file)} == {"A poster"}
    (claims / "toy" / "documents.toml").unlink()
    (claims / "toy" / "documents.toml").mkdir()
    assert {source.document.title for source in both_ways(file)} == {"A poster"}


def test_a_relative_path_and_a_linked_folder_are_followed_as_they_are_spelled(claims, tmp_path, monkeypatch):
    (claims / "toy" / "test_one.py").write_text(CLAIM.format(key="talk"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "documents.toml").write_text('[talk]\ntitle = "A talk elsewhere"\n')
    (tmp_path / "elsewhere" / "toy").symlink_to(claims / "toy")
    monkeypatch.chdir(claims / "toy")
    for path, title in (
        ("test_one.py", "A talk"),
        ("../../claims/toy/test_one.py", "A talk"),
        ("../../elsewhere/toy/test_one.py", "A talk elsewhere"),
    ):
        file = tmp_path.joinpath("claims", "toy", path)
        assert {source.document.title for source in both_ways(file)} == {title}, path
    (listed,) = read_claims(tmp_path.joinpath("claims", "toy", "test_one.py").relative_to(claims / "toy"))
    assert listed.source.document.title == "A talk"


def test_a_document_is_given_itself_where_there_is_no_file(tmp_path):
    file = tmp_path / "test_one.py"
    file.write_text(CLAIM.format(key="talk").replace('Source("talk",', "Source(talk,"))
    file.write_text(file.read_text().replace("Source\n", 'Document, Source\ntalk = Document("talk", "Mine")\n', 1))
    assert {source.document.title for source in both_ways(file)} == {"Mine"}


def test_without_a_file_the_search_starts_in_the_working_directory(claims, monkeypatch):
    monkeypatch.chdir(claims / "toy")
    made = {}
    exec('from eosbench import Source\nsource = Source("talk", place="slide 1")', made)
    assert made["source"].document.title == "A talk"
    assert Source(document="poster", place="top", folder=claims).document.title == "A poster"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("tolk", "did you mean talk? If not, add it there"),
        ("Talk", "did you mean talk? If not, add it there"),
        ("xyz", "add it there"),
        ("", "add it there"),
    ],
)
def test_an_unknown_key_is_told_with_the_file_and_what_is_near(claims, key, hint):
    file = claims / "toy" / "test_one.py"
    file.write_text(CLAIM.format(key=key))
    assert refusals(file) == f"{claims / 'documents.toml'} does not describe the document {key!r}; {hint}"


def test_no_file_at_all_is_told_with_the_two_remedies(tmp_path):
    file = tmp_path / "test_one.py"
    file.write_text(CLAIM.format(key="talk"))
    assert refusals(file) == (
        f"there is no documents.toml in {tmp_path} or above it to describe the document 'talk'; write one, or give a "
        "Document in place of its key"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'[talk]\ntitle "A talk"\n', ", line 2, cannot be parsed: Expected '=' after a key in a key/value pair"),
        (b'[talk]\ntitle = "A talk"\n\n[talk]\n', ", line 4, cannot be parsed: Cannot declare"),
        (b'[talk]\ntitle = "A talk"\nx = """', ", line 3, cannot be parsed: "),
        (b'[talk]\ntitle = "A talk"\nauthors = "\xff"\n', ", line 3, cannot be parsed: it is not UTF-8"),
        (b'title = "A talk"\n', " has 'title' outside of any table; write [key-of-the-document] above it"),
        (b"[talk]\nyear = 2022\n", " gives the document 'talk' no title; add it"),
        (b'[talk]\ntitle = ""\n', " gives the document 'talk' no title; add it"),
        (
            b'[talk]\ntitle = "A"\nauthor = "B"\n',
            " gives the document 'talk' the field 'author'; did you mean authors?",
        ),
        (b'[talk]\ntitle = "A"\ndoi = "B"\n', " gives the document 'talk' the field 'doi'; there are title, authors,"),
        (b'[talk]\ntitle = "A"\nkey = "B"\n', " gives the document 'talk' the field 'key'; there are title, authors,"),
        (b'[talk]\ntitle = "A"\nyear = "2022"\n', " gives the document 'talk' year = '2022'; give a whole number"),
        (b'[talk]\ntitle = "A"\nyear = true\n', " gives the document 'talk' year = True; give a whole number"),
        (b'[talk]\ntitle = "A"\ncontents = "B"\n', " gives the document 'talk' contents = 'B'; give a list of strings"),
        (
            b'[talk]\ntitle = "A"\ncontents = [""]\n',
            " gives the document 'talk' contents = ['']; give a list of strings",
        ),
        (
            b'[talk]\ntitle = "A"\ncontents = ["B", "C", "B"]\n',
            " lists 'B' twice in the contents of the document 'talk'; drop one",
        ),
        (
            b'[talk]\ntitle = "A"\nnot_encoded = ["B"]\n',
            " gives the document 'talk' not_encoded = ['B']; give tables, each headed by [[talk.not_encoded]]",
        ),
        (
            b'[talk]\ntitle = "A"\n[[talk.not_encoded]]\nplace = "p"\nwhy = "w"\n',
            " gives a statement not encoded of the document 'talk' no statement; write statement = \"...\"",
        ),
        (
            b'[talk]\ntitle = "A"\n[[talk.not_encoded]]\nplace = "p"\nwhy = "w"\nstatment = "s"\n',
            " gives a statement not encoded of the document 'talk' the field 'statment'; did you mean statement?",
        ),
        (
            b'[talk]\ntitle = "A"\ncontents = ["q"]\n[[talk.not_encoded]]\nplace = "p"\nwhy = "w"\nstatement = "s"\n',
            " places a statement not encoded of the document 'talk' in 'p', which begins with none of its contents;",
        ),
        (b'[talk]\ntitle = "A"\nauthors = ["B"]\n', " gives the document 'talk' authors = ['B']; give a string"),
    ],
)
def test_a_damaged_file_is_told_in_one_sentence(claims, content, sentence):
    file = claims / "toy" / "test_one.py"
    file.write_text(CLAIM.format(key="talk"))
    (claims / "documents.toml").write_bytes(content)
    assert refusals(file).startswith(f"{claims / 'documents.toml'}{sentence}")


def test_what_is_changed_in_the_file_is_read_again(claims):
    file = claims / "toy" / "test_one.py"
    file.write_text(CLAIM.format(key="talk"))
    both_ways(file)
    (claims / "documents.toml").write_text('[talk]\ntitle = "A better talk"\n')
    assert {source.document.title for source in both_ways(file)} == {"A better talk"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(claims):
    file = claims / "toy" / "test_one.py"
    file.write_text(CLAIM.format(key="talk"))
    (claims / "documents.toml").chmod(0)
    assert refusals(file) == f"{claims / 'documents.toml'} cannot be read: Permission denied"


def test_pytest_tells_an_unknown_key_in_one_sentence_and_lists_what_is_known(pytester):
    pytester.makefile(".toml", documents=DOCUMENTS)
    check = (
        "@one.check(x=[1], controls={'sign': dict(x=-1)})\ndef test_one(evidence, x):\n    evidence.at_least('x', x, 0)"
    )
    pytester.makepyfile(test_one=CLAIM.format(key="tolk") + check)
    done = pytester.runpytest("-p", "no:cacheprovider")
    lines = [line for line in done.stdout.lines if line.startswith("test_one.py: ")]
    assert lines == [
        f"test_one.py: {pytester.path}/documents.toml does not describe the document 'tolk'; did you mean talk? "
        "If not, add it there"
    ]
    assert "Traceback" not in done.stdout.str()
    pytester.makepyfile(test_one=CLAIM.format(key="talk") + check)
    assert pytester.runpytest("-p", "no:cacheprovider").ret == 0
    sources = (pytester.path / "claims-report" / "sources.bib").read_text()
    for known in ("author = {A. Author and B. Author}", "year = {2022}", "version = {of July}", "/talk}"):
        assert known in sources
