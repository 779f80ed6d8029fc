"""What the averaged network says of images of any size."""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_weakseg.engine import device as devices
from napari_weakseg.engine.augment import Orientation, views
from napari_weakseg.engine.downsampling import Factors, shrunk, stretched
from napari_weakseg.engine.features import smoothed
from napari_weakseg.engine.networks import Outputs, UNet, padded_size
from napari_weakseg.engine.teacher import settle_statistics

__all__ = ["Says", "Voice"]

Says: TypeAlias = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""(C, *S) → probabilities (K, *S) and interface probability (*S)."""

_BATCHES = 4  # that the statistics are taken from
_GROWN_UP = 40  # steps from which the student's statistics are near enough: before, probabilities differ by 0.1
_NEVER = -1_000_000
_LEAST_INWARD = 0.05  # for no pixel to be without depth
_SMOOTH_PX = 2.0  # of the inwardness in each plane, as the network sees pixels: what is learned of it is coarse


class Voice:
    """Speaks for a network after it has got normalisation statistics of its own.

    The student's running statistics, which the teacher takes over at each step, lag behind its weights and belong to
    other weights than the teacher's, which ruins the first predictions; a pass over the last batches, without changed
    grey values, gives the teacher's.

    Attributes
    ----------
    seen : deque of float32 Tensor, (N, C, *S)
        The last batches.
    settled_at : int
        Step at which the statistics were taken.
    class_weights : float32 array, (K,), or None
        What the probability of each class is multiplied by before they are made to sum to 1 again.
    """

    def __init__(self) -> None:
        self._network: UNet | None = None
        self._device = torch.device("cpu")
        self.seen: deque[Tensor] = deque(maxlen=_BATCHES)
        self.settled_at = _NEVER
        self._factors: Factors = ()
        self.class_weights: NDArray[np.float32] | None = None

    def speak_for(self, network: UNet, device: torch.device, factors: Factors) -> None:
        """Speak for another network from now on, which sees images so much smaller."""
        self._network, self._device, self._factors, self.settled_at = network, device, factors, _NEVER

    def network(self, step: int, *, roughly: bool = False) -> UNet:
        """Give the network with its own statistics; `roughly`: with the student's as soon as these are near enough."""
        assert self._network is not None
        near_enough = step == self.settled_at or (roughly and step >= _GROWN_UP)
        if not near_enough and len(self.seen) > 1:
            with devices.autocast(self._device, self._network.ndim):
                settle_statistics(self._network, self.seen)
            self.settled_at = step
        return self._network

    @torch.inference_mode()
    def says(
        self, pixels: NDArray[np.float32], step: int, *, roughly: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (K, *S) and interface probability (*S) of an image, (C, *S)."""
        network = self.network(step, roughly=roughly)
        out, inside = self._seen_through(network, self._padded(network, pixels)), _inside(pixels)
        probabilities = self._probabilities(out)[(slice(None), *inside)]
        separation = self._stretched(out.separation)[0, 0].sigmoid()[inside]
        return probabilities.cpu().numpy(), separation.cpu().numpy()

    @torch.inference_mode()
    def predicts(
        self, pixels: NDArray[np.float32], step: int, orientation: Orientation
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (K, *S) and inwardness (*S), averaged over an image and its mirror image.

        Of the image alone if its orientation is "fixed". The mirror image is one in Y (in volumes in Y and Z), which
        fits images of any shape.
        """
        network = self.network(step)
        image, said = self._padded(network, pixels), []
        for view in views(network.ndim, orientation, square=False)[::3]:
            out = self._seen_through(network, view.apply(image))
            said.append(view.undo(torch.cat([self._probabilities(out), self._inwardness(out)])))
        averaged: NDArray[np.float32] = torch.stack(said).mean(0)[(slice(None), *_inside(pixels))].cpu().numpy()
        return averaged[:-1], averaged[-1]

    @torch.inference_mode()
    def says_from_all_sides(
        self, pixels: NDArray[np.float32], step: int, orientation: Orientation
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities of V views (V, K, *S), and the mean features at the coarsest level, (F,)."""
        network = self.network(step, roughly=True)
        image, inside, shape = self._padded(network, pixels), _inside(pixels), pixels.shape[1:]
        said, features = [], []
        for view in views(network.ndim, orientation, square=shape[-1] == shape[-2])[::2]:
            out = self._seen_through(network, view.apply(image))
            said.append(view.undo(self._probabilities(out))[(slice(None), *inside)].cpu().numpy())
            features.append(out.features[0][0].float().flatten(1).mean(1).cpu().numpy())
        return np.stack(said), np.mean(features, 0)

    def _padded(self, network: UNet, pixels: NDArray[np.float32]) -> Tensor:
        shape, multiples = pixels.shape[1:], [network.multiple * f for f in self._factors]
        missing = [(0, b - a) for a, b in zip(shape, padded_size(shape, multiples), strict=True)]
        return torch.from_numpy(np.pad(pixels, [(0, 0), *missing], mode="symmetric")).to(self._device)

    def _seen_through(self, network: UNet, image: Tensor) -> Outputs:
        with devices.autocast(self._device, network.ndim):
            out: Outputs = network(shrunk(image[None], self._factors))
        return out

    def _probabilities(self, out: Outputs) -> Tensor:
        scores = self._stretched(out.logits)[0]
        if self.class_weights is not None:
            weights = torch.from_numpy(self.class_weights).to(scores.device)
            scores = scores + weights.log().view(-1, *[1] * (scores.ndim - 1))
        return scores.softmax(0)

    def _inwardness(self, out: Outputs) -> Tensor:
        """How far inside its object each pixel lies, (1, *S); 0 where the network was not taught it."""
        assert self._network is not None
        if out.inwardness is None or not self._network.tells_inwardness:
            return torch.zeros_like(self._stretched(out.separation)[0])
        said = out.inwardness.float().sigmoid()
        planes = said.reshape(-1, 1, *said.shape[-2:])  # those of a volume may be far apart
        return self._stretched(smoothed(planes, _SMOOTH_PX).view_as(said).clamp_min(_LEAST_INWARD))[0]

    def _stretched(self, scores: Tensor) -> Tensor:
        return stretched(scores.float(), self._factors)


def _inside(pixels: NDArray[np.float32]) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in pixels.shape[1:])
