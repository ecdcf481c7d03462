"""What a user of PyTorch would pick, on the network and the parameters of `peers.py`; needs the extra `peers`."""

import importlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from curvlinops import HessianLinearOperator
from hessian_eigenthings import HessianOperator, lanczos, supervised_loss
from scipy.sparse.linalg import LinearOperator, eigsh

RTOL = 1e-3
PYHESSIAN = importlib.import_module("pyhessian.hessian")  # the package gives this name to the class in it


class Answer(NamedTuple):
    """The largest eigenvalue, the products spent, and whether the peer said that it converged, None if nothing."""

    value: float
    products: int
    converged: bool | None


class Problem(NamedTuple):
    """A network in PyTorch, with the data of its loss."""

    model: torch.nn.Module
    inputs: torch.Tensor
    targets: torch.Tensor

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Half the squared error, summed over the outputs and averaged over the samples."""
        return ((outputs - targets) ** 2).sum(1).mean() / 2


def problem(inputs: Any, targets: Any, params: Any) -> Problem:
    """The tanh network with these weights, of shape (inputs, outputs), and biases."""
    layers: list[torch.nn.Module] = []
    for weight, bias in params:
        layer = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(np.asarray(weight).T))
            layer.bias.copy_(torch.tensor(np.asarray(bias)))
        layers += [layer, torch.nn.Tanh()]
    return Problem(
        torch.nn.Sequential(*layers[:-1]), torch.tensor(np.asarray(inputs)), torch.tensor(np.asarray(targets))
    )


def power_iteration(problem: Problem) -> Answer:
    """PyHessian: power iteration, stopped when successive estimates agree to tol. The largest in magnitude."""
    products, original = [0], PYHESSIAN.hessian_vector_product

    def counted(*arguments: Any) -> Any:
        products[0] += 1
        return original(*arguments)

    PYHESSIAN.hessian_vector_product = counted
    try:
        measured = PYHESSIAN.hessian(problem.model, problem.loss, data=(problem.inputs, problem.targets), cuda=False)
        values, _ = measured.eigenvalues(maxIter=1000, tol=RTOL, top_n=1)
    finally:
        PYHESSIAN.hessian_vector_product = original
    return Answer(values[0], products[0], None)


def lanczos_of(steps: int | None) -> Callable[[Problem], Answer]:
    """hessian-eigenthings: Lanczos of so many steps, or as many as it chooses itself."""

    def solve(problem: Problem) -> Answer:
        operator = HessianOperator(problem.model, [(problem.inputs, problem.targets)], supervised_loss(problem.loss))
        result = lanczos(operator, k=1, max_iter=steps, tol=RTOL, which="LA", seed=0)
        return Answer(float(result.eigenvalues[0]), int(result.iterations), bool(result.converged[0]))

    return solve


def implicitly_restarted(problem: Problem) -> Answer:
    """curvlinops: the Hessian as an operator for SciPy's eigsh, which raises if it does not converge."""
    samples = len(problem.inputs)
    hessian = HessianLinearOperator(
        problem.model,
        torch.nn.MSELoss(reduction="sum"),
        list(problem.model.parameters()),
        [(problem.inputs, problem.targets)],
        check_deterministic=False,
    ).to_scipy(np.float32)
    products = [0]

    def matvec(v: np.ndarray) -> np.ndarray:
        products[0] += 1
        return hessian @ v

    counted = LinearOperator(hessian.shape, matvec=matvec, dtype=np.float32)
    start = np.random.default_rng(0).standard_normal(hessian.shape[0]).astype(np.float32)
    values = eigsh(counted, 1, which="LA", tol=RTOL, v0=start, return_eigenvectors=False)
    return Answer(float(values[-1]) / (2 * samples), products[0], True)  # that loss is 2 samples times ours


PEERS = {
    "PyHessian, power iteration, tol 1e-3": power_iteration,
    "hessian-eigenthings, Lanczos, its default": lanczos_of(None),
    "hessian-eigenthings, Lanczos, 20 steps": lanczos_of(20),
    "curvlinops and SciPy eigsh, tol 1e-3": implicitly_restarted,
}


def gradient_seconds(problem: Problem) -> float:
    """The median time of a gradient in PyTorch."""
    parameters, times = list(problem.model.parameters()), []
    for _ in range(30):
        begun = time.perf_counter()
        torch.autograd.grad(problem.loss(problem.model(problem.inputs), problem.targets), parameters)
        times.append(time.perf_counter() - begun)
    return float(np.median(times))
