import optuna
from hypothesis import given, settings
from hypothesis import strategies as st

from pnbx_snn.search.pareto import dominates, goes_on, ranks, rungs

optuna.logging.set_verbosity(optuna.logging.WARNING)
POINTS = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12)


@settings(max_examples=30)
@given(POINTS)
def test_ranks_are_fronts_of_what_is_left(points):
    found = ranks(points)
    for i, one in enumerate(points):
        above = [j for j, other in enumerate(points) if dominates(other, one)]
        assert found[i] == max((found[j] + 1 for j in above), default=0)


def test_the_front_is_that_of_optuna():
    points = [(0.9, 10.0), (0.8, 5.0), (0.9, 10.0), (0.7, 6.0), (0.95, 20.0), (0.9, 11.0)]
    study = optuna.create_study(directions=["maximize", "minimize"])
    for point in points:
        study.add_trial(optuna.create_trial(values=list(point)))
    front = {trial.number for trial in study.best_trials}
    assert {i for i, rank in enumerate(ranks([(-a, b) for a, b in points])) if rank == 0} == front == {0, 1, 2, 4}


@settings(max_examples=30)
@given(POINTS, st.tuples(*[st.integers(0, 4)] * 3))
def test_a_trial_on_the_front_goes_on_and_one_below_most_stops(others, point):
    better = sum(rank < ranks([*others, point])[-1] for rank in ranks([*others, point]))
    if not any(dominates(other, point) for other in others):
        assert goes_on(point, others)
    assert goes_on(point, others) == (better == 0 or better < (len(others) + 1) / 2)


def test_one_objective_is_successive_halving():
    assert [goes_on((x,), [(1,), (2,), (3,), (4,), (5,)]) for x in (0, 2.5, 3.5, 6)] == [True, True, False, False]


def test_rungs_are_before_the_end():
    assert [rungs(epochs) for epochs in (1, 2, 3, 8, 60)] == [[], [1], [1, 2], [1, 2, 4], [8, 15, 30]]
