"""Where an optimizer with one vector of memory loses stability on a quadratic, by the criterion of Jury."""

from collections.abc import Mapping, Sequence

from eosbench.proof._identity import Identity

SIGNS = ("factor", "p(1)", "1 - determinant", "1 + determinant")
"""What must be positive, the last two times the factor."""


def jury_identity(
    step: Mapping[str, str],
    x: Sequence[str],
    m: Sequence[str],
    edge: tuple[str, str],
    excess: Mapping[str, str],
    remainder: Mapping[str, str],
    scalars: str = "b d",
    nonnegative: str = "b",
    given: Sequence[tuple[str, str]] = (("b + d", "1"),),
) -> Identity:
    """Parameters x and memory m, mapped linearly by each step, on quadratics of any dimension with Hessian A.

    With A v = la v a step maps the pair (vᵀx, vᵀm) linearly. Its characteristic polynomial is p(z) = z² - trace z +
    determinant, and p(-1) = threshold - factor eta la is stated. By the criterion of Jury both roots are inside the
    unit circle if and only if p(1), p(-1), 1 - determinant and 1 + determinant are positive: stated where the factor
    times eta la is below the threshold by some c > 0. Above it p(-1) is negative, so that a real root is below -1, and
    the pair grows from every start but those of one line.

    Args:
        step: names and formulas that end in `m1` and `x1`, what a step makes of `m` and `x`, with `A` and `eta`.
        x, m: the coefficients of x, m and A x in `x1` and in `m1`.
        edge: factor and threshold, formulas.
        excess: for each of `SIGNS` a formula that is positive to the letter.
        remainder: for some of `SIGNS` a formula in `given2`, factor eta la + c = threshold, and `given3` ...
        scalars: names besides eta, la and c; all of them are positive but the `nonnegative` ones.
        nonnegative: scalars that may be zero.
        given: equations between them, from `given3` on.

    Raises:
        ValueError: one of `SIGNS` has no excess.
    """
    if lacking := [sign for sign in SIGNS if sign not in excess]:
        raise ValueError(f"excess has no {lacking[0]!r}: give each of {SIGNS} a formula that is positive to the letter")
    factor, threshold = edge
    (xx, xm, xa), (mx, mm, ma) = x, m
    from_x, from_m = f"({xx} + ({xa})*la)", f"({mx} + ({ma})*la)"
    trace, determinant = f"({from_x} + {mm})", f"({from_x}*({mm}) - ({xm})*{from_m})"
    polynomial = {z: f"1 - ({z})*{trace} + {determinant}" for z in ("1", "-1")}
    positive = (factor, polynomial["1"], f"({factor})*(1 - {determinant})", f"({factor})*(1 + {determinant})")
    statements = (
        ("vᵀx after a step", "v.T@x1", "=", f"{from_x}*v.T@x + ({xm})*v.T@m"),
        ("vᵀm after a step", "v.T@m1", "=", f"{from_m}*v.T@x + ({mm})*v.T@m"),
        ("p(-1)", polynomial["-1"], "=", f"{threshold} - ({factor})*eta*la"),
        ("p(-1) below the threshold", polynomial["-1"], ">", "0"),
        *((name, formula, ">", "0") for name, formula in zip(SIGNS, positive, strict=True)),
    )
    return Identity(
        statements,
        f"eta la c {scalars}",
        matrices={"A": ("p", "p", "symmetric"), "x": ("p", "1"), "m": ("p", "1"), "v": ("p", "1")},
        where=step,
        given=(("v.T@A", "la*v.T"), (f"({factor})*eta*la + c", threshold), *given),
        positive=" ".join(name for name in f"eta la c {scalars}".split() if name not in nonnegative.split()),
        nonnegative=nonnegative,
        remainder={
            "vᵀx after a step": f"({xa})*given1@x",
            "vᵀm after a step": f"({ma})*given1@x",
            "p(-1) below the threshold": "-given2",
            **remainder,
        },
        excess={"p(-1) below the threshold": "c", **excess},
    )
