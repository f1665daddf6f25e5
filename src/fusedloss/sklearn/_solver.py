"""How linear models are fitted: scipy's L-BFGS-B, and Newton's steps where it leaves an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize as minimize_by
from threadpoolctl import threadpool_limits

from fusedloss._types import Array
from fusedloss.sklearn._objective import Objective

#: How far losses are rounded off around their kinks, as shares of the targets' spread: each round
#: starts from the one before.
ROUNDINGS = (1e-1, 1e-2, 1e-3, 1e-4)


#: What a loss that is rounded off is minimised to; it is off by more than that anyway.
TOLERANCE_OF_KINKS = 1e-6

#: Elements of X from which its products gain by threads.
SMALL = 1_000_000

#: How small a gradient is where the search finds no step.
NO_STEP = 1e-5

#: What raw predictions may be off by, in units, before Newton's steps are taken; how many these
#: are at most; and by how much each has to shrink the gradient.
ERROR, NEWTON_STEPS, SHRINKS = 1e-8, 5, 0.5

#: The residual that a Newton's step is solved to, and the step of differences of gradients.
RESIDUAL, DIFFERENCE = 1e-4, 1e-6


@dataclass(frozen=True)
class Found:
    """The solution, and how it was found."""

    coefficients: Array
    intercepts: Array
    iterations: int
    converged: bool
    message: str


def minimize(
    objective: Objective,
    constants: Array,
    start: tuple[Array, Array] | None,
    max_iter: int,
    tol: float,
) -> Found:
    """Minimise the mean loss and its penalty, from a start or from constant predictions."""
    roundings = [0.0]
    if objective.kinks is not None:
        roundings = [objective.unit * share for share in ROUNDINGS]
        tol = max(tol, TOLERANCE_OF_KINKS)
    objective.rounding = roundings[0]
    # In units of the losses at constant predictions, a tolerance means the same everywhere.
    magnitude = objective.magnitude(constants)
    if start is None:
        start = np.zeros((objective.columns, objective.features)), constants
    parameters, iterations = objective.packed(*start), 0
    # L-BFGS-B's own products are tiny: threads of a BLAS that spin beside them take their time.
    threads = 1 if objective.X.size < SMALL else None
    with threadpool_limits(threads, "blas"):
        for rounding in roundings:
            objective.rounding = rounding
            left = max_iter - iterations
            result, parameters = _minimize_smooth(objective, parameters, left, tol, magnitude)
            iterations += result.nit
            if iterations >= max_iter:
                break
        if iterations < max_iter and objective.kinks is None and not objective.l1.any():
            parameters, steps = _polished(objective, parameters, result, magnitude)
            iterations += steps
    coefficients, intercepts = objective.unpacked(parameters)
    message = str(result.message).strip().rstrip(".")
    # Where no step improves a sum in float64 any more, its gradient is as small as it gets.
    converged = result.status == 0 or (result.status == 2 and np.abs(result.jac).max() < NO_STEP)
    return Found(coefficients, intercepts, max(1, iterations), bool(converged), message)


def _minimize_smooth(
    objective: Objective, start: Array, max_iter: int, tol: float, magnitude: float
) -> tuple[Any, Array]:
    """Minimise a smooth loss, and the L1 norm of the parameters that have it.

    Those are split into p - n, neither of them negative: the norm is the sum of both.
    """
    l1 = objective.l1
    split = np.flatnonzero(l1)
    own = l1[split]
    free = np.setdiff1d(np.arange(len(l1)), split)

    def joined(variables: Array) -> Array:
        parameters = np.empty(len(l1))
        parameters[free] = variables[: len(free)]
        positive, negative = np.split(variables[len(free) :], 2)
        parameters[split] = positive - negative
        return parameters

    def of_variables(variables: Array) -> tuple[float, Array]:
        value, gradient = objective.value_and_grad(joined(variables))
        both = gradient[split]
        value += float(own @ variables[len(free) :].reshape(2, -1).sum(0))
        gradient = np.concatenate([gradient[free], both + own, own - both])
        return value / magnitude, gradient / magnitude

    first = start[split]
    result = minimize_by(
        of_variables,
        np.concatenate([start[free], np.maximum(first, 0), np.maximum(-first, 0)]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None)] * len(free) + [(0, None)] * (2 * len(split)) if len(split) else None,
        options={
            "maxiter": max(1, max_iter),
            "maxfun": 20 * max(1, max_iter),
            "maxls": 50,
            "gtol": tol,
            "ftol": 1e-2 * TOLERANCE_OF_KINKS if objective.rounding else 0,
        },
    )
    return result, joined(result.x)


def _polished(
    objective: Objective, parameters: Array, result: Any, magnitude: float
) -> tuple[Array, int]:
    """Return parameters after some Newton's steps, and their number.

    A line search tells steps by the objective's values: along a direction of curvature c they say
    no more of the minimum than sqrt(eps / c), 1e-6 for a penalty of 1e-4. Gradients say eps / c.
    """

    def gradient_at(x: Array) -> Array:
        return objective.value_and_grad(x)[1] / magnitude

    gradient: Array = result.jac
    if np.abs(gradient).max() <= ERROR * objective.flattest / magnitude:
        return parameters, 0
    budget = max(20, int(result.nfev))  # at most as long again as the search took
    for steps in range(NEWTON_STEPS):
        step, used = _newton_step(gradient_at, parameters, gradient, budget)
        budget -= used + 1
        after = gradient_at(parameters + step)
        if not np.linalg.norm(after) < SHRINKS * np.linalg.norm(gradient):
            return parameters, steps
        parameters, gradient = parameters + step, after
        if budget <= 0:
            return parameters, steps + 1
    return parameters, NEWTON_STEPS


def _newton_step(
    gradient_at: Callable[[Array], Array], parameters: Array, gradient: Array, budget: int
) -> tuple[Array, int]:
    """Solve H step = -gradient by conjugate gradients, and return how many products that took.

    Products with H are differences of gradients. Where the objective curves down, the solution so
    far is returned.
    """
    step, residual = np.zeros_like(parameters), -gradient
    direction = residual
    squares = first = float(residual @ residual)
    for used in range(budget):
        if squares <= RESIDUAL**2 * first:
            return step, used
        size = DIFFERENCE * max(1.0, float(np.abs(parameters).max())) / np.abs(direction).max()
        product = (gradient_at(parameters + size * direction) - gradient) / size
        curvature = float(direction @ product)
        if not curvature > 0:
            return step, used + 1
        step = step + squares / curvature * direction
        residual = residual - squares / curvature * product
        before, squares = squares, float(residual @ residual)
        direction = residual + squares / before * direction
    return step, budget
