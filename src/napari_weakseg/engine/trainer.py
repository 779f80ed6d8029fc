"""Training: reads blocks, learns from what is known about them, grows their blobs, predicts."""

import functools
import hashlib
from collections.abc import Container, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_weakseg.core.config import TrainConfig
from napari_weakseg.core.errors import TrainingError
from napari_weakseg.core.project import Project
from napari_weakseg.core.regions import Region, shape_of
from napari_weakseg.engine import device as devices
from napari_weakseg.engine.blocks import Block
from napari_weakseg.engine.checkpoint import read_state, unreadable, write_state
from napari_weakseg.engine.downsampling import downsampled
from napari_weakseg.engine.early import EarlyForest
from napari_weakseg.engine.evaluate import quality
from napari_weakseg.engine.failures import is_out_of_memory
from napari_weakseg.engine.finding import find_fragments, least_of
from napari_weakseg.engine.fragments import Fragments
from napari_weakseg.engine.grower import Grower
from napari_weakseg.engine.growing import median_round
from napari_weakseg.engine.learner import Learner, heads_of
from napari_weakseg.engine.networks import UNet
from napari_weakseg.engine.peers import Peers
from napari_weakseg.engine.planes import seen
from napari_weakseg.engine.predict import Tiles, predict_tiles
from napari_weakseg.engine.protocol import ClaimTrust, Report, Tile
from napari_weakseg.engine.queries import Query, Suggestion, suggest
from napari_weakseg.engine.readiness import missing_marks, nothing_left
from napari_weakseg.engine.sampling import Sampler
from napari_weakseg.engine.sizes import Sizes
from napari_weakseg.engine.store import BlockStore
from napari_weakseg.engine.suggesting import candidates
from napari_weakseg.engine.trust_learning import TrustLearner

__all__ = ["Trainer"]

_FIRST_BLOCKS, _FIRST_VALUES = 150, 16_000_000  # read before the first step at most; the rest while training
_READ_PIXELS = 300_000  # between two steps, of small blocks
_QUALITY_EVERY = 50  # steps
_JUDGES = 4  # blocks that held-out quality is taken from
_SMALLEST_PATCH = 32


