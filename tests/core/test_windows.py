"""The largest and smallest value near a pixel, against SciPy's filters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from napari_weakseg.core.windows import largest_near, smallest_near


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.float32])
@given(data=st.data(), radius=st.integers(0, 9))
def test_as_the_filters_of_scipy(dtype, data, radius):
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, max_side=12))
    values = data.draw(arrays.arrays(dtype, shape, elements=None if dtype != np.float32 else {"allow_nan": False}))
    size = 2 * radius + 1
    largest, smallest = largest_near(values, radius), smallest_near(values, radius)
    assert largest.dtype == smallest.dtype == dtype
    assert np.array_equal(largest, ndimage.maximum_filter(values, size, mode="nearest"))
    assert np.array_equal(smallest, ndimage.minimum_filter(values, size, mode="nearest"))
