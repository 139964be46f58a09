"""Exact least squares against exact arithmetic, NumPy's and SciPy's lstsq, and scikit-learn."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge

from lit_course import solvers
from lit_course.solvers import least_squares

EPS = np.finfo(np.float64).eps


def solve(x, y, batch_size=17, row_weights=None, **options):
    """The solution for arrays, read in batches; NumPy weights ``(D,)`` or ``(K, D)``."""
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    columns = [x, y[:, None] if y.ndim == 1 else y]
    targets = columns[1]
    if row_weights is not None:
        columns.append(torch.as_tensor(row_weights))

    def read():
        return zip(*(column.split(batch_size) for column in columns), strict=True)

    return least_squares(read, x.shape[1], targets.shape[1], **options)


def found(solution):
    return np.concatenate([solution.weight[0].numpy(), solution.intercept.numpy()])


def distance(value, reference):
    return np.linalg.norm(value - reference) / np.linalg.norm(reference)


def with_ones(x):
    return np.column_stack([x.astype(np.float64), np.ones(len(x))])


def exactly(x, y):
    """Weights and intercept in arithmetic of sixty digits."""
    with mpmath.workdps(60):
        design = mpmath.matrix(with_ones(x).tolist())
        target = mpmath.matrix(y.astype(np.float64).tolist())
        return np.array(mpmath.lu_solve(design.T * design, design.T * target), dtype=np.float64)


def columns(condition, rows=60, features=6):
    """Centred random columns of equal size with a given condition number."""
    x = np.random.default_rng(1).normal(size=(rows, features))
    u, _, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
    return u * np.geomspace(1, 1 / condition, features) @ v


def hilbert(size):
    return 1 / (1 + np.arange(40)[:, None] + np.arange(size))


RANDOM = np.random.default_rng(0).normal(size=(60, 5))
DESIGNS = {
    "random": RANDOM,
    "correlated": RANDOM @ (np.ones((5, 5)) + 0.05 * np.eye(5)),
    "scaled": RANDOM * [1e-8, 1e-4, 1, 1e4, 1e8],
    "offset": RANDOM + 1e6,
    "polynomial": np.vander(np.linspace(0, 1, 50), 8)[:, :-1],
    **{f"hilbert {size}": hilbert(size) for size in (4, 6, 8, 10, 12)},
    **{f"condition {c:g}": columns(c) for c in (50, 99, 101, 1e3, 1e5)},
}


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_promised_error(name, noise):
    """Of a design whose condition number, or the target's noise, lets the solution be known."""
    x = DESIGNS[name].astype(np.float32)
    random = np.random.default_rng(2)
    y = x.astype(np.float64) @ random.normal(size=x.shape[1]) + 1
    y = (y + noise * y.std() * random.normal(size=len(x))).astype(np.float32)
    design, target = with_ones(x), y.astype(np.float64)
    condition = np.linalg.cond(design / np.linalg.norm(design, axis=0))
    residual = noise * EPS * condition**2  # what no method can know
    solution = solve(x, y)
    error = distance(found(solution), exactly(x, y))
    assert error <= max(1e-8, 100 * EPS * condition, residual)
    predicted = design @ found(solution)
    reference = scipy.linalg.lstsq(design, target)[0]
    if name != "scaled":  # which lstsq takes for rank-deficient
        tolerance = max(1e-8, 100 * EPS * np.linalg.cond(design), residual)
        assert distance(found(solution), reference) <= tolerance
        assert distance(predicted, design @ reference) <= 1e-8


@pytest.mark.parametrize("condition", [10, 50, 99, 101, 200, 1e4])
@pytest.mark.parametrize("scale", [1, [1e-8, 1e-4, 1, 1e4, 1e8, 1]])
def test_cholesky_up_to_condition_100_and_orthogonal_beyond(condition, scale):
    """Of the columns scaled to one norm: their units do not count, nor does where they are."""
    x = columns(condition)
    scaled = np.linalg.cond(x / np.linalg.norm(x, axis=0))
    offset = 3 * np.asarray(scale)
    assert solve(x * scale + offset, RANDOM[:, 0]).orthogonal == (scaled > 100)


