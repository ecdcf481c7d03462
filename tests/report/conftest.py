"""Results files made up for the tests: of real records, from runs that never happened."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eosbench.claim import Case, Claim, Document, Source
from eosbench.documents import NotEncoded
from eosbench.evidence import Evidence
from eosbench.proof import Identity, prove_identity
from eosbench.records import (
    SCHEMA,
    EndLine,
    Line,
    Outcome,
    Planned,
    RunLine,
    Started,
    claim_line,
    document_line,
    to_json,
)
from eosbench.verdict import read

TALK = Document(
    "arora-2022-talk",
    title="Understanding Gradient Descent on Edge of Stability in Deep Learning (talk)",
    authors="S. Arora, Z. Li and A. Panigrahi",
    year=2022,
    url="https://example.org/talk_1%20a",
    version="of July 2022",
)
REVIEW = Document("shapira-2023", title="Self-Stabilization and the Edge of Stability: a review")
POSTER = Document(
    "chen-bruna-poster",
    title="Beyond the Edge of Stability via Two-step Gradient Updates (poster)",
    contents=("I, Introduction", "II, Theorem 1", "II, Convergence", "III", "IV"),
    not_encoded=(
        NotEncoded(
            "I, Introduction", r"It explodes for $\eta>2/\lambda$.", "No claim of its own: orbit/quartic is near."
        ),
        NotEncoded("II, Convergence: higher dimensions", "It converges there too.", "No rate is given."),
    ),
)
SUMMARY = Document("summary-2022", title="Abstract with key results")

ENVIRONMENT = {
    "eosbench": "0.1.0",
    "commit": "4be1c07",
    "dirty": False,
    "python": "3.11.7",
    "jax": "0.10.2",
    "jaxlib": "0.10.2.dev20261122+4be1c07d93f0aa51b6c7e2f14d9b8a03c5e6f712",  # nowhere to break the line
    "numpy": "2.4.6",
    "scipy": "1.17.1",
    "x64": True,
    "device": "cpu",
    "backend": "cpu",
    "cpus": 2,
    "workers": 2,
    "platform": "Linux-6.1-x86_64",
    "started": "2026-11-22T00:00:00+00:00",
}


def _file(claim: Claim) -> str:
    topic, _, name = claim.id.replace("-", "_").partition("/")
    return f"claims/{topic}/test_{name}.py"


class Recorder:
    """Writes the lines of a results file."""

    def __init__(self, **environment: Any) -> None:
        selection = {"args": ["claims"], "subset": False}
        self.lines: list[dict[str, Any]] = []
        self._add(RunLine(schema=SCHEMA, selection=selection, environment=ENVIRONMENT | environment))

    def _add(self, line: Line) -> None:
        self.lines.append(to_json(line))

    def claim(
        self,
        id: str,
        document: Document = POSTER,
        place: str = "II",
        printed: str = "$x=y$",
        corrected: str | None = None,
        expected: Any = "holds",
        out_of_scope: str | None = None,
        uses: tuple[str, ...] = (),
        severity: Any = None,
        why: str | None = None,
    ) -> Claim:
        claim = Claim(
            id,
            source=Source(document, place),
            printed=printed,
            corrected=corrected,
            expected=expected,
            uses=uses,
            severity=severity,
            why=why,
            out_of_scope=out_of_scope,
        )
        line = document_line(document)
        if to_json(line) not in self.lines:
            self._add(line)
        self._add(claim_line(claim, _file(claim)))
        return claim

    def case(
        self,
        claim: Claim,
        label: str,
        record: Callable[[Evidence], None] | None = None,
        role: Any = "case",
        check: str = "test_it",
        status: Any = "completed",
        message: str = "",
        seconds: float = 0.25,
        products: int = 0,
        selected: bool = True,
        reported: bool = True,
        started: bool = True,
    ) -> str:
        """A planned case; without `reported` or `started` its story ends before that."""
        nodeid = f"{_file(claim)}::{check}[{label}]"
        params = dict(part.split("=", 1) for part in label.split(",") if "=" in part)
        planned = Planned(
            nodeid=nodeid, claim=claim.id, check=check, case=label, role=role, params=params, selected=selected
        )
        self._add(planned)
        if selected and started:
            self._add(Started(nodeid=nodeid))
        if not (selected and started and reported):
            return nodeid
        evidence = Evidence(claim, Case(label, role, params))
        if record is not None:
            record(evidence)
        self._add(
            Outcome(
                nodeid=nodeid,
                status=status,
                reading=read(evidence.records, role) if status == "completed" else None,
                message=message,
                seconds=seconds,
                products=products,
                worker="gw0",
                records=evidence.records,
                series=evidence.curves,
            )
        )
        return nodeid

    def simple(self, id: str = "toy/claim", **about: Any) -> Claim:
        """A claim with one satisfied case and one control that fired."""
        claim = self.claim(id, **about)
        self.case(claim, "n=1", lambda e: e.at_most("error", 1e-9, 1e-8))
        self.case(claim, "control: off", lambda e: e.at_most("error", 1.0, 1e-8), role="control")
        return claim

    def end(self, outcome: str = "finished") -> None:
        self._add(EndLine(outcome=outcome, seconds=123.4))

    def write(self, path: Path) -> Path:
        path.write_text("".join(json.dumps(line, allow_nan=False) + "\n" for line in self.lines), encoding="utf-8")
        return path


def quartic(recorder: Recorder) -> None:
    claim = recorder.claim(
        "orbit/quartic",
        POSTER,
        "II, Convergence: a special 1D function",
        r"For $1<\eta<1.121$, GD on $\frac14(x^2-1)^2$ converges from any $x_0\in(0,1)$ to the period-2 orbit "
        r"$\{\delta_1,\delta_2\}$, with $\delta_i=\sqrt{\tfrac{1}{2}\bigl(\tfrac1\eta+1\bigr)"
        r"\pm\tfrac12\sqrt{\tfrac{3}{4}\cdots}}$.",
        r"For $1<\eta<1.121$, GD on $\frac14(x^2-1)^2$ converges to $\{\delta_1,\delta_2\}$ from every $x_0\in(0,1)$ "
        r"that is not one of the countably many preimages of the fixed point $1$.",
        "corrected",
        uses=("orbit/existence-1d",),
        severity="missing hypothesis",
    )

    def converges(eta: float, distance: float) -> Callable[[Evidence], None]:
        def record(e: Evidence) -> None:
            e.requires("1 < eta < 1.121", 1 < eta < 1.121)
            e.requires("no start is a preimage of 1", True)
            x = [0.3]
            for _ in range(60):
                x.append(x[-1] - eta * x[-1] * (x[-1] ** 2 - 1))
            e.at_most("distance to the orbit", distance, 1e-8)
            e.series("GD", np.arange(61), x, axes=("step $t$", "$x_t$"))
            e.series("the minimum", [0, 60], [1, 1], axes=("step $t$", "$x_t$"), style="reference")

        return record

    for eta, distance in ((1.01, 8.7e-9), (1.05, 4e-15), (1.10, 9e-16), (1.12, 6e-16)):
        recorder.case(claim, f"eta={eta}", converges(eta, distance), check="test_every_generic_start", seconds=1.4)
    for name, eta, distance in (
        ("below 1 the minimum is stable", 0.99, 0.12),
        ("beyond sqrt(5)-1 the orbit is unstable", 1.25, 0.3),
    ):
        recorder.case(
            claim, f"control: {name}", converges(eta, distance), role="control", check="test_every_generic_start"
        )

    def stays(e: Evidence) -> None:
        e.requires("0 < x0 < 1", True)
        e.at_most("distance to the orbit", 0.17861, 1e-8)

    recorder.case(claim, "eta=1.0416666666666667,x0=0.6", stays, role="counterexample", check="test_a_preimage_stays")


def progressive_sharpening(recorder: Recorder) -> None:
    claim = recorder.claim(
        "edge/progressive-sharpening",
        REVIEW,
        "Section 3",
        r"While the loss falls, the sharpness $S(\theta_t)=\lambda_{\max}(\nabla^2L(\theta_t))$ rises until it reaches "
        r"$2/\eta$.",
    )
    random = np.random.default_rng(0)
    for seed in range(3):

        def record(e: Evidence, seed: int = seed) -> None:
            t = np.arange(0, 2000, 5)
            rise = 13.33 * (0.25 + 0.78 * (1 - np.exp(-t / (210 + 40 * seed))))
            noise = random.normal(size=t.size)
            s = np.minimum(rise, 13.6 + 0.35 * noise)
            e.requires("S(0) < 2/eta", True)
            e.at_least("largest S before the crossing", s.max(), 13.33, uncertainty=0.01)
            e.fraction("rises over windows of 50 steps", 79, 80, at_least=0.9)
            axes = ("step $t$", r"sharpness $\lambda_1$")
            e.series("sharpness", t, s, axes=axes, spread=0.25 if seed == 0 else None)
            e.series(r"$2/\eta$", t[[0, -1]], [13.33, 13.33], axes=axes, style="reference")
            loss = np.exp(-t / 300) * (1 + 0.25 * np.abs(noise) * (s > 13.0)) + 1e-3
            e.series("loss", t, loss, axes=("step $t$", "loss $L$"), scale="semilogy")

        recorder.case(
            claim, f"seed={seed}", record, check="test_sharpness_rises_to_the_edge", seconds=31.2, products=1200
        )
    recorder.case(
        claim,
        "control: ReLU at 2/eta = 40",
        lambda e: e.at_least("largest S before the crossing", 22.1, 40.0, uncertainty=0.01),
        role="control",
        check="test_sharpness_rises_to_the_edge",
        seconds=28.9,
    )


def limiting_flow(recorder: Recorder) -> None:
    claim = recorder.claim(
        "limiting-flow/ngd",
        TALK,
        "Theorem 4.4",
        r"In phase II, $\Phi(x_t)$ of normalized GD follows $\frac{dX}{d\tau}=-\tfrac14 P^\perp_{X,\Gamma}\nabla\log"
        r"\lambda_1(\nabla^2L(X))$, with error $O(\eta)$, on the time scale $\tau=\eta^2t$.",
    )

    def record(e: Evidence, gap: float, slope: float) -> None:
        e.requires("lambda_1 is simple along the flow", True)
        e.requires("x_0 lies O(eta)-close to the manifold", True)
        eta = np.geomspace(1e-3, 3e-2, 6)
        error = 0.21 * eta**slope
        e.rate("error against eta", eta, error * (1 + 0.03 * np.sin(40 * eta)), exponent=1.0, tolerance=0.15)
        e.constant("1/4 in the limiting flow", 0.25, 0.25 + gap, 4e-4, uncertainty=2e-5)
        e.series(
            "largest distance",
            eta,
            error,
            axes=(r"$\eta$", "distance of the two flows"),
            scale="loglog",
            style="points",
            spread=0.2 * error,
        )
        e.series(
            "slope 1",
            eta,
            0.21 * eta,
            axes=(r"$\eta$", "distance of the two flows"),
            scale="loglog",
            style="reference",
        )

    recorder.case(claim, "manifold=circle", lambda e: record(e, 1.1e-4, 1.02), check="test_the_flow", seconds=7.1)
    recorder.case(claim, "manifold=ellipse", lambda e: record(e, -0.6e-4, 0.97), check="test_the_flow", seconds=8.4)
    recorder.case(
        claim,
        "control: constant 0.26",
        lambda e: e.constant("1/4 in the limiting flow", 0.26, 0.2501, 4e-4),
        role="control",
        check="test_the_flow",
    )
    recorder.case(
        claim,
        "control: lambda_1 crosses lambda_2",
        lambda e: e.close("slope", 0.31, 1.0, 0.15),
        role="control",
        check="test_the_flow",
    )


def loss_sqrt(recorder: Recorder) -> None:
    claim = recorder.claim(
        "phase-two/loss-sqrt",
        TALK,
        "Theorem 4.8 (2), Phase II, item 2",
        r"$\sqrt{L(x_t)}+\sqrt{L(x_{t+1})}=\eta\lambda_1(\nabla^2L(x_t))+O(\eta\theta_t)$",
        r"$\sqrt{L(x_t)}+\sqrt{L(x_{t+1})}=\tfrac12\eta\lambda_1(\nabla^2L(x_t))+O(\eta(\theta_t+\eta))$",
        "corrected",
        severity="wrong constant",
        why=r"On $\frac12\lambda x^2$ the sum is $\frac12\eta\lambda$.",
    )

    def record(e: Evidence, factor: float) -> None:
        e.requires("theta_t <= 0.1", True)
        eta = np.geomspace(1e-4, 1e-2, 9)
        residual = 0.4 * eta * (0.05 + eta)
        e.bounded_by("remainder", residual, eta * (0.05 + eta), constant=1.0)
        e.constant("1/2 in front of eta lambda_1", 0.5, 0.5 * factor, 0.01)
        axes = (r"$\eta$", "remainder")
        e.series("remainder", eta, residual, axes=axes, scale="loglog", style="points")
        e.series(r"$\eta(\theta+\eta)$", eta, eta * (0.05 + eta), axes=axes, scale="loglog", style="reference")

    recorder.case(claim, "start=0", lambda e: record(e, 1.0007), check="test_the_sum_of_two_losses")
    recorder.case(claim, "start=1", lambda e: record(e, 0.9991), check="test_the_sum_of_two_losses")
    recorder.case(
        claim, "control: theta of order 1", lambda e: record(e, 1.4), role="control", check="test_the_sum_of_two_losses"
    )
    recorder.case(
        claim,
        "eta=0.01",
        lambda e: (e.requires("theta_t <= 0.1", True), e.close("sum over eta lambda_1", 0.5002, 1.0, 0.01))[0],
        role="counterexample",
        check="test_the_printed_constant",
    )


def every_step_size(recorder: Recorder) -> None:
    claim = recorder.claim(
        "edge/every-step-size",
        TALK,
        "Discussion",
        r"The phenomenon appears for all finite $\eta$.",
        None,
        "refuted",
        severity="false",
        why="Where the step is small training ends before the sharpness is there.",
    )

    def record(e: Evidence, mean: float) -> None:
        e.requires("eta is finite", True)
        e.close("mean S over the second half, times eta/2", mean, 1.0, 0.2, uncertainty=0.02)
        axes = (r"$2/\eta$", r"mean $S$ in units of $2/\eta$")
        e.series(
            "mean",
            [3.5, 5, 9, 13.3, 20, 40],
            [0.4, 0.62, 1.03, 1.04, 0.99, 0.55],
            axes=axes,
            style="points",
            spread=[0.05, 0.05, 0.03, 0.02, 0.03, 0.1],
            scale="semilogx",
        )

    recorder.case(claim, "two_over_eta=40", lambda e: record(e, 0.55), check="test_hovers")
    recorder.case(claim, "two_over_eta=3.5", lambda e: record(e, float("nan")), check="test_hovers")
    recorder.case(
        claim, "positive control: 2/eta = 13.3", lambda e: record(e, 1.04), role="positive control", check="test_hovers"
    )


def plain_ones(recorder: Recorder) -> None:
    claim = recorder.claim(
        "orbit/existence-1d",
        POSTER,
        "II, Theorem 1",
        r"If $f'''(\bar x)\ne0$ and $3f'''^2-f''f''''>0$ at a minimum $\bar x$, there is $\epsilon>0$ such that for "
        r"every $\frac{2}{f''}<\eta<\frac{2}{f''-\epsilon f'''}$ GD has an orbit of period 2.",
    )

    sign = Identity((("sign", "3*b**2 - a*c", "=", "-a*c + 3*b**2"),), "a b c")
    recorder.case(
        claim,
        "",
        lambda e: e.proved("an orbit for the whole interval", prove_identity(sign), sign.theorem),
        check="test_interval",
    )
    recorder.case(
        claim, "control: eta below 2/f''", lambda e: e.at_least("size of the orbit", 0.0, 1e-3), role="control"
    )

    claim = recorder.claim(
        "balancing/scalar",
        POSTER,
        "II, Convergence: 2-D",
        r"On $\frac12(xy-1)^2$ with $\eta>1$, $|x_t-y_t|\to0$; two steps at the orbit multiply it by $3-2\eta$.",
        uses=("orbit/quartic", "orbit/existence-1d"),
    )
    for k in range(40):
        recorder.case(
            claim,
            f"eta={1.01 + 0.01 * (k % 8):.2f},seed={k // 8}",
            lambda e, k=k: (
                e.requires("eta > 1", True),
                e.equal("two-step factor", 3 - 2.02 + k * 1e-16, 3 - 2.02),
            )[0],
            check="test_two_steps",
            seconds=0.02,
        )
    recorder.case(claim, "control: below the edge", lambda e: e.equal("two-step factor", 1.0, 0.98), role="control")

    recorder.claim(
        "summary/beats-state-of-the-art",
        SUMMARY,
        "Key results",
        "The method beats the state of the art.",
        None,
        "out of scope",
        "Written by a machine; nothing in the paper supports it, so there is nothing to check.",
    )


def troubled_ones(recorder: Recorder) -> None:
    """Claims whose verdicts are not what was expected, or that did not come to one."""
    claim = recorder.claim(
        "descent/inequality",
        REVIEW,
        "Lemma 1",
        r"""If $S\le\ell$ near the trajectory, then
        $L(\theta_{t+1})-L(\theta_t)\le-\frac{\eta}{2}(2-\eta\ell)\|\nabla L(\theta_t)\|^2$.""",
    )
    recorder.case(claim, "loss=tanh", lambda e: e.at_most("excess", -1e-3, 0.0))
    recorder.case(claim, "loss=quartic", lambda e: e.at_most("excess", -1e-17, 0.0, uncertainty=1e-16))
    recorder.case(claim, "control: l = S at the iterate", lambda e: e.at_most("excess", -0.2, 0.0), role="control")

    claim = recorder.claim("descent/quadratic-regimes", REVIEW, "Example 2.1", r"Monotone below $1/\lambda$.")
    recorder.case(claim, "lam=-1", lambda e: (e.requires("lambda > 0", False), e.at_most("error", 0.0, 1.0))[0])
    recorder.case(claim, "control: above 2/lambda", lambda e: e.at_most("error", 9.0, 1.0), role="control")

    claim = recorder.claim("edge/hovers", REVIEW, "Section 3", r"$S$ hovers about $2/\eta$.")
    recorder.case(claim, "seed=0", lambda e: e.close("mean S eta/2", 1.04, 1.0, 0.1))
    recorder.case(claim, "seed=1", status="crashed", message="worker gw1 died (signal 9) while this case was running")
    recorder.case(claim, "seed=2", started=False)
    recorder.case(claim, "control: cross-entropy", lambda e: e.close("mean S eta/2", 0.3, 1.0, 0.1), role="control")

    claim = recorder.claim("quadratic/aligns-to-v1", TALK, "Theorem 3.1", r"$\tilde x_t$ aligns to $v_1$.")
    recorder.case(claim, "p=10", lambda e: e.at_most("angle", 1e-12, 1e-8))
    recorder.case(claim, "p=100", selected=False)
    recorder.case(claim, "control: x along v2", lambda e: e.at_most("angle", 1.5, 1e-8), role="control")

    claim = recorder.claim("relu/alignment", POSTER, "III", r"$\|w_\perp\|\to0$ as $O((1-0.030K)^t)$.")
    recorder.case(claim, "K=1", selected=False)
    recorder.case(claim, "control: no bias", selected=False, role="control")


@pytest.fixture(autouse=True)
def terminal_of_100_columns(monkeypatch):
    """Whatever terminal the tests run in, and whatever other tests leave behind."""
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def whole_run() -> Recorder:
    """A run that came to its end, every verdict as expected."""
    recorder = Recorder()
    for part in (quartic, progressive_sharpening, limiting_flow, loss_sqrt, every_step_size, plain_ones):
        part(recorder)
    recorder.end()
    return recorder


def troubled_run() -> Recorder:
    """A run in which everything that can go wrong did, and every verdict occurs."""
    recorder = Recorder(dirty=True)
    recorder.lines[0]["selection"] = {"args": ["claims", "-k", "not relu"], "subset": True}
    for part in (quartic, progressive_sharpening, limiting_flow, loss_sqrt, every_step_size, plain_ones, troubled_ones):
        part(recorder)
    recorder.lines.append(
        {"type": "collect error", "file": "claims/a/test_b.py", "message": "claim 'a/b': it has no control; add one"}
    )
    recorder.end("finished")
    return recorder


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return whole_run().write(tmp_path / "evidence.jsonl")


@pytest.fixture
def troubled(tmp_path: Path) -> Path:
    return troubled_run().write(tmp_path / "evidence.jsonl")
