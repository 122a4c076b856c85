"""What forecasts start from: the average of linear autoregressions, and how far its past errors can be trusted."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.tasks.forecast_linear import Fitted, Problem, average, compare, error_weights, left_out


def problem_of(rows: int, seed: int = 0) -> Problem:
    """A random walk."""
    z = np.cumsum(np.random.default_rng(seed).standard_normal((rows, 1)), axis=0)
    return Problem(z, np.arange(rows), np.zeros((rows, 0)), 0, 24, False, np.ones(1))


def test_what_is_left_out_has_no_say_in_its_prediction() -> None:
    """Weights of the rows of a part come from the errors in the others: a change there alone changes nothing there."""
    problem = problem_of(120)
    found = compare(problem)
    rows = average(problem, found).rows
    before = left_out(problem, found, rows)
    part = slice(0, len(rows) // 8)
    problem.z[rows[part]] += 3.0
    after = left_out(problem, found, rows)
    np.testing.assert_allclose(after[part], before[part], rtol=1e-6)
    assert not np.allclose(after[part.stop :], before[part.stop :], rtol=1e-6)


def test_errors_of_chosen_weights_are_no_smaller_than_those_of_weights_by_all_errors() -> None:
    """Of many candidates that know nothing, the best in some rows is no better in others, and that is seen."""
    rng = np.random.default_rng(3)
    problem = problem_of(90)
    rows = np.arange(60, 90)
    some = compare(problem)[0].candidate
    guesses = [problem.z[rows] + rng.standard_normal((30, 1)) for _ in range(40)]
    errors = [float(np.log(np.mean((guess - problem.z[rows]) ** 2))) for guess in guesses]
    found = [Fitted(some, 1.0, error, guess) for error, guess in zip(errors, guesses, strict=True)]
    weights = error_weights(np.array(errors), len(rows))
    assert weights.sum() == pytest.approx(1)
    chosen = sum(weight * guess for weight, guess in zip(weights, guesses, strict=True))
    all_errors = np.mean((chosen - problem.z[rows]) ** 2)
    assert np.mean((left_out(problem, found, rows) - problem.z[rows]) ** 2) > all_errors
