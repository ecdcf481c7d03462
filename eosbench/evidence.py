"""What a check may record. Comparisons are recorded with their margin and uncertainty, never just asserted."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Literal, NoReturn, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike

from eosbench.checker import check
from eosbench.claim import Case, Claim, EvidenceError
from eosbench.records import KINDS, CertificateFile, Compared, Comparison, Curve, Record, Requires
from eosbench.strict_json import plain

_POINTS_PER_CURVE = 600
_ROUNDING = 8  # default uncertainty of a comparison, in units of eps times its scale
_EXACT = 2**53  # integers up to here are numbers of float64, in which all is compared

Scale = Literal["small", "paper"]
"""The size at which an experiment runs: one that any machine can, or that of the paper."""

Style = Literal["line", "points", "reference"]
AxesScale = Literal["linear", "semilogx", "semilogy", "loglog"]
_STYLES, _SCALES = get_args(Style), get_args(AxesScale)
_READINGS: tuple[Compared, ...] = ("satisfied", "indeterminate", "violated")  # by severity


class OutOfScope(Exception):  # noqa: N818 - no error of the check
    """A case needs what this machine lacks. The message is one sentence with the reason and the remedy."""


class Certificate(Protocol):
    """A proof by exact or interval arithmetic that something holds for a whole range of parameters."""

    @property
    def verified(self) -> bool:
        """Whether every part of the range was proved."""

    def describe(self) -> Mapping[str, float | int | str]:
        """What was proved and at what cost: range, boxes, seconds."""

    def data(self) -> Mapping[str, Any]:
        """The certificate as JSON, for `eosbench.checker`: format, kind, theorem and proof."""


class Evidence:
    """The record of one case.

    A *margin* is how far a comparison is from failing; it is negative when it fails. If the margin is smaller than the
    *uncertainty* the comparison is `indeterminate`, never a pass. The default uncertainty is 8 eps times the scale of
    the numbers compared, with eps that of their precision, and zero for integers. Arrays are compared entry by entry
    and the worst entry is recorded. A measured value that is not finite is `violated`; a prediction, bound or tolerance
    that is not finite is an EvidenceError, so that no control fires through it; nor does one fire through a measured
    value that is not finite (`finite` records that a run diverged).

    `scale` is the size asked for, "small" or "paper"; a check that knows but one size need not look at it.
    """

    def __init__(self, claim: Claim, case: Case, scale: Scale = "small") -> None:
        self._claim = claim
        self._case = case
        self.scale = scale
        self.records: list[Record] = []
        self.curves: list[Curve] = []
        self.products = 0

    @property
    def compares(self) -> bool:
        """Whether anything was compared yet."""
        return any(isinstance(record, Comparison) for record in self.records)

    def seed(self, replicate: int = 0) -> int:
        """A seed that depends on nothing but the experiment, the case and the replicate; a control has its case's."""
        drawn_as = self._case.label if self._case.changes is None else self._case.changes
        text = f"{self._claim.experiment}|{drawn_as}|{replicate}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    def spent(self, products: ArrayLike) -> None:
        """Hessian-vector products that this case took; an array is summed. The report adds them up as its cost."""
        self.products += int(np.sum(_numbers("spent", "products", products)))

    def out_of_scope(self, reason: str) -> NoReturn:
        """End the case here, for want of a device or data: one sentence with the reason and the remedy.

        A claim none of whose cases can run is `out of scope`, which is no drift. It comes before anything is compared.
        """
        if self.compares:
            raise EvidenceError("out_of_scope() comes after a comparison, which it would hide; call it first")
        raise OutOfScope(reason)

    def requires(self, name: str, met: Any) -> None:
        """A hypothesis of the statement, True or False. Where it is not met the case is vacuous."""
        truth = np.asarray(met)
        if truth.dtype.kind != "b" or truth.ndim:
            raise EvidenceError(
                f"{name!r}: met is {_abridged(met)}; give True or False (call a function, reduce an array by .all())"
            )
        self.records.append(Requires(_text(name, "name"), bool(truth)))

    def equal(
        self,
        name: str,
        measured: ArrayLike,
        predicted: ArrayLike,
        *,
        ulps: float = 64,
        scale: float | None = None,
    ) -> None:
        """An identity: |measured - predicted| is at most `ulps` units of rounding.

        A unit of rounding is eps times `scale`, by default the largest magnitude among the numbers compared; give the
        scale where terms cancel. Below 8 units nothing could be satisfied, for that much is uncertain.

        Truth values are compared as the integers 0 and 1, exactly: "A holds if and only if B does" is `equal(name, a,
        b)` with two Boolean arrays.
        """
        if not float(_predicted(name, "ulps", ulps)) >= _ROUNDING:
            raise EvidenceError(f"{name!r}: ulps is {ulps}; give {_ROUNDING} or more, for that much is uncertain")
        m, p = _numbers(name, "measured", _counted(measured)), _predicted(name, "predicted", _counted(predicted))
        size = _scale(m, p) if scale is None else float(_predicted(name, "scale", scale))
        unit = _eps(m) * size
        self._compare("equal", name, m, p, tolerance=ulps * unit, uncertainty=_ROUNDING * unit, detail={"ulps": ulps})

    def close(
        self,
        name: str,
        measured: ArrayLike,
        predicted: ArrayLike,
        tolerance: ArrayLike,
        *,
        uncertainty: ArrayLike | None = None,
    ) -> None:
        """|measured - predicted| is at most `tolerance`, an absolute one."""
        m, p = _numbers(name, "measured", measured), _predicted(name, "predicted", predicted)
        self._compare("close", name, m, p, tolerance=_tolerance(name, tolerance), uncertainty=uncertainty)

    def at_most(
        self, name: str, measured: ArrayLike, bound: ArrayLike, *, uncertainty: ArrayLike | None = None
    ) -> None:
        """measured <= bound."""
        m, b = _numbers(name, "measured", measured), _predicted(name, "bound", bound)
        self._compare("at_most", name, m, b, uncertainty=uncertainty)

    def at_least(
        self, name: str, measured: ArrayLike, bound: ArrayLike, *, uncertainty: ArrayLike | None = None
    ) -> None:
        """measured >= bound."""
        m, b = _numbers(name, "measured", measured), _predicted(name, "bound", bound)
        self._compare("at_least", name, m, b, uncertainty=uncertainty)

    def monotone(
        self,
        name: str,
        sequence: ArrayLike,
        *,
        direction: Literal["decreasing", "increasing"] = "decreasing",
        uncertainty: ArrayLike | None = None,
    ) -> None:
        """No entry of the sequence lies above (or below) the one before it."""
        values = _numbers(name, "sequence", sequence)
        if values.ndim != 1 or values.size < 2:
            raise EvidenceError(
                f"{name!r}: a monotone sequence has one axis and two entries or more; got {values.shape}"
            )
        before, after = values[:-1], values[1:]
        if direction == "increasing":
            before, after = after, before
        rise = np.where(np.isfinite(before) & np.isfinite(after), after - before, np.nan)
        given = _default_uncertainty(before, after) if uncertainty is None else uncertainty
        self._compare("monotone", name, rise, np.zeros(()), uncertainty=given, detail={"direction": direction})

    def rate(self, name: str, x: ArrayLike, y: ArrayLike, *, exponent: float, tolerance: float) -> None:
        """y grows like x**exponent: the slope of log y over log x is the exponent, to within `tolerance`.

        The uncertainty is the standard error of the fitted slope.
        """
        xs, ys = _positive(name, "x", x), _numbers(name, "y", y)
        _same_length(name, xs, ys)
        slope, error = _slope(xs, ys)
        self._compare(
            "rate",
            name,
            np.asarray(slope),
            _predicted(name, "exponent", exponent),
            tolerance=_tolerance(name, tolerance),
            uncertainty=error if math.isfinite(error) else 0.0,
            detail={"points": xs.size, "from": float(xs.min()), "to": float(xs.max()), "standard error": error},
        )

    def bounded_by(self, name: str, residual: ArrayLike, g: ArrayLike, *, constant: float) -> None:
        """residual = O(g): |residual|/g stays below `constant`, and does not grow as g shrinks (its slope is >= -0.1).

        `g` is a geometric grid, `residual` has one value for each of its entries; the constant is fixed beforehand.
        """
        gs, values = _positive(name, "g", g), np.abs(_numbers(name, "residual", residual))
        _same_length(name, gs, values)
        ratio = values / gs
        slope, error = _slope(gs, np.maximum(ratio, np.finfo(float).tiny))
        detail = {"points": gs.size, "slope": slope, "standard error": error}
        bound = _predicted(name, "constant", constant)
        if not bound > 0:
            raise EvidenceError(f"{name!r}: constant is {constant}; give a positive number")
        self._compare("bounded_by", f"{name}: ratio", ratio, bound, detail=detail)
        self._compare(
            "at_least", f"{name}: slope of the ratio", np.asarray(slope), np.asarray(-0.1), uncertainty=_finite(error)
        )

    def constant(
        self,
        name: str,
        claimed: float,
        measured: ArrayLike,
        tolerance: float,
        *,
        uncertainty: ArrayLike | None = None,
    ) -> None:
        """A constant of theory: |measured - claimed| is at most `tolerance`, an absolute one.

        The report shows its admissible interval, measured ± tolerance intersected over all values measured: how wrong
        the statement could be and still pass.
        """
        m, c = _numbers(name, "measured", measured), _predicted(name, "claimed", claimed)
        ends = {"smallest": m.min(), "largest": m.max()} if m.size > 1 else {}
        self._compare(
            "constant", name, m, c, tolerance=_tolerance(name, tolerance), uncertainty=uncertainty, detail=ends
        )

    def fraction(self, name: str, k: int, n: int, *, at_least: float, confidence: float = 0.95) -> None:
        """k of n independent runs succeeded, and the probability of success is `at_least` with this confidence.

        The bounds are those of Clopper and Pearson, one-sided. Satisfied if the lower bound reaches `at_least`,
        violated if the upper one does not.
        """
        from scipy.special import betaincinv

        if any(_numbers(name, what, count).dtype.kind != "i" for what, count in (("k", k), ("n", n))) or not (
            0 <= k <= n and n >= 1
        ):
            raise EvidenceError(f"{name!r}: k={k} of n={n} is no fraction; count successes out of one run or more")
        goal, alpha = _share(name, "at_least", at_least), 1 - _share(name, "confidence", confidence)
        low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, alpha))
        high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - alpha))
        reading: Compared
        reading = "satisfied" if low >= goal else "violated" if high < goal else "indeterminate"
        self._record(
            "fraction",
            name,
            measured=k / n,
            predicted=goal,
            tolerance=0.0,
            margin=low - goal if reading != "violated" else high - goal,
            uncertainty=0.0,
            reading=reading,
            detail={"k": k, "n": n, "lower bound": low, "upper bound": high, "confidence": confidence},
        )

    def finite(self, name: str, values: ArrayLike) -> None:
        """All of these are finite numbers: of a run that diverged this counts the entries that are not.

        A control or counterexample that is to show divergence records it so. Through a measured value that is nan or
        infinite alone none of them fires, for that may as well be an error of the check.
        """
        entries = _numbers(name, "values", values)
        lost = int(np.sum(~np.isfinite(entries)))
        detail = {"entries": entries.size}
        self._compare("finite", f"{name}: entries not finite", np.asarray(lost), np.asarray(0), detail=detail)

    def proved(self, name: str, certificate: Certificate, theorem: Mapping[str, Any]) -> None:
        """A certificate that this theorem holds, for a whole range of parameters or in every dimension.

        A checker that shares nothing with the prover is asked about this very certificate, as data: does it prove the
        `theorem`, which has the entry `kind` and those of the certificate's theorem? Where it does, the certificate is
        kept as a file beside the results, to be checked again by `eosbench verify`.

        Raises:
            EvidenceError: prover and checker differ, in either direction.
        """
        verified = bool(certificate.verified)
        content = json.dumps(plain(certificate.data()), ensure_ascii=False, indent=1) + "\n"
        asked = plain(theorem)
        checked = check(json.loads(content), asked)
        if verified and not checked.accepted:
            raise EvidenceError(
                f"{name!r}: the prover takes it for proved, and the checker refuses it: {checked.reason}"
            )
        if checked.accepted and not verified:
            raise EvidenceError(
                f"{name!r}: the checker accepts the certificate, and the prover does not; mend the prover"
            )
        told = checked.counts if verified else {"refused": checked.reason}
        self._record(
            "proved",
            name,
            measured=float(verified),
            predicted=1.0,
            tolerance=0.0,
            margin=0.0 if verified else -1.0,
            uncertainty=0.0,
            reading="satisfied" if verified else "violated",
            detail={**certificate.describe(), **{f"checked: {what}": count for what, count in told.items()}},
            certificate=self._certificate_file(name, content, asked) if verified else None,
        )

    def _certificate_file(self, name: str, content: str, theorem: Mapping[str, Any]) -> CertificateFile:
        """The file of a certificate, named by claim, case and comparison, and by its content."""
        digest = hashlib.sha256(content.encode()).hexdigest()
        words = (re.sub(r"[^\w.=+-]+", "-", text).strip("-")[:60] for text in (self._case.label, name))
        stem = "-".join([*filter(None, words), digest[:8]])
        return CertificateFile(f"certificates/{self._claim.id}/{stem}.json", digest, theorem, content)

    def series(
        self,
        label: str,
        x: ArrayLike,
        y: ArrayLike,
        *,
        axes: tuple[str, str],
        style: Style = "line",
        scale: AxesScale = "linear",
        spread: ArrayLike | None = None,
    ) -> None:
        """A curve of the claim's figure; curves with the same axes share a panel.

        Long curves are thinned to at most 600 points that keep every bin's smallest and largest value. `spread` is the
        half-width of the measured uncertainty.
        """
        xs, ys = (np.ravel(_numbers(label, which, values)) for which, values in (("x", x), ("y", y)))
        _same_length(label, xs, ys)
        for which, value, known in (("style", style, _STYLES), ("scale", scale, _SCALES)):
            if value not in known:
                raise EvidenceError(f"{label!r}: {which} is {value!r}; choose one of {', '.join(known)}")
        if not isinstance(axes, tuple | list) or [type(axis) for axis in axes] != [str, str]:
            raise EvidenceError(f"{label!r}: axes is {_abridged(axes)}; give the names of both, (x, y)")
        kept, band = _thinned(ys), None
        if spread is not None:
            width = np.ravel(_numbers(label, "spread", spread))
            if width.size not in (1, ys.size) or np.any(width < 0):
                raise EvidenceError(f"{label!r}: spread is {_abridged(spread)}; give a half-width, or one for each y")
            band = np.broadcast_to(width, ys.shape)[kept].tolist()
        self.curves.append(
            Curve(
                label=_text(label, "label"),
                x=xs[kept].tolist(),
                y=ys[kept].tolist(),
                axes=tuple(axes),
                style=style,
                scale=scale,
                spread=band,
            )
        )

    def _compare(
        self,
        kind: str,
        name: str,
        measured: np.ndarray,
        predicted: np.ndarray,
        *,
        tolerance: ArrayLike = 0.0,
        uncertainty: ArrayLike | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the worst entry of a comparison."""
        if np.size(measured) == 0:
            raise EvidenceError(f"{name!r}: nothing was measured (an empty array); record only where there is a value")
        try:
            given = (
                _default_uncertainty(measured, predicted) if uncertainty is None else _uncertainty(name, uncertainty)
            )
            m, p, tol, unc = np.broadcast_arrays(measured, predicted, tolerance, given)
        except ValueError as problem:
            if isinstance(problem, EvidenceError):
                raise
            compared = {
                "measured": measured,
                "compared with": predicted,
                "tolerance": tolerance,
                "uncertainty": uncertainty,
            }
            shapes = {what: np.asarray(value).shape for what, value in compared.items()}
            told = ", ".join(f"{what} {shape}" for what, shape in shapes.items() if shape)
            raise EvidenceError(f"{name!r}: the shapes differ: {told}; give one shape, or single numbers") from None
        m, p, tol, unc = (np.ravel(values).astype(float) for values in (m, p, tol, unc))
        with np.errstate(invalid="ignore", over="ignore"):
            match KINDS[kind].sign:
                case "≤":
                    margin = p - m
                case "≥":
                    margin = m - p
                case _:
                    margin = tol - np.abs(m - p)
        margin = np.where(np.isfinite(m), margin, -np.inf)
        # What is not shown to pass does not pass, NaN included.
        severity = np.where((margin < -unc) | ~np.isfinite(m), 2, np.where(margin >= unc, 0, 1))
        at = int(np.argmin(np.where(severity == severity.max(), margin, np.inf)))
        self._record(
            kind,
            name,
            measured=m[at],
            predicted=p[at],
            tolerance=tol[at],
            margin=margin[at],
            uncertainty=unc[at],
            reading=_READINGS[severity[at]],
            detail={**(detail or {}), **({"worst of": m.size} if m.size > 1 else {})},
        )

    def _record(
        self,
        kind: str,
        name: str,
        *,
        measured: float,
        predicted: float,
        tolerance: float,
        margin: float,
        uncertainty: float,
        reading: Compared,
        detail: Mapping[str, Any],
        certificate: CertificateFile | None = None,
    ) -> None:
        measured, predicted, tolerance, margin = float(measured), float(predicted), float(tolerance), float(margin)
        allowance = tolerance or max(abs(predicted), abs(measured))
        slack = margin / allowance if allowance and math.isfinite(allowance) else margin
        self.records.append(
            Comparison(
                kind,
                _text(name, "name"),
                measured,
                predicted,
                tolerance,
                margin,
                float(uncertainty),
                reading,
                slack,
                plain(detail),
                certificate,
            )
        )


def _array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except Exception:
        return np.asarray(None)


def _numbers(name: str, what: str, value: Any) -> np.ndarray:
    array = _array(value)
    if array.dtype.kind == "V" and np.can_cast(array.dtype, np.float32):  # bfloat16 and its kin
        array = array.astype(np.float32)
    if array.dtype.kind == "b":
        raise EvidenceError(
            f"{name!r}: {what} is Boolean; compare truth values with evidence.equal(name, measured, predicted)"
        )
    if array.dtype.kind not in "iuf":
        raise EvidenceError(f"{name!r}: {what} must be a number or an array of numbers; got {_abridged(value)}")
    if array.dtype.kind in "iu":
        if np.any(array > _EXACT) or np.any(array < -_EXACT):
            raise EvidenceError(f"{name!r}: {what} has integers beyond 2^53; divide them by their scale, as floats")
        array = array.astype(np.int64)  # differences of unsigned ones would wrap
    return array


def _counted(value: Any) -> Any:
    """Truth values as the integers 0 and 1; anything else as it is."""
    array = _array(value)
    return array.astype(np.int64) if array.dtype.kind == "b" else value


def _predicted(name: str, what: str, value: Any) -> np.ndarray:
    array = _numbers(name, what, value)
    if not np.all(np.isfinite(array)):
        raise EvidenceError(f"{name!r}: {what} is {_abridged(value)}; only a measured value may be non-finite")
    return array


def _tolerance(name: str, value: Any) -> np.ndarray:
    return _not_negative(name, "tolerance", _predicted(name, "tolerance", value))


def _share(name: str, what: str, value: Any) -> float:
    share = float(_predicted(name, what, value))
    if not 0 < share < 1:
        raise EvidenceError(f"{name!r}: {what} is {share:g}; give a share between 0 and 1")
    return share


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise EvidenceError(f"{what} is {_abridged(value)}; give a string")
    return value


def _uncertainty(name: str, value: Any) -> np.ndarray:
    """An uncertainty may be infinite, which makes the reading indeterminate, but not unknown."""
    return _not_negative(name, "uncertainty", _numbers(name, "uncertainty", value))


def _not_negative(name: str, what: str, array: np.ndarray) -> np.ndarray:
    if not np.all(array >= 0):
        raise EvidenceError(f"{name!r}: {what} is {_abridged(array.tolist())}; give a number that is not negative")
    return array


def _positive(name: str, what: str, value: Any) -> np.ndarray:
    array = _predicted(name, what, value)
    if array.ndim != 1 or array.size < 3 or not np.all(array > 0) or array.min() == array.max():
        raise EvidenceError(
            f"{name!r}: {what} must be three or more positive numbers that differ; got {_abridged(value)}"
        )
    return array


def _same_length(name: str, x: np.ndarray, y: np.ndarray) -> None:
    if x.shape != y.shape:
        raise EvidenceError(f"{name!r}: {x.size} abscissae and {y.size} values; give one value for each")


def _abridged(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _eps(*arrays: np.ndarray) -> float:
    """Rounding unit of the coarsest precision among the arrays, zero if all are integers."""
    return max((float(np.finfo(a.dtype).eps) for a in arrays if a.dtype.kind == "f"), default=0.0)


def _scale(*arrays: np.ndarray) -> float:
    return max(float(np.max(np.abs(a), where=np.isfinite(a), initial=0.0)) for a in arrays)


def _default_uncertainty(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    size = np.maximum(np.abs(measured), np.abs(predicted)).astype(float)
    return _ROUNDING * _eps(measured, predicted) * np.where(np.isfinite(size), size, 0.0)


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of log y over log x by least squares, and its standard error; NaN where y is not positive and finite."""
    if not np.all(np.isfinite(y) & (y > 0)):
        return math.nan, math.nan
    log_x, log_y = np.log(x), np.log(y)
    centred = log_x - log_x.mean()
    slope = float(centred @ log_y / (centred @ centred))
    rest = log_y - log_y.mean() - slope * centred
    return slope, float(np.sqrt(rest @ rest / (x.size - 2) / (centred @ centred)))


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _thinned(y: np.ndarray) -> np.ndarray:
    """Indices of at most 600 points: of every bin the smallest and the largest value, so that no spike is hidden.

    Where the curve ends in entries that are not finite, the last that is and the one after it are among them.
    """
    if y.size <= _POINTS_PER_CURVE:
        return np.arange(y.size)
    finite = np.flatnonzero(np.isfinite(y))
    last = int(finite[-1]) if finite.size else 0
    kept = {0, last, min(last + 1, y.size - 1), y.size - 1}
    for block in np.array_split(np.arange(y.size), _POINTS_PER_CURVE // 2 - 2):
        values = np.where(np.isfinite(y[block]), y[block], np.inf)
        kept |= {int(block[np.argmin(values)]), int(block[np.argmax(np.where(np.isfinite(values), values, -np.inf))])}
    return np.array(sorted(kept))