def test_normal_equations_alone_would_break_the_promise(monkeypatch):
    """The threshold is felt: the same design by Cholesky is off by more than is promised."""
    x, y = hilbert(6), hilbert(6) @ np.arange(6.0)
    truth = exactly(x, y)
    tolerance = max(1e-8, 100 * EPS * np.linalg.cond(with_ones(x)))
    assert distance(found(solve(x, y)), truth) <= tolerance
    monkeypatch.setattr(solvers, "MAX_GRAM_CONDITION", 1e15)
    assert distance(found(solve(x, y)), truth) > tolerance


RANK_DEFICIENT = {
    "a column twice": RANDOM[:, [0, 1, 1, 2]],
    "one-hot beside an intercept": np.eye(4)[np.arange(60) % 4],
    "a sum of columns": np.column_stack([RANDOM.round(3), RANDOM.round(3).sum(1)]),
    "constant columns": RANDOM * [1, 0, 1, 0, 1] + [0, 7.1, 10, 0, 0],
    "constants and a column twice": RANDOM[:, [0, 1, 1, 2]] * [1, 1, 1, 0] + [0, 0, 0, 7.1],
    "more columns than rows": RANDOM.T,
    "two rows": RANDOM[:2],
    "one row": RANDOM[:1],
    "nothing but constants": np.ones((7, 3)),
}


