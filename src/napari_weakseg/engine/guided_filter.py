"""Smoothing that keeps to the edges of the image."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

__all__ = ["guided_filter"]

_SIDE_PX = {2: 7, 3: 3}  # of the window, by the number of spatial axes
_EVENNESS = 0.03  # variance of the image in a window from which its edges count


def guided_filter(said: NDArray[np.float32], pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Smooth class probabilities where the image is even, and keep their borders where it has edges.

    In each window what was said is replaced by its linear regression on the image; the lines of all windows that
    a pixel lies in are averaged [1]_. The guide is the mean over the channels.

    Parameters
    ----------
    said : float32 array, (K, *S)
        Class probabilities.
    pixels : float32 array, (C, *S)
        Of the same place, normalised.

    Returns
    -------
    float32 array, (K, *S)
        At least 0, with sum 1 over the classes, as before.

    References
    ----------
    .. [1] K. He, J. Sun, X. Tang, "Guided image filtering", IEEE TPAMI 35(6), 2013, equations 5, 6 and 8.
    """
    guide = pixels.mean(0)
    mean = _mean(guide)
    variance = np.maximum(_mean(guide * guide) - mean * mean, 0) + _EVENNESS
    lines = []
    for values in said[1:]:
        level = _mean(values)
        slope = (_mean(guide * values) - mean * level) / variance
        lines.append(_mean(slope) * guide + _mean(level - slope * mean))
    others = np.stack(lines)
    smooth = np.concatenate([1 - others.sum(0, keepdims=True), others]).clip(0, None)
    return np.asarray(smooth / smooth.sum(0), np.float32)


def _mean(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(uniform_filter(values, _SIDE_PX[values.ndim]), np.float32)
