"""How good the segmentation is after so many seconds of training, beside other ways to learn from the same marks.

One run = one set, one method, so many exact images, one seed: marks are simulated, a project is made, the network
trains for the given seconds (`training`), and at 10, 30, … seconds the test images are predicted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.arms import ARMS, Arm
from benchmarks.sets import SETS, Judge

FILE = "quality.jsonl"
KEY = ("set", "arm", "exact", "seed", "seconds", "device", "threads", "images", "judges", "revision")
#: Sets seen with exact images beside the rough ones too; the others have rough marks only.
WITH_EXACT = ("dsb2018_fluo_a", "usiigaci_phase", "glas_train", "wbc_smear")
FIRST_MINUTE = ("dsb2018_fluo_a", "glas_train", "vnc_sstem", "acdc_scribble")
SETS_MEASURED = tuple(dict.fromkeys(WITH_EXACT + FIRST_MINUTE))
EXACT = (3, 0)
SECONDS = 60.0
DEFAULT_ARMS = ("forest", "plain", "ours", "full")
#: Modules that a result depends on, through everything they import.
_CODE = {True: "benchmarks.forest", False: "benchmarks.training"}


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure.

    Attributes
    ----------
    sets, arms : sequence of str
    seeds : int
        How many.
    seconds : float
        Training time.
    exact : sequence of int
        Numbers of exact images.
    device : str
    threads : int
    images, judges : int
        Training images, and test images, at most; 0 = all that the set has for it.
    folder : Path
        Of the result files.
    """

    sets: Sequence[str] = SETS_MEASURED
    arms: Sequence[str] = DEFAULT_ARMS
    seeds: int = 3
    seconds: float = SECONDS
    exact: Sequence[int] = EXACT
    device: str = "cpu"
    threads: int = 2
    images: int = 0
    judges: int = 0
    folder: Path = results.FOLDER

    def common(self, module: str) -> dict[str, Any]:
        """What all runs of a module have in common, as parts of their keys."""
        return {
            "seconds": self.seconds,
            "device": results.machine(self.threads, self.device)["device"],
            "threads": self.threads,
            "images": self.images,
            "judges": self.judges,
            "revision": results.revision(module),
        }


def run(options: Options) -> None:
    """Make all runs that are not finished yet, seed by seed."""
    results.make_runs(
        options.folder / FILE,
        KEY,
        _grid(options),
        threads=options.threads,
        named=_named,
        measure=_measured,
        told=lambda found: _told(found["points"]),
    )


def _grid(options: Options) -> Iterator[dict[str, Any]]:
    device = results.machine(options.threads, options.device)["device"]
    for seed in range(options.seeds):
        for name in options.sets:
            counts: list[int | str] = [n for n in options.exact if not n or name in WITH_EXACT]
            for arm in (ARMS[arm] for arm in options.arms):
                if arm.all_exact and name not in WITH_EXACT:
                    continue
                for exact in ["all"] if arm.all_exact else counts:
                    yield _key(options, arm, set=name, exact=exact, seed=seed, device=device)


def _key(options: Options, arm: Arm, *, device: str, **given: Any) -> dict[str, Any]:
    forest = arm.config is None
    return {
        **given,
        "arm": arm.name,
        "seconds": None if forest else options.seconds,
        "device": "cpu" if forest else device,
        "threads": options.threads,
        "images": options.images,
        "judges": options.judges,
        "revision": results.revision(_CODE[forest]),
    }


def _measured(key: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.forest import run_forest
    from benchmarks.training import Run, run_network

    image_set, arm, judges = SETS[key["set"]], ARMS[key["arm"]], _judges(key["set"], key["judges"])
    exact = None if key["exact"] == "all" else int(key["exact"])
    if arm.config is None:
        assert exact is not None
        return run_forest(
            image_set, judges, exact=exact, seed=key["seed"], threads=key["threads"], images=key["images"]
        )
    one = Run(exact, key["seed"], key["seconds"], key["device"], key["threads"], key["images"])
    return run_network(image_set, arm, one, judges)


@cache
def _judges(name: str, limit: int) -> list[Judge]:
    return SETS[name].judged(limit)


def _named(key: dict[str, Any]) -> str:
    exact = {"all": "all exact", 0: "none exact"}.get(key["exact"], f"{key['exact']} exact")
    return f"{key['set']}, {exact}, seed {key['seed']}, {ARMS[key['arm']].title}"


def _told(points: list[dict[str, Any]]) -> str:
    return ", ".join(f"{p['seconds']:.0f} s: {p['median']:.3f}" for p in points)