@pytest.mark.parametrize("name", RANK_DEFICIENT)
@pytest.mark.parametrize("intercept", [True, False])
def test_rank_deficient_designs_predict_as_lstsq_and_have_the_least_norm(name, intercept):
    x = RANK_DEFICIENT[name]
    random = np.random.default_rng(4)
    y, unseen = random.normal(size=len(x)) + 3, random.normal(size=(20, x.shape[1]))
    solution = solve(x, y, intercept=intercept)
    reference = LinearRegression(fit_intercept=intercept).fit(x, y)
    weight = solution.weight[0].numpy()
    for rows in (x, unseen):
        predicted = rows @ weight + solution.intercept.numpy()
        np.testing.assert_allclose(predicted, reference.predict(rows), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(weight, reference.coef_, rtol=1e-8, atol=1e-10)
    assert solution.rank == np.linalg.matrix_rank(x - intercept * x.mean(0), tol=1e-9)


@pytest.mark.parametrize("design", [RANDOM, columns(1e4), RANDOM.T, RANDOM[:, [0, 1, 1]]])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("intercept", [True, False])
def test_l2_is_ridges_alpha(design, alpha, intercept):
    y = np.random.default_rng(5).normal(size=(len(design), 2)) + 3
    solution = solve(design, y, l2=alpha, intercept=intercept)
    reference = Ridge(alpha=alpha, fit_intercept=intercept, solver="svd").fit(design, y)
    np.testing.assert_allclose(solution.weight, reference.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(solution.intercept, reference.intercept_, rtol=1e-9, atol=1e-12)
    assert distance(solution.weight.numpy(), LinearRegression().fit(design, y).coef_) > 1e-6


@pytest.mark.parametrize("orthogonal", [False, True])
def test_batch_sizes_do_not_change_a_bit(orthogonal, monkeypatch):
    monkeypatch.setattr(solvers, "ROWS", 13)
    x = DESIGNS["hilbert 8" if orthogonal else "random"]
    y = x.sum(1)
    whole = solve(x, y, batch_size=len(x))
    assert whole.orthogonal == orthogonal
    for batch_size in (1, 7, 13, 26, 59):
        solution = solve(x, y, batch_size=batch_size)
        assert torch.equal(solution.weight, whole.weight)
        assert torch.equal(solution.intercept, whole.intercept)


@pytest.mark.parametrize("design", ["random", "offset", "hilbert 8"])
@pytest.mark.parametrize("cuts", [[30], [1], [20, 20], [0, 7]], ids=str)
def test_parts_of_several_processes_are_one_problem(design, cuts):
    """A thread for each process; with [0, 7] and [20, 20] one of them has no rows at all."""
    x = DESIGNS[design]
    y = x @ np.arange(1.0, x.shape[1] + 1) + np.random.default_rng(8).normal(size=len(x))
    parts = list(zip(np.split(x, cuts), np.split(y, cuts), strict=True))
    barrier, said = Barrier(len(parts)), [torch.empty(0)] * len(parts)

    def process(rank):
        def gather(own):
            said[rank] = own.clone()
            barrier.wait(10)
            everybody = list(said)
            barrier.wait(10)
            return everybody

        return solve(*parts[rank], gather=gather)

    with ThreadPoolExecutor(len(parts)) as pool:
        solutions = list(pool.map(process, range(len(parts))))
    for solution in solutions:
        assert torch.equal(solution.weight, solutions[0].weight)
        assert torch.equal(solution.intercept, solutions[0].intercept)
        assert solution.samples == len(x)
    alone = solve(x, y)
    assert solutions[0].orthogonal == alone.orthogonal
    predicted = with_ones(x) @ np.transpose([found(solutions[0]), found(alone)])
    assert distance(predicted[:, 0], predicted[:, 1]) <= 1e-8


def test_rounding_does_not_grow_with_the_rows():
    random = np.random.default_rng(7)
    x = random.normal(5, 1, size=(300_000, 5)).astype(np.float32)
    y = (x @ np.arange(5.0) + random.normal(size=len(x))).astype(np.float32)
    reference = scipy.linalg.lstsq(with_ones(x), y.astype(np.float64))[0]
    assert distance(found(solve(x, y, batch_size=50_000)), reference) <= 1e-12


@pytest.mark.parametrize("drift", [10, 1e4])
def test_sorted_rows_and_many_blocks(drift, monkeypatch):
    """The first block says nothing of the others: columns that drift far from where they began."""
    monkeypatch.setattr(solvers, "ROWS", 16)
    random = np.random.default_rng(6)
    x = np.linspace(0, drift, 2000)[:, None] * [1, -2, 3] + random.normal(size=(2000, 3))
    y = x @ [1.0, 2.0, 3.0] + random.normal(size=2000)
    reference = scipy.linalg.lstsq(with_ones(x), y)[0]
    solution = solve(x, y)
    assert solution.orthogonal == (drift > 100)
    assert distance(found(solution), reference) <= 100 * EPS * np.linalg.cond(with_ones(x))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 40),
    features=st.integers(1, 8),
    outputs=st.integers(1, 3),
    rank=st.integers(0, 4),
    scale=st.integers(-20, 20),
    offset=st.sampled_from([0.0, 1.0, 1e4]),
    intercept=st.booleans(),
)
def test_no_linear_model_fits_better(seed, rows, features, outputs, rank, scale, offset, intercept):
    """Whatever the shape and the rank; integers, whose rank neither scale nor offset changes."""
    random = np.random.default_rng(seed)
    factors = random.integers(-9, 10, (rows, rank)), random.integers(-9, 10, (rank, features))
    x = (factors[0] @ factors[1] + offset) * 2.0**scale
    y = random.normal(size=(rows, outputs))
    solution = solve(x, y, intercept=intercept)
    residual = y - x @ solution.weight.numpy().T - solution.intercept.numpy()
    design = with_ones(x) if intercept else x
    best = y - design @ np.linalg.lstsq(design, y, rcond=1e-11)[0]
    assert np.linalg.norm(residual) <= np.linalg.norm(best) + 1e-6 * np.linalg.norm(y)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
@pytest.mark.parametrize("where", ["x", "y"])
def test_what_is_not_finite_is_refused(value, where):
    x, y = RANDOM.copy(), RANDOM[:, 0].copy()
    (x if where == "x" else y[:, None])[50, 0] = value
    with pytest.raises(ValueError, match="must be finite, found NaN or infinity"):
        solve(x, y)


def test_no_rows_and_rows_that_come_once_are_refused():
    with pytest.raises(ValueError, match="at least one row"):
        solve(RANDOM[:0], RANDOM[:0, 0])
    once = iter([(torch.tensor(columns(1e3)), torch.ones(60, 1))])
    with pytest.raises(ValueError, match=r"first pass .* gave 60 rows, the second 0"):
        least_squares(lambda: once, 6)


