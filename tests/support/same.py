"""What "the same" means for two recordings: variables, dtypes and every bit."""

import numpy as np

from neuromorphic import compare, run


def assert_same(expected, got):
    """Fail with the first divergence, by operation, variable, step, sample and neuron."""
    assert list(got.variables) == list(expected.variables)
    comparison = compare(expected, got)
    assert comparison.equal, str(comparison.first)
    for name, array in expected.variables.items():
        assert got.variables[name].dtype == array.dtype, name
        np.testing.assert_array_equal(got.variables[name], array, err_msg=name)


def assert_equal(program, inputs, executor, **options):
    """Run a program on the reference and on an executor; return the reference's recording."""
    expected = run(program, inputs)
    assert_same(expected, run(program, inputs, executor, **options))
    return expected
