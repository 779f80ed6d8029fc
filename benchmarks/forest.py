"""The baseline: a random forest on pixels, as ilastik and Labkit have it.

scikit-image's multi-scale features of every channel (intensity, gradient, eigenvalues of the Hessian at Gaussian scales
of 1 to 16 pixels), scikit-learn's random forest of 100 trees. Images are normalised as for the network.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from benchmarks.judging import judge
from benchmarks.marks import Marked, annotate
from benchmarks.sets import ImageSet, Judge
from napari_weakseg.core.images import ImageSource
from napari_weakseg.core.regions import whole

#: Marked pixels that are learned from at most, drawn at random from all of them: training time grows with them.
PIXELS = 100_000
TREES = 100
SCALES_PX = (1, 16)


class ForestBaseline:
    """Learns from marks once, then predicts.

    Parameters
    ----------
    seed : int
    threads : int
    """

    def __init__(self, *, seed: int, threads: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._forest = RandomForestClassifier(TREES, n_jobs=threads, random_state=seed)

    def fit(self, marked: Sequence[Marked]) -> int:
        """Learn; returns the number of pixels it learned from."""
        at = [np.flatnonzero(item.labels) for item in marked]
        counts = np.array([len(places) for places in at])
        total = int(counts.sum())
        drawn = self._rng.choice(total, min(total, PIXELS), replace=False)
        shares = np.bincount(np.searchsorted(np.cumsum(counts), drawn, side="right"), minlength=len(marked))
        rows, classes = [], []
        for item, places, share in zip(marked, at, shares, strict=True):
            if not share:
                continue
            taken = self._rng.choice(places, share, replace=False)
            source = ImageSource.open(item.picture.path)
            rows.append(self._rows(source.normalised(whole(source.label_shape)))[taken])
            classes.append(item.labels.ravel()[taken])
            source.close()
        self._forest.fit(np.concatenate(rows), np.concatenate(classes))
        return len(drawn)

    def predict(self, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Predict class ids: float32 (C, Y, X) → uint8 (Y, X)."""
        return np.asarray(self._forest.predict(self._rows(pixels)), np.uint8).reshape(pixels.shape[1:])

    def probabilities(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict how probable classes are: float32 (C, Y, X) → (K, Y, X), K the largest class id that was marked."""
        said = np.zeros((int(self._forest.classes_.max()), pixels[0].size), np.float32)
        said[self._forest.classes_ - 1] = self._forest.predict_proba(self._rows(pixels)).T
        return said.reshape(-1, *pixels.shape[1:])

    def _rows(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        low, high = SCALES_PX
        found = [multiscale_basic_features(channel, sigma_min=low, sigma_max=high) for channel in pixels]
        stacked = np.concatenate(found, -1).astype(np.float32)
        return stacked.reshape(-1, stacked.shape[-1])


def run_forest(
    image_set: ImageSet, judges: Sequence[Judge], *, exact: int, seed: int, threads: int, images: int
) -> dict[str, Any]:
    """Train the forest on the marks and judge it; its time is that of features and trees."""
    marked = list(annotate(image_set, seed=seed, exact=exact, limit=images))
    forest = ForestBaseline(seed=seed, threads=threads)
    began_s = time.perf_counter()
    pixels = forest.fit(marked)
    point = {"seconds": round(time.perf_counter() - began_s, 2), "pixels": pixels}
    return {"points": [point | judge(forest.predict, judges, len(image_set.classes))]}
