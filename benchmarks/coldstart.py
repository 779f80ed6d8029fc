"""Whether the raw images can teach the network something before anything is marked.

While a person paints the first marks the machine has nothing to do. Here it lets the network fill in hidden squares of
the images, as masked autoencoders do, and training then starts from these weights instead of random ones. That time is
given for nothing; beside it stands the same from random weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import results
from benchmarks.arms import ARMS
from benchmarks.cells import cell
from benchmarks.quality import Options
from benchmarks.results import Line
from benchmarks.sets import SETS
from benchmarks.training import Clock, Run, run_network
from napari_weakseg.core.config import TrainConfig
from napari_weakseg.engine.downsampling import downsampled
from napari_weakseg.engine.trainer import Trainer
from napari_weakseg.engine.variety import Variety

FILE = "coldstart.jsonl"
KEY = ("set", "waited", "seed", "seconds", "device", "threads", "images", "judges", "revision")
SETS_STARTED = ("glas_train", "vnc_sstem")
SECONDS = 60.0
#: Seconds in which the network may look at the raw images first.
WAITED_S = (0.0, 60.0)
_HIDDEN_PX, _HIDDEN_SHARE = 8, 0.5
_NOISE = 0.1  # standard deviations, on what is not hidden


def run(options: Options) -> None:
    """Make all runs that are not finished yet."""
    results.make_runs(
        options.folder / FILE,
        KEY,
        _grid(options),
        threads=options.threads,
        named=lambda key: f"{key['set']}, seed {key['seed']}, {key['waited']:g} s of raw images first",
        measure=_measured,
        told=lambda found: ", ".join(f"{point['at']:g} s: {point['median']:.3f}" for point in found["points"]),
    )


def _grid(options: Options) -> Iterator[dict[str, Any]]:
    common = options.common("benchmarks.coldstart")
    for seed in range(options.seeds):
        for name in options.sets:
            for waited in WAITED_S:
                yield {"set": name, "waited": waited, "seed": seed, **common}


def _measured(key: Mapping[str, Any]) -> dict[str, Any]:
    image_set = SETS[key["set"]]
    asked = Run(0, key["seed"], key["seconds"], key["device"], key["threads"], key["images"])
    first = partial(_fill_in, seconds=key["waited"], seed=key["seed"])
    return run_network(image_set, ARMS["ours"], asked, image_set.judged(key["judges"]), first=first)


def _fill_in(trainer: Trainer, seconds: float, seed: int) -> None:
    """Let the network fill in hidden squares of the images for so long."""
    student, step = trainer.learner.student, 0
    random, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    head = nn.Conv2d(student.decoder.segment.in_channels, len(student.centre), 1).to(student.centre.device)
    weights = [*student.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, weight_decay=1e-4)
    centre, spread = (values.view(1, -1, 1, 1) for values in (student.centre, student.spread))
    clock = Clock()
    while clock.seconds < seconds:
        batch = downsampled(trainer._sampler.draw(trainer._store.blocks), trainer._sizes.factors, rng)
        image = trainer.learner.given(batch, Variety.of(trainer._store.blocks, TrainConfig()))[0]
        hidden = _squares(image, random)
        noisy = image + _NOISE * spread * torch.randn(image.shape, generator=random).to(image.device)
        student.train()
        features = student(torch.where(hidden, centre, noisy)).features[-1]
        off = (head(features) - (image - centre) / spread).square() * hidden
        optimizer.zero_grad()
        (off.sum() / (hidden.sum() * image.shape[1]).clamp_min(1)).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = trainer.learner.learning_rate(step)
        optimizer.step()
        step += 1
    optimizer.zero_grad()
    trainer.learner.teacher.network.load_state_dict(student.state_dict())


def _squares(image: Tensor, random: torch.Generator) -> Tensor:
    """Draw what is hidden of a batch: bool (N, 1, Y, X)."""
    cells = [size // _HIDDEN_PX for size in image.shape[2:]]
    drawn = torch.rand(len(image), 1, *cells, generator=random) < _HIDDEN_SHARE
    return F.interpolate(drawn.float(), size=image.shape[2:]).to(image.device) > 0


def section(lines: Sequence[Line]) -> str:
    """Part of the page of results."""
    parts = [_WORDS]
    chosen = results.newest(
        [line for line in lines if not (line["images"] or line["judges"])],
        ("set", "waited", "seed", "seconds", "device", "threads"),
    )
    if not chosen:
        return "\n".join([*parts, "Not measured yet.\n"])
    times = sorted({point["at"] for line in chosen.values() for point in line["points"]})
    rows = [f"| | | {' | '.join(f'{at:g} s' for at in times)} |", f"| --- | --- |{' ---: |' * len(times)}"]
    groups = [(line["set"], line["device"], line["threads"], line["waited"]) for line in chosen.values()]
    for group in sorted(set(groups)):
        name, device, _, waited = group
        runs = [line for line, of in zip(chosen.values(), groups, strict=True) if of == group]
        cells = [cell([p["median"] for line in runs for p in line["points"] if p["at"] == at]) for at in times]
        begun = f"after {waited:g} s of raw images" if waited else "from random weights"
        title = f"{SETS[name].title} (`{name}`), {device}, {len(runs)} seed{'s' * (len(runs) > 1)}"
        rows.append(f"| {title} | {begun} | {' | '.join(cells)} |")
    return "\n".join([*parts, *rows, "", f"Measured at {results.commits(chosen.values())}, not later.", ""])


_WORDS = """## Cold start

Whether the raw images can teach the network something while nothing is marked yet: it fills in hidden squares of them
for a minute, for nothing, and then learns from the marks (blobs and a stroke of background, or strokes, no exact image)
from these weights. Median Dice over the test images after so many seconds of learning from marks.
"""
