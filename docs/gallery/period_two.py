"""An orbit of period two: it is proved for a whole range of step sizes.

Gradient descent on (x² - 1)²/4 ends on two points for 1 < eta < 1.121. Interval arithmetic proves, box after box,
that for each eta of the shaded range there is one such orbit and that it attracts; `orbit/quartic` has the rest.
"""

from fractions import Fraction

import numpy as np
from look import panels, write

from eosbench.dynamics import gd_step, trajectory, two_cycle
from eosbench.problems import quartic
from eosbench.proof import prove_two_cycle, quartic_descent


def figure(etas=40, steps=3000, low="1.001", high="1.121"):
    drawing, panel = panels(("η", "x"))
    grid = np.linspace(0.96, 1.15, etas)
    for eta in grid:
        last = np.ravel(trajectory(gd_step(quartic, float(eta)), 0.6, steps))[-4:]
        panel.plot([eta] * len(last), last, ".", color="C0")
    beyond = np.linspace(1.002, 1.15, 80)
    panel.plot(beyond, [two_cycle(quartic, float(eta)) for eta in beyond], color="C1")
    proof = prove_two_cycle(quartic_descent(), Fraction(low), Fraction(high))
    assert not proof.failed
    for box in proof.boxes:
        panel.axvspan(*map(float, box.eta), color="C2", alpha=0.12, linewidth=0)
    panel.plot([], [], ".", color="C0", label="last iterates")
    panel.plot([], [], color="C1", label="the orbit")
    panel.fill_between([], [], color="C2", alpha=0.3, label=f"proved, in {len(proof.boxes)} boxes")
    return drawing


if __name__ == "__main__":
    write(__file__, figure())
