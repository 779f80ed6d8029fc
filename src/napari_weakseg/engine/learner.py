"""The network and what teaches it: one optimiser step on a batch, with an averaged teacher beside it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine import device as devices
from napari_weakseg.engine.adam import AdamW
from napari_weakseg.engine.augment import Geometry, apply_geometry, sample_geometry
from napari_weakseg.engine.auxiliary import IGNORE
from napari_weakseg.engine.bags import Boxes
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.class_shares import ClassShares
from napari_weakseg.engine.downsampling import Factors
from napari_weakseg.engine.intensity import apply_intensity, sample_intensity
from napari_weakseg.engine.losses import decode
from napari_weakseg.engine.mixing import cut_windows, mixed
from napari_weakseg.engine.networks import Head, UNet, with_classes
from napari_weakseg.engine.objective import Given, Mix, objective
from napari_weakseg.engine.peers import Peers
from napari_weakseg.engine.sampling import Batch
from napari_weakseg.engine.teacher import (
    ClassThresholds,
    PseudoLabel,
    Teacher,
    ramp,
    teacher_target,
)
from napari_weakseg.engine.trust_learning import TrustLearner
from napari_weakseg.engine.variety import Variety
from napari_weakseg.engine.voice import Voice

__all__ = ["Learner", "heads_of"]

_WARM_UP = 20  # steps until the full step size
_HALVED_AT = 200  # step at which the step size has halved
_LEAST_STEP = 0.1
_YOUNG = 10  # the teacher averages over one in so many of all steps until its full span
_RAMP = 200  # steps until pseudo-labels count fully
_LED = 50.0  # steps in which what the overlap counts in addition falls to a third
_NOTHING = {"allowed": -2, "interface": IGNORE, "approximation": IGNORE, "inwardness": IGNORE}  # -2: all but bit 0


class Learner:
    """Teaches a network batch by batch.

    Parameters
    ----------
    student : UNet
        On the device that it learns on.
    classes : int
        K.
    config : TrainConfig
    trust : TrustLearner
    factors : tuple of int
        How many pixels of an image are one that the network sees, along each spatial axis.
    seed : int
        Of the views and grey values that batches are seen in.
    peers : Peers, optional
        Other processes, whose gradients are averaged with those here.

    Attributes
    ----------
    student : UNet
    teacher : Teacher
    voice : Voice
        What the teacher says of images.
    shares : ClassShares
    terms : dict of str to Tensor, ()
        Of the last step's loss.
    """

    def __init__(
        self,
        student: UNet,
        classes: int,
        config: TrainConfig,
        *,
        trust: TrustLearner,
        factors: Factors,
        seed: int,
        peers: Peers | None = None,
    ) -> None:
        self._config, self._trust, self._peers = config, trust, peers
        self._device = next(student.parameters()).device
        self._factors = factors
        self._random = torch.Generator().manual_seed(seed)
        self.voice = Voice()
        self.terms: dict[str, Tensor] = {}
        self._take(student, classes)

    def _take(self, student: UNet, classes: int) -> None:
        """Teach this network from now on."""
        self._classes = classes
        self.student = student
        self.teacher = Teacher(student, decay=self._config.ema)
        self.shares = ClassShares(classes, strength=self._config.prior_correction)
        self._sure = ClassThresholds(classes, tau=self._config.confidence)
        self._optimizer = AdamW(student.parameters(), weight_decay=1e-4)
        self._speak()

    def _speak(self) -> None:
        network = self.teacher.network
        assert isinstance(network, UNet)
        self.voice.speak_for(network, self._device, self._factors)
        self.voice.class_weights = self.shares.weights

    def take_classes(self, classes: int) -> None:
        """Go on with so many classes; what is known of those that stay is kept."""
        averaged, updates = self.teacher.network, self.teacher.updates
        assert isinstance(averaged, UNet)
        self._take(with_classes(self.student, classes), classes)
        self.teacher.network = with_classes(averaged, classes).eval().requires_grad_(False)
        self.teacher.updates = updates
        self._speak()

    def see_as(self, factors: Factors) -> None:
        """See images so many times smaller from now on."""
        if factors != self._factors:
            self.voice.seen.clear()
        self._factors = factors
        self._speak()

    def standardise(self, images: Sequence[Tensor]) -> None:
        """Let the network take grey values as these images have them."""
        self.student.standardise(images)
        self.teacher.network.load_state_dict(self.student.state_dict())

    def learning_rate(self, step: int) -> float:
        """Size of a step: a short warm-up, then falling slowly, for nobody knows when training will end."""
        falling = max(_LEAST_STEP, 1 / (1 + step / _HALVED_AT))
        return self._config.learning_rate * min(1.0, (step + 1) / _WARM_UP) * falling

    # -- a step ----------------------------------------------------------------------------------------------

    def step(self, batch: Batch, step: int, blocks: Sequence[Block]) -> None:
        """Make an optimiser step.

        Parameters
        ----------
        batch : Batch
            As large as the network sees it.
        step : int
            Steps made before.
        blocks : sequence of Block
            All of those that batches are drawn from: how many are marked says how much views vary, and with too few
            exact ones trust is not learned.
        """
        self.student.train()
        with devices.autocast(self._device, self.student.ndim):
            loss = self._loss(batch, step, blocks)
        loss.backward()  # type: ignore[no-untyped-call]
        for weights in self.student.parameters():  # one bad number must not spoil the network for good
            if weights.grad is not None:
                weights.grad.nan_to_num_(0.0, 0.0, 0.0)
        if self._peers is not None:
            self._peers.average(self.student.parameters())
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self._optimizer.step(self.learning_rate(step))
        self.teacher.decay = min(self._config.ema, 1 - _YOUNG / (_YOUNG + step))
        self.teacher.update(self.student)

    def _loss(self, batch: Batch, step: int, blocks: Sequence[Block]) -> Tensor:
        config, variety = self._config, Variety.of(blocks, self._config)
        image, given = self.given(batch, variety)
        self.voice.seen.append(image)
        out = self.student(self._strong(image, variety))
        teacher = self._pseudo_label(image, given.allowed, step) if config.consistency_weight else None
        mix = self._mix(image, variety) if config.second != "off" and config.second_weight else None
        terms = objective(config, out, given, teacher=teacher, mix=mix)
        self.shares.learn(config, given, out.logits)
        self._trust.learn(step, out, given, sum(block.exact for block in blocks))
        self.terms = {name: value.detach() for name, value in terms.items()}
        loss = torch.stack(list(terms.values())).sum()
        return loss + self._lead(step) * terms["overlap"] if "overlap" in terms else loss

    def _lead(self, step: int) -> float:
        """How much the overlap counts in addition.

        A young network answers the common class everywhere, and is led away from it by the overlap. `terms` are told
        without it: a curve should fall because something was learned.
        """
        return self._config.dice_warm_up * math.exp(-step / _LED)

    def given(self, batch: Batch, variety: Variety) -> tuple[Tensor, Given]:
        """Augment a batch on the device."""
        image = batch.image.to(self._device, non_blocking=True)
        fields = {name: x.to(self._device, non_blocking=True) for name, x in batch.fields.items()}
        shape = image.shape[2:]
        geometry = sample_geometry(
            len(image),
            shape,
            orientation=self._config.orientation,
            generator=self._random,
            resampled_share=variety.resampled_share,
            zoom=variety.zoom,
        )
        tags = batch.tags if geometry.affine is None else _still_there(batch.tags, geometry.affine)
        image, fields = apply_geometry(
            image,
            fields,
            geometry,
            outside=_NOTHING,
        )
        return image, Given(
            decode(fields["allowed"], self._classes),
            fields,
            tags.to(self._device),
            batch.annotated.to(self._device),
            _moved_boxes(batch, geometry, shape).to(self._device),
            batch.exact,
            batch.unmarked,
            bool(batch.boxes) or bool((tags > 0).any()),
            self._trust.of_pixels(fields["rough_id"]) if "rough_id" in fields else None,
        )

    def _strong(self, image: Tensor, variety: Variety) -> Tensor:
        drawn = sample_intensity(len(image), image.shape[1], generator=self._random, strength=variety.intensity)
        return apply_intensity(image, drawn)

    def _pseudo_label(self, image: Tensor, allowed: Tensor, step: int) -> PseudoLabel:
        """Ask the averaged network about the patches; its answer is restricted to what is possible."""
        network = self.voice.network(step, roughly=True)
        with torch.no_grad():
            said = network(image).logits.float().softmax(1)
        self._sure.update(said)
        needed = self._sure.thresholds if self._config.class_confidence else self._config.confidence
        strength = self._config.consistency_weight * ramp(step, _RAMP)
        return PseudoLabel(*teacher_target(said, allowed, min_confidence=needed), strength)

    def _mix(self, image: Tensor, variety: Variety) -> Mix:
        windows = cut_windows(len(image), image.shape[2:], generator=self._random).to(self._device)
        return Mix(self.student(self._strong(mixed(image, windows), variety)), windows)

    # -- what it says ----------------------------------------------------------------------------------------

    def look_around(self, step: int, blocks: Sequence[Block], rng: np.random.Generator) -> None:
        """Find out now and then how common the classes are, and answer accordingly."""
        if self.shares.look(step, blocks, lambda pixels: self.voice.says(pixels, step, roughly=True)[0], rng):
            self.voice.class_weights = self.shares.weights

    # -- memory and disk -------------------------------------------------------------------------------------

    def share(self) -> None:
        """Take over weights and optimiser of the process that leads, or give them."""
        assert self._peers is not None
        networks = (*self.student.state_dict().values(), *self.teacher.network.state_dict().values())
        self._peers.share([*networks, *self._optimizer.save().values()])
        self._speak()

    def speaking(self, step: int) -> dict[str, Tensor]:
        """Give all that its answers depend on after so many steps."""
        return {**self.voice.network(step).state_dict(), **self.shares.save()}

    def save(self) -> dict[str, Tensor]:
        """Give networks, optimiser, random generator and statistics."""
        tensors = {f"student.{k}": v for k, v in self.student.state_dict().items()}
        tensors |= {f"teacher.{k}": v for k, v in self.teacher.network.state_dict().items()}
        tensors |= {f"seen.{i}": image for i, image in enumerate(self.voice.seen)}
        return {
            **tensors,
            **self._optimizer.save(),
            **self.shares.save(),
            "random": self._random.get_state(),
            "sure": self._sure.means,
            "settled_at": torch.tensor(self.voice.settled_at),
        }

    def restore(self, tensors: Mapping[str, Tensor], *, updates: int, same_heads: bool) -> None:
        """Take back what `save` gave after so many updates of the teacher; other heads stay as they are."""
        for prefix, network in (("student.", self.student), ("teacher.", self.teacher.network)):
            weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            network.load_state_dict(weights, strict=same_heads)
        if same_heads:
            self._optimizer.restore(tensors)
        self._random.set_state(tensors["random"])
        self._sure.means = tensors["sure"].to(self._device)
        self.shares.restore(tensors)
        self.teacher.updates = updates
        seen = sum(name.startswith("seen.") for name in tensors)
        self.voice.seen.clear()
        self.voice.seen.extend(tensors[f"seen.{i}"].to(self._device) for i in range(seen))
        self._speak()
        if "settled_at" in tensors:
            self.voice.settled_at = int(tensors["settled_at"])


def heads_of(config: TrainConfig) -> set[Head]:
    """Heads beside the usual ones that the terms of a configuration need."""
    heads: set[Head] = set()
    if config.inwardness_weight:
        heads.add("inwardness")
    if config.multiscale_weight:
        heads.add("levels")
    if config.tag_weight:
        heads.add("tags")
    if config.second != "off":
        heads.add(config.second)
    return heads


def _still_there(tags: Tensor, affine: Tensor) -> Tensor:
    """Tags (N, K) of patches after they were scaled: of one that shows less than before, what is in it is unknown."""
    enlarged = torch.linalg.det(affine).abs() < 1
    return torch.where(enlarged.unsqueeze(1), tags.clamp(max=0), tags)


def _moved_boxes(batch: Batch, geometry: Geometry, shape: Sequence[int]) -> Boxes:
    """Turn the boxes with their patches; none where the patches were resampled, for no box is upright then."""
    boxes = []
    for i, class_id, start, stop in batch.boxes if geometry.affine is None else ():
        boxes.append((i, class_id, *geometry.views[i].box(start, stop, shape)))
    return Boxes.of(boxes, len(shape))