class Trainer:
    """Learns from a project. See `TrainerProtocol` for how it is driven.

    Parameters
    ----------
    project : Project
    config : TrainConfig
    device : str
    seed : int
    peers : Peers, optional
        Other processes that train along.
    """

    def __init__(
        self,
        project: Project,
        config: TrainConfig,
        *,
        device: str = "auto",
        seed: int = 0,
        peers: Peers | None = None,
    ) -> None:
        self._project, self._config, self._seed, self._peers = project, config, seed, peers
        self._device = devices.pick(device) if peers is None else peers.device
        self._sizes = Sizes(self._device, project.ndim, config)
        self._classes = project.classes
        self._own = 0 if peers is None else peers.rank  # each process draws patches and views of its own
        self._rng = np.random.default_rng([seed, self._own] if self._own else seed)
        self._neighbours = config.neighbours if project.ndim == 2 else 0
        self._store = BlockStore(project, self._rng, neighbours=self._neighbours)
        devices.keep_memory(self._device)
        self._learner: Learner | None = None
        self._quality: tuple[float | None, int] = (None, 0)
        self._judged = -_QUALITY_EVERY
        self._early = EarlyForest(self._store, self._rng, seed=seed, wanted=config.forest)
        self._grower = Grower(project, config, self._store, self._rng)
        self._trust = TrustLearner(config)
        self._least_px: dict[int, int] = {}  # of objects, told by a saved state
        self.steps = 0

    # -- getting ready ---------------------------------------------------------------------------------------

    def prepare(self) -> Iterator[str]:
        """Read the first blocks and train the early forest."""
        for name in self._store.scan():
            yield f"Looking at “{name}”"
        values = 0
        while block := self._store.read_one():
            n = len(self._store.blocks)
            yield f"Reading “{block.place.image}” ({n})"
            values += block.pixels.size
            enough = n >= _FIRST_BLOCKS or values >= _FIRST_VALUES
            if enough and self._missing_marks() is None:
                break
        if (problem := self._missing_marks()) is not None:
            raise problem
        self._store.settle()
        learner = self.learner
        if not self.steps:
            self._choose_factors()
            sample = [torch.from_numpy(block.pixels).to(self._device) for block in self._store.blocks[:8]]
            learner.standardise(sample)
        self._sampler = self._fitting_sampler()
        if self._early.counts(self.steps):
            yield "A first look at the pixels"
            self._early.learn(self.steps)
        if not self.steps and (looks := self._early.looks(0)) is not None:
            self._grower.judge_outlines(looks)
        self._grower.take_in(self._store.blocks)
        self._trust.take_in(self._store.blocks)
        yield f"Learning on {devices.describe(self._device)}"

    def annotations_changed(self, image: str) -> None:
        """Take in the marks of an image anew."""
        if self._learner is None:
            return
        self._take_classes()
        changed = self._store.changed(image)
        self._grower.take_in(changed)
        self._trust.take_in(changed)
        if changed:
            self._choose_factors()
        for block in changed:
            self._sampler.favour(block)
        self._early.learn(self.steps)

    def _take_classes(self) -> None:
        """Go on with the classes that the project has now."""
        before, self._classes = len(self._classes), self._project.classes
        if self._learner is None or len(self._classes) == before:
            return
        self._learner.take_classes(len(self._classes))
        self._store.classes_changed()
        self._early.begin(self._project.ndim, self._channels, len(self._classes))
        self._early.learn(self.steps)

    @property
    def learner(self) -> Learner:
        """The network and what teaches it, built once the number of channels is known."""
        if self._learner is None:
            torch.manual_seed(self._seed)
            student = UNet(
                self._project.ndim,
                self._channels * (2 * self._neighbours + 1),
                len(self._classes),
                width=self._sizes.width,
                heads=heads_of(self._config),
            ).to(self._device)
            self._learner = Learner(
                student,
                len(self._classes),
                self._config,
                trust=self._trust,
                factors=self._sizes.factors,
                seed=self._seed + 7919 * self._own,
                peers=self._peers,
            )
            self._early.begin(self._project.ndim, self._channels, len(self._classes))
        return self._learner

    @property
    def _channels(self) -> int:
        return next(iter(self._project.images.values())).n_channels

    def _choose_factors(self) -> None:
        """Decide how much smaller the network sees images."""
        blocks = self._store.blocks
        image = self._project.images.get(blocks[0].place.image) if blocks else None
        if image is not None and self._sizes.look_at(blocks, spacing=image.spacing, trained=self.steps > 0):
            self.learner.see_as(self._sizes.factors)
            self._sampler = self._fitting_sampler()

    def _fitting_sampler(self) -> Sampler:
        config, sizes = self._config, self._sizes
        teaches = config.consistency_weight > 0 or config.second != "off"
        patch = sizes.patch(self._store.blocks, self.learner.student.multiple)
        return Sampler(patch, sizes.batch, self._rng, unmarked=teaches, tagged=config.learns_from_tags)

    def _missing_marks(self) -> TrainingError | None:
        store, boxes_teach = self._store, self._config.learns_from_boxes
        return missing_marks(store.blocks, self._classes, boxes_teach=boxes_teach, left_out=store.left_out)

    # -- learning --------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Make one optimiser step; between steps read a block or grow one."""
        if self._peers is not None and self._peers.leads and self._peers.call():
            self.agree()
        self._take_classes()
        learner = self.learner
        self._read_on()
        self._grower.step(self.steps, self._says_lately, self._early.looks(self.steps))
        if not any(block.marked_at for block in self._store.blocks):
            raise nothing_left()
        learner.look_around(self.steps, self._store.blocks, self._rng)
        self._early.judge(self.steps, self._says_evenly)
        self._early.teach(self.steps)
        batch = downsampled(self._sampler.draw(self._store.blocks), self._sizes.factors, self._rng)
        learner.step(batch, self.steps, self._store.blocks)
        self.steps += 1

    def agree(self) -> None:
        """Take over weights, optimiser and scale of the process that leads, or give them."""
        assert self._peers is not None
        learner = self.learner
        self.steps, learner.teacher.updates, *factors = self._peers.share_numbers(
            [self.steps, learner.teacher.updates, *self._sizes.factors]
        )
        self._sizes.factors = tuple(factors)
        self._sampler = self._fitting_sampler()
        learner.see_as(self._sizes.factors)
        learner.share()

    def _read_on(self) -> None:
        """Read a large block or several small ones."""
        if self._store.complete:
            return
        read: list[Block] = []
        while sum(block.pixels.size for block in read) < _READ_PIXELS and (block := self._store.read_one()) is not None:
            read.append(block)
        if self._store.complete:
            self._store.settle(learned=True)
        self._grower.take_in(read)
        self._trust.take_in(read)
        self._early.read_on(self.steps)

    # -- predicting ------------------------------------------------------------------------------------------

    def _says_lately(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities and interfaces, good enough for growth and cheap."""
        return self.learner.voice.says(pixels, self.steps, roughly=True)

    def _says_evenly(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.learner.shares.even(self._says_lately(pixels)[0])

    def probabilities(self, pixels: NDArray[np.float32], *, live: bool = False) -> NDArray[np.float32]:
        """Give the probabilities of `predicted`."""
        return self.predicted(pixels, live=live)[0]

    def predicted(
        self, pixels: NDArray[np.float32], *, live: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict an array that fits into memory.

        Parameters
        ----------
        pixels : float32 array, (C, *S)
            Normalised.
        live : bool
            At a glance, in half the time: without looking at the mirror image too.

        Returns
        -------
        probabilities : float32 array, (K, *S)
        inwardness : float32 array, (*S)
            How far inside its object each pixel lies, above 0 to 1; 0 throughout where nothing is known of it.
        """
        orientation = "fixed" if live else self._config.orientation
        said, inwardness = self.learner.voice.predicts(pixels, self.steps, orientation)
        return self._early.joined(self.steps, pixels, said), inwardness

    def predict(
        self,
        image: str,
        frame: tuple[int, ...],
        region: Region | None = None,
        *,
        first: Region | None = None,
        done: Container[tuple[int, ...]] = (),
        live: bool = False,
    ) -> Iterator[Tile]:
        """Predict a frame tile by tile; regions are along the spatial axes."""
        source = self._project.images[image]
        place = source.frame_region(frame)
        ndim = self._project.ndim

        def predicted(at: Region) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            pixels = seen(source.source, place[:-ndim] + at, self._neighbours)
            return self.predicted(pixels.reshape(len(pixels), *shape_of(at)), live=live)

        yield from predict_tiles(predicted, self._tiles_of(image), region=region, first=first, done=done)

    def tile_starts(self, image: str) -> list[tuple[int, ...]]:
        """Tell where the tiles of a frame begin."""
        return self._tiles_of(image).starts

    def _tiles_of(self, image: str) -> Tiles:
        shape = self._project.images[image].label_shape[-self._project.ndim :]
        return Tiles(shape, self._sizes.tile_px, self._sizes.halo_px(self.learner.student.halo_px))

    @property
    def fingerprint(self) -> str:
        """What a prediction depends on beside the image: weights, what the forest learned from, sizes of tiles."""
        tensors = {**self.learner.speaking(self.steps), **self._early.save(self.steps)}
        found = hashlib.sha256()
        for name, tensor in sorted(tensors.items()):
            found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        share, looks = self._early.share(self.steps), self._config.orientation
        found.update(repr((self._sizes.tile_px, self._sizes.factors, share, looks)).encode())
        return found.hexdigest()

    @property
    def least_px(self) -> dict[int, int]:
        """How many pixels objects of each class have at least, as marks tell that were read here or before a save."""
        return self._least_px | least_of(self._store.blocks)

    def fragments(
        self,
        image: str,
        frame: tuple[int, ...],
        start: tuple[int, ...],
        labels: NDArray[np.uint8],
        certainty: NDArray[np.float32],
        inwardness: NDArray[np.float32],
    ) -> Fragments:
        """Cut a prediction into fragments of objects."""
        found = self._project.images[image]
        return find_fragments(found, frame, start, labels, certainty, inwardness, least_px=self.least_px)

    def grown(self, image: str, frame: tuple[int, ...]) -> NDArray[np.uint8]:
        """Tell where the blobs of a frame have grown to."""
        source = self._project.images[image]
        ndim = self._project.ndim
        result = np.zeros(shape_of(source.frame_region(frame))[-ndim:], np.uint8)
        for block in self._store.find(image, frame):
            if block.growth is not None:
                result[block.place.region] = block.growth.seed_class[block.growth.ids]
        return result

    def suggest(self, n: int, *, query: Query = "mixture") -> Generator[str, None, list[Suggestion]]:
        """Choose what to annotate next, image by image; nothing has to be prepared."""
        found = []
        looked_at = candidates(
            self._project,
            self._store.blocks,
            self._says_from_all_sides,
            self._seed,
            neighbours=self._neighbours,
            tags_teach=self._config.learns_from_tags,
        )
        for candidate in looked_at:
            found.append(candidate)
            yield f"Looking at “{candidate.image}”"
        rng = np.random.default_rng([self._seed, self.steps])
        return suggest(found, n, query=query, rng=rng)

    def _says_from_all_sides(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.learner.voice.says_from_all_sides(pixels, self.steps, self._config.orientation)

    def claims(self) -> list[ClaimTrust]:
        """Tell how far each object of a rough mask is trusted, the least trusted first."""
        return self._trust.by_object(self._store.blocks)

    # -- telling ---------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """Tell how training stands; waits for the device."""
        if self.steps - self._judged >= _QUALITY_EVERY:
            self._judged = self.steps
            of_most_classes = sorted(self._store.blocks, key=lambda block: -len(block.held_at))[:_JUDGES]
            side = 256 if self._project.ndim == 2 else 48
            glance = functools.partial(self.probabilities, live=True)
            self._quality = quality(of_most_classes, glance, len(self._classes), window_px=side)
        learned = {} if self._learner is None else self._learner.terms
        terms = {name: float(value) for name, value in learned.items()}
        return Report(
            step=self.steps,
            loss=sum(terms.values()),
            terms=terms,
            quality=self._quality[0],
            quality_n=self._quality[1],
            note=" ".join(self._store.notes[-1:]),
            rounds=median_round(self._grower.blocks),
        )

    def conflicts(self) -> Mapping[str, int]:
        """Count the pixels of each image that are said to be two things at once."""
        return self._store.conflicts()

    # -- memory and disk -------------------------------------------------------------------------------------

    def shrink(self) -> str:
        """Need less memory: half the batch, then half the patch, then the processor; smaller tiles each time."""
        devices.free(self._device)
        if self._peers is not None:  # the others are in the middle of a step
            raise TrainingError(
                "There is not enough memory for training on several devices.",
                "Start it again with smaller batches or patches (batch, patch_px in the settings of the project).",
            )
        learner = self._learner
        smaller = self._sizes.shrink(_SMALLEST_PATCH if learner is None else 2 * learner.student.multiple)
        if smaller:
            said = f"Memory was short: going on with {smaller}."
        elif self._device.type != "cpu":
            self._to_processor()
            said = "The graphics card has too little memory: going on with the processor."
        else:
            raise TrainingError(
                "There is not enough memory to train.",
                "Close other programs, or work on smaller images.",
            )
        if self._learner is not None:
            seen = self._learner.voice.seen
            for _ in range(len(seen)):
                seen.append(seen.popleft()[: self._sizes.batch].clone())
            if self._store.blocks:
                self._sampler = self._fitting_sampler()
        return said

    def _to_processor(self) -> None:
        saved = None if self._learner is None else self._state()
        terms = {} if self._learner is None else self._learner.terms
        self._device = torch.device("cpu")
        self._sizes.move(self._device)
        self._learner = None
        if saved is not None:
            self._restore({k: v.cpu() for k, v in saved[0].items()}, saved[1])
            self.learner.terms = {name: value.cpu() for name, value in terms.items()}

    def save(self, folder: Path) -> None:
        """Write weights, optimiser, random generators, growth and the early forest.

        Notes
        -----
        A trainer of the same project and device that is prepared and then loads this goes on as this one would, to
        the last bit if every block had been read when this was saved, and was read again by `prepare`.
        """
        self._take_classes()  # those that the saved state is said to be made for
        self.learner.voice.network(self.steps)
        write_state(folder, *self._state())

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises
        ------
        ProjectError
            If it is damaged or was made for something else.
        """
        tensors, state = read_state(folder)
        try:
            self._restore(tensors, state)
        except Exception as error:  # whatever a state that is whole but wrong may lead to
            if is_out_of_memory(error):
                raise
            raise unreadable(folder, error) from error

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        learner = self.learner
        tensors = {**learner.save(), **self._early.save(self.steps)}
        blocks, records = self._store.save()
        tensors |= blocks
        state = {
            "steps": self.steps,
            "updates": learner.teacher.updates,
            "growth": self._grower.save(),
            "width": self._sizes.width,
            "downsample": list(self._sizes.factors),
            "heads": sorted(heads_of(self._config)),
            "trust": self._trust.save(),
            "forest": self._early.judged(),
            "blocks": records,
            "least_px": sorted(self.least_px.items()),
            "rng": self._rng.bit_generator.state,
        }
        return tensors, state

    def _restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        if int(state["width"]) != self._sizes.width:  # made on a device with another plan
            self._sizes.width, self._learner = int(state["width"]), None
        learner = self.learner
        self._sizes.factors = tuple(state.get("downsample", self._sizes.factors))
        learner.see_as(self._sizes.factors)
        if self._store.blocks:
            self._sampler = self._fitting_sampler()
        learner.restore(
            tensors,
            updates=int(state["updates"]),
            same_heads=set(state["heads"]) == heads_of(self._config),  # else what both have is kept
        )
        self._rng.bit_generator.state = state["rng"]
        least = state.get("least_px", [])  # one number for all classes in older states
        self._least_px = dict.fromkeys(self._classes.ids, least) if isinstance(least, int) else dict(least)
        self._early.restore(tensors, state.get("forest", {"share": state.get("forest_share")}))
        self._grower.restore(state["growth"])
        self._grower.take_in(self._store.restore(tensors, state["blocks"]))
        self._trust.restore(state["trust"], self._store.blocks, self._device)
        self.steps = int(state["steps"])  # last: what is half restored must not pass for something learned
        self._judged = self.steps - _QUALITY_EVERY
        if self._peers is not None:
            self._peers.disagree()

    def close(self) -> None:
        """Give the memory back."""
        self._store.blocks.clear()
        self._learner = None
        devices.free(self._device)
