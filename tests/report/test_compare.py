import pytest

from eosbench.report import read
from eosbench.report.compare import Change, compare


def report(products, seconds=0.25):
    claim = {"id": "toy/claim", "verdict": "holds", "reasons": [], "constants": [], "seconds": seconds}
    return {"claims": [claim if products is None else claim | {"products": products}]}


def test_products_that_grew_by_more_than_a_tenth_are_told_and_are_not_worse():
    assert compare(report(120), report(240)) == [Change("toy/claim", "needed 120 products and needs 240", worse=False)]


@pytest.mark.parametrize(("old", "new"), [(120, 132), (120, 60), (0, 500), (None, 500), (120, None), (None, None)])
def test_nothing_is_told_of_a_tenth_more_products_or_of_products_that_one_report_did_not_count(old, new):
    assert compare(report(old), report(new)) == []


def test_products_and_seconds_are_told_apart():
    changes = compare(report(100, 10.0), report(200, 20.0))
    assert [change.sentence for change in changes] == [
        "took 10.0 s and takes 20.0 s",
        "needed 100 products and needs 200",
    ]


def test_a_report_does_not_differ_from_itself(troubled):
    document = read(troubled).to_json()
    assert compare(document, document) == []
