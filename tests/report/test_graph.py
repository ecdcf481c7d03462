import re
from xml.etree import ElementTree

import pytest

from eosbench.report import read, write
from eosbench.report.graph import graph


@pytest.fixture
def drawn(recorder, tmp_path):
    """What is drawn for claims given as a name and the names of what it rests on."""

    def draw(**uses):
        for name, below in uses.items():
            recorder.simple(f"toy/{name}", uses=tuple(f"toy/{used}" for used in below))
        return graph(read(recorder.write(tmp_path / "evidence.jsonl")))

    return draw


def layers(found):
    """The names of the boxes by their place from left to right."""
    columns = {}
    for box in found.boxes:
        columns.setdefault(box.x, []).append(box.id.removeprefix("toy/"))
    return [sorted(columns[x]) for x in sorted(columns)]


def test_where_no_claim_uses_another_nothing_is_drawn(drawn):
    assert drawn(a=(), b=()) is None


def test_a_claim_stands_to_the_right_of_everything_that_it_rests_on(drawn):
    found = drawn(a=(), b=("a",), c=("a", "b"), d=("c", "a"), alone=())
    assert layers(found) == [["a"], ["b"], ["c"], ["d"]]
    assert len(found.paths) == 5


def test_boxes_do_not_overlap_and_lie_within_the_drawing(drawn):
    found = drawn(a=(), b=(), c=("a", "b"), d=("a",), e=("c", "d", "b"), f=("e", "a"), g=("b",))
    for i, box in enumerate(found.boxes):
        assert 0 < box.x < box.x + box.width < found.width
        assert 0 < box.y < box.y + box.height < found.height
        for other in found.boxes[:i]:
            assert box.x + box.width <= other.x or other.x + other.width <= box.x or abs(box.y - other.y) >= box.height


def test_a_line_ends_at_the_two_boxes_that_it_joins(drawn):
    found = drawn(a=(), b=("a",), c=("b", "a"))
    by_id = {box.id: box for box in found.boxes}
    for path, (name, used) in zip(found.paths, (("b", "a"), ("c", "b"), ("c", "a")), strict=True):
        numbers = [float(text) for text in re.findall(r"[\d.]+", path)]
        upper, lower = by_id[f"toy/{name}"], by_id[f"toy/{used}"]
        ends = lower.x + lower.width, lower.y + lower.height / 2, upper.x, upper.y + upper.height / 2
        assert [*numbers[:2], *numbers[-2:]] == pytest.approx(ends, abs=0.51)


def test_lines_that_need_not_cross_do_not(drawn):
    found = drawn(a=(), b=(), c=(), z=("a",), y=("b",), x=("c",))
    height = {box.id.removeprefix("toy/"): box.y for box in found.boxes}
    assert [height[name] for name in "zyx"] == [height[name] for name in "abc"]


def test_a_circle_and_a_claim_that_uses_itself_are_drawn_all_the_same(drawn):
    found = drawn(a=("b",), b=("a", "b"), c=("b",))
    assert sorted(name for layer in layers(found) for name in layer) == ["a", "b", "c"]
    assert len(found.paths) == 3


def test_a_claim_that_a_partial_run_lacks_is_named(drawn):
    assert {box.id: box.verdict for box in drawn(b=("a",)).boxes} == {
        "toy/a": "not in this report",
        "toy/b": "holds",
    }


def test_a_chain_of_a_thousand_claims_is_drawn(drawn):
    found = drawn(**{f"n{i}": (f"n{i - 1}",) if i else () for i in range(1000)})
    assert len(layers(found)) == 1000


def test_the_page_draws_it_with_a_title_a_description_and_a_list(whole, tmp_path):
    text = write(whole, tmp_path / "out").report.read_text(encoding="utf-8")
    drawing = text[text.index("<svg", text.index("What rests on what")) :]
    drawing = ElementTree.fromstring(drawing[: drawing.index("</svg>") + 6])
    assert drawing.get("role") == "img"
    assert {drawing.find("title").get("id"), drawing.find("desc").get("id")} == set(
        drawing.get("aria-labelledby").split()
    )
    assert {"orbit/quartic", "corrected", "✔*"} <= {element.text for element in drawing.iter("text")}
    listed = text[text.index("The same as a list") :]
    listed = listed[: listed.index("</details>")]
    assert [listed.count(f'href="#{id}"') for id in ("balancing/scalar", "orbit/quartic", "orbit/existence-1d")] == [
        1, 2, 2,
    ]  # fmt: skip


def test_the_page_has_no_section_for_it_where_nothing_is_used(recorder, tmp_path):
    recorder.simple()
    text = write(recorder.write(tmp_path / "e.jsonl"), tmp_path / "out").report.read_text(encoding="utf-8")
    assert "What rests on what" not in text
    assert "Rests on" not in text