def test_a_constant_column_far_from_zero_weighs_nothing_in_either_pass():
    y = np.random.default_rng(9).normal(size=60)
    for x in (RANDOM[:, :2], RANDOM[:, [0, 1, 1]]):
        with_constant = np.column_stack([x, np.full(60, 1e6 / 3)])
        weight = solve(with_constant, y).weight[0].numpy()
        np.testing.assert_allclose(weight, [*solve(x, y).weight[0], 0], rtol=1e-9, atol=1e-15)


WEIGHTED = {**DESIGNS, **RANK_DEFICIENT}


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("l2", [0.0, 3.0])
@pytest.mark.parametrize("intercept", [True, False])
def test_a_weight_of_k_is_the_row_k_times(name, l2, intercept):
    """In what it predicts: of a deficient design other rounding may find another rank."""
    x = WEIGHTED[name].astype(np.float64)
    y = np.random.default_rng(3).normal(size=len(x))
    repeats = np.arange(len(x)) % 4 if len(x) > 8 else np.full(len(x), 2)
    rows = np.arange(len(x)).repeat(repeats)
    options = {"l2": l2, "intercept": intercept}
    weighted = solve(x, y, row_weights=repeats, **options)
    repeated = solve(x[rows], y[rows], **options)
    assert weighted.samples == len(x)
    assert weighted.total_weight == repeated.samples == repeated.total_weight
    assert weighted.orthogonal == repeated.orthogonal
    design = with_ones(x)
    norms = np.linalg.norm(design, axis=0)
    condition = min(np.linalg.cond(design / np.where(norms, norms, 1)), 1e15)
    if weighted.rank == repeated.rank:
        predicted, expected = (design[rows] @ found(s) for s in (weighted, repeated))
        assert distance(predicted, expected) <= max(1e-8, 100 * EPS * condition)


@pytest.mark.parametrize("name", ["random", "correlated", "polynomial"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("batch_size", [7, 60])
def test_weighted_rows_as_scikit_learn_weighs_them(name, intercept, batch_size):
    x = DESIGNS[name]
    y = x @ np.arange(1.0, x.shape[1] + 1) + np.random.default_rng(4).normal(size=len(x))
    row_weights = np.random.default_rng(5).exponential(size=len(x))
    given = {"row_weights": row_weights, "intercept": intercept, "batch_size": batch_size}
    line = LinearRegression(fit_intercept=intercept).fit(x, y, sample_weight=row_weights)
    solution = solve(x, y, **given)
    assert distance(found(solution), np.append(line.coef_, line.intercept_)) < 1e-7
    ridge = Ridge(alpha=2.0, fit_intercept=intercept, solver="cholesky")
    ridge.fit(x, y, sample_weight=row_weights)
    solution = solve(x, y, l2=2.0, **given)
    assert distance(found(solution), np.append(ridge.coef_, ridge.intercept_)) < 1e-8


def test_weights_of_all_sizes_and_of_nothing():
    x, y = RANDOM, RANDOM @ np.arange(5.0) + 1
    for row_weights in (np.geomspace(1e-12, 1e12, 60), np.arange(60) % 2, np.full(60, 1e-30)):
        solution = solve(x, y, row_weights=row_weights)
        assert distance(found(solution), np.append(np.arange(5.0), 1)) < 1e-9
        assert solution.rank == 5
    with pytest.raises(ValueError, match="at least one row of a weight above 0, found none"):
        solve(x, y, row_weights=np.zeros(60))
    with pytest.raises(ValueError, match="weights must be finite"):
        solve(x, y, row_weights=np.full(60, np.nan))


def test_rows_without_weights_weigh_one_beside_others():
    x, y = torch.as_tensor(RANDOM), torch.randn(60, 1, dtype=torch.float64)
    batches = [(x[:20], y[:20]), (x[20:40], y[20:40], None), (x[40:], y[40:], torch.full((20,), 2))]
    solution = least_squares(lambda: batches, 5)
    weights = np.repeat([1.0, 1.0, 2.0], 20)
    assert distance(found(solution), found(solve(x, y, row_weights=weights))) < 1e-12
