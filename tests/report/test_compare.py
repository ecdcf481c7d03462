import pytest

from eosbench.records import from_json
from eosbench.report import read
from eosbench.report.claims_json import Report, claims_json
from eosbench.report.compare import Change, compare


def report(products, seconds=0.25):
    claim = {"id": "toy/claim", "verdict": "holds", "reasons": [], "constants": [], "seconds": seconds}
    return from_json(
        Report, {"environment": {}, "claims": [claim if products is None else claim | {"products": products}]}
    )


def test_products_that_grew_by_more_than_a_tenth_are_told_and_are_not_worse():
    assert compare(report(120), report(240)) == [Change("toy/claim", "needed 120 products and needs 240", worse=False)]


@pytest.mark.parametrize(("old", "new"), [(120, 132), (120, 60), (0, 500), (None, 500), (120, None), (None, None)])
def test_nothing_is_told_of_a_tenth_more_products_or_of_products_that_one_report_did_not_count(old, new):
    assert compare(report(old), report(new)) == []


def of_severity(severity, verdict="corrected"):
    claim = {"id": "toy/claim", "verdict": verdict, "reasons": [], "constants": [], "severity": severity}
    return from_json(Report, {"environment": {}, "claims": [claim]})


def test_a_severity_that_changed_is_told_and_is_not_worse():
    told = compare(of_severity("slip"), of_severity("false"))
    assert told == [Change("toy/claim", "was called slip and is called false", worse=False)]
    assert compare(of_severity("slip"), of_severity("slip")) == []
    assert compare(of_severity(None), of_severity("slip")) == []  # an older report had none


def test_products_and_seconds_are_told_apart():
    changes = compare(report(100, 10.0), report(200, 20.0))
    assert [change.sentence for change in changes] == [
        "took 10.0 s and takes 20.0 s",
        "needed 100 products and needs 200",
    ]


def test_a_report_does_not_differ_from_itself(troubled):
    document = from_json(Report, claims_json(read(troubled)))
    assert compare(document, document) == []


def with_constants(*constants, verdict="holds"):
    claim = {"id": "toy/claim", "verdict": verdict, "reasons": [], "constants": list(constants)}
    return from_json(Report, {"environment": {}, "claims": [claim | {"seconds": 0.25, "products": 10}]})


C = {"name": "c", "claimed": 2.0, "low": 1.9, "high": 2.1}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ([C], [C | {"low": "nan", "high": "nan"}], [("c (2): [1.9, 2.1] became [nan, nan]", False)]),
        ([C | {"low": "nan"}], [C | {"low": "nan"}], []),
        ([C | {"high": "inf"}], [C], [("c (2): [1.9, inf] became [1.9, 2.1]", False)]),
        ([C], [], [("no longer checks c", True)]),
        ([], [C], [("checks c (2), as it did not before", False)]),
        ([C], [C | {"claimed": 2.05}], [("c (2.05, claimed 2 before)", False)]),
        ([C], [C | {"claimed": 1.0, "low": 0.9, "high": 1.1}],
         [("c (1, claimed 2 before): [1.9, 2.1] became [0.9, 1.1]", False)]),
    ],
)  # fmt: skip
def test_a_constant_that_went_or_came_or_claims_otherwise_is_told(old, new, told):
    changes = compare(with_constants(*old), with_constants(*new))
    assert [(change.sentence, change.worse) for change in changes] == told


def test_the_constants_of_a_claim_that_did_not_run_are_no_loss():
    changes = compare(with_constants(C), with_constants(verdict="not run"))
    assert [change.worse for change in changes] == [False, False]
