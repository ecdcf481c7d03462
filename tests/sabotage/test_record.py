"""What became of each planted error outlives the run, and an error that was changed counts as never planted."""

import dataclasses

from .plants import Plant
from .record import Seen, digest, is_seen, read, table, write

FIRST = Plant("first", "a.py", "1", "2", "tests/a.py", claim="t/one", size=0.02)
SECOND = Plant("second", "b.py", "1", "2", "tests/b.py")
THIRD = Plant("third", "b.py", "1", "3", "tests/b.py")
RECORD = {"first": Seen(digest(FIRST), True, "abc1234"), "second": Seen(digest(SECOND), False, "abc1234+")}


def test_it_is_read_as_it_was_written_without_what_was_changed_or_is_gone(tmp_path):
    file, page = tmp_path / "sabotage.json", tmp_path / "sabotage.md"
    write(RECORD, [FIRST, SECOND, THIRD], file, page)
    assert read(file) == RECORD
    changed = dataclasses.replace(SECOND, wrong="4")
    assert not is_seen(changed, RECORD)
    write(RECORD, [changed, FIRST], file, page)
    assert read(file) == {"first": RECORD["first"]}
    assert read(tmp_path / "none.json") == {}


def test_the_page_counts_and_names_them():
    page = table([FIRST, SECOND, THIRD], RECORD)
    assert "3 errors: 1 noticed, 1 survived, 1 not planted yet." in page
    assert "| t/one | first | 0.02 | 1 |" in page
    assert "| `tests/b.py` | second | `b.py` | abc1234+ |" in page.split("## Survived")[1].split("##")[0]
    assert "| `tests/b.py` | third | `b.py` |  |" in page.split("## Not planted yet")[1].split("##")[0]
