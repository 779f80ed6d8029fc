"""``python -m benchmarks [PART]``.

Parts: quality, growth, objects, volumes, speed, study, scribbles, coldstart, papers, rounds, report. Where none is
named: quality, growth, objects, volumes, speed and the report.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results
from benchmarks.sets import ROOT, SETS, NoData

if TYPE_CHECKING:
    from benchmarks import quality


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; returns the exit code."""
    given = _parser().parse_args(arguments)
    code = 0
    for name in (
        ("speed", "quality", "growth", "objects", "volumes", "report") if given.what == "all" else (given.what,)
    ):
        try:
            _COMMANDS[name](given)
        except NoData as error:
            print(error, file=sys.stderr)
            code = 1
        except KeyboardInterrupt:
            print("\nStopped. What is finished is kept; the same command goes on from there.", file=sys.stderr)
            return 130
    return code


def _parser() -> argparse.ArgumentParser:
    from benchmarks.annotator import POLICIES
    from benchmarks.arms import ARMS
    from benchmarks.papers import QUESTIONS
    from benchmarks.scribbles import SCRIBBLED
    from benchmarks.speed import PARTS
    from benchmarks.study import WAYS
    from benchmarks.volumes import SETS as VOLUMES

    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=("all", *_COMMANDS))
    parser.add_argument("--sets", nargs="+", choices=sorted({*SETS, *SCRIBBLED, *VOLUMES}), help="image sets")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), help="methods (quality)")
    parser.add_argument("--exact", nargs="+", type=int, help="numbers of exact images (quality, growth)")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), help="what to measure (speed)")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds")
    parser.add_argument("--seconds", type=float, help="training time of a run; length of a speed measurement")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto")
    parser.add_argument("--threads", type=int, default=threads, help="processor threads")
    parser.add_argument("--images", type=int, default=0, help="training images at most, for a trial; 0 = all")
    parser.add_argument("--judges", type=int, default=0, help="test images at most, for a trial; 0 = as documented")
    parser.add_argument("--size", default="small", choices=("small", "full"), help="how much is run (study)")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), help="ways to learn (study)")
    parser.add_argument("--policy", default="mixed", choices=list(POLICIES), help="what is marked (study)")
    parser.add_argument("--questions", nargs="+", choices=list(QUESTIONS), help="which papers' (papers)")
    parser.add_argument("--side", type=int, default=20_000, help="side of the large image (speed, memory)")
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="folder of the result files")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md", help="page to write")
    return parser


def _options(given: argparse.Namespace, *, seconds: float, **chosen: Any) -> "quality.Options":
    from benchmarks.quality import Options

    return Options(
        seeds=given.seeds,
        seconds=given.seconds or seconds,
        device=given.device,
        threads=given.threads,
        images=given.images,
        judges=given.judges,
        folder=given.results,
        **chosen,
    )


def _sets(given: argparse.Namespace, usual: Sequence[str], known: Sequence[str] = tuple(SETS)) -> tuple[str, ...]:
    """Sets that were asked for, or the usual ones; of several parts each takes those that it knows."""
    asked = tuple(given.sets or usual)
    unknown = [name for name in asked if name not in known]
    if unknown and given.what != "all":
        raise SystemExit(f"“{given.what}” has no set {', '.join(unknown)}. It has: {', '.join(known)}.")
    return tuple(name for name in asked if name in known)


def _quality(given: argparse.Namespace) -> None:
    from benchmarks import quality

    quality.run(
        _options(
            given,
            seconds=quality.SECONDS,
            sets=_sets(given, quality.SETS_MEASURED),
            arms=given.arms or quality.DEFAULT_ARMS,
            exact=quality.EXACT if given.exact is None else given.exact,
        )
    )


def _growth(given: argparse.Namespace) -> None:
    from benchmarks import growth
    from benchmarks.quality import EXACT

    exact = EXACT if given.exact is None else given.exact
    growth.run(_options(given, seconds=growth.SECONDS, sets=_sets(given, growth.SETS_GROWN), exact=exact))


def _objects(given: argparse.Namespace) -> None:
    from benchmarks import objects

    objects.run(_options(given, seconds=objects.SECONDS, sets=_sets(given, objects.SETS_OF_OBJECTS)))


def _coldstart(given: argparse.Namespace) -> None:
    from benchmarks import coldstart

    coldstart.run(_options(given, seconds=coldstart.SECONDS, sets=_sets(given, coldstart.SETS_STARTED)))


def _scribbles(given: argparse.Namespace) -> None:
    from benchmarks import scribbles

    sets = _sets(given, tuple(scribbles.SCRIBBLED), tuple(scribbles.SCRIBBLED))
    scribbles.run(_options(given, seconds=scribbles.SECONDS, sets=sets))


def _volumes(given: argparse.Namespace) -> None:
    from benchmarks import volumes

    sets = _sets(given, tuple(volumes.SETS), tuple(volumes.SETS))
    volumes.run(_options(given, seconds=volumes.SECONDS, sets=sets))


def _speed(given: argparse.Namespace) -> None:
    from benchmarks import speed

    speed.run(
        speed.Options(
            parts=given.parts or tuple(speed.PARTS),
            seconds=given.seconds or speed.SECONDS,
            device=given.device,
            threads=given.threads,
            side=given.side,
            folder=given.results,
        )
    )


def _study(given: argparse.Namespace) -> None:
    from benchmarks import study

    study.run(
        study.Options(
            size=given.size,
            ways=given.ways or study.SIZES[given.size].ways,
            policy=given.policy,
            device=given.device,
            threads=given.threads,
            folder=given.results,
        )
    )


def _papers(given: argparse.Namespace) -> None:
    from benchmarks import papers

    papers.run(
        papers.Options(
            questions=given.questions or tuple(papers.QUESTIONS),
            sets=_sets(given, tuple(papers.SETS_ASKED), tuple(papers.SETS_ASKED)),
            seeds=given.seeds,
            seconds=given.seconds or papers.SECONDS,
            device=given.device,
            threads=given.threads,
            judges=given.judges or papers.JUDGES,
            folder=given.results,
        )
    )


def _rounds(given: argparse.Namespace) -> None:
    from benchmarks import rounds

    rounds.run(
        rounds.Options(
            seeds=given.seeds,
            seconds=given.seconds or rounds.SECONDS,
            device=given.device,
            threads=given.threads,
            judges=given.judges or rounds.JUDGES,
            folder=given.results,
        )
    )


def _report(given: argparse.Namespace) -> None:
    from benchmarks import coldstart, papers, report, report_papers, report_study, rounds, scribbles, study

    report.write(given.results, given.page)
    print(f"Written: {given.page}")
    if any((given.results / file).exists() for file in (study.FILE, scribbles.FILE, coldstart.FILE)):
        page = given.page.with_name("study.md")
        report_study.write(given.results, page)
        print(f"Written: {page}")
    if any((given.results / file).exists() for file in (papers.FILE, rounds.FILE)):
        page = given.page.with_name("papers.md")
        report_papers.write(given.results, page)
        print(f"Written: {page}")


_COMMANDS = {
    "quality": _quality,
    "growth": _growth,
    "objects": _objects,
    "volumes": _volumes,
    "speed": _speed,
    "study": _study,
    "scribbles": _scribbles,
    "coldstart": _coldstart,
    "papers": _papers,
    "rounds": _rounds,
    "report": _report,
}

if __name__ == "__main__":
    sys.exit(main())
