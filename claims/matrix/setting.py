"""The matrices that are factorized."""

import numpy as np


def spectrum(d, second):
    """Eigenvalues 1, λ2 and d - 2 below."""
    return np.array([1.0, *second * np.array([1.0, 0.6, 0.3, 0.1, 0.05])])[:d]


def target(d, second, random, sign=1):
    """A symmetric C with that spectrum, the first eigenvalue times `sign`, and the eigenvector of that one."""
    basis = np.linalg.qr(random.standard_normal((d, d)))[0]
    return basis * spectrum(d, second) * np.where(np.arange(d) == 0, sign, 1) @ basis.T, basis[:, 0]
