"""Writes ``docs/papers.md``: what the papers found, and whether it holds here; losses beside wins."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from benchmarks import papers, results, rounds
from benchmarks.cells import cell
from benchmarks.results import Line

_INTRO = """# The papers' own questions

Written by `python -m benchmarks report` from the lines of `python -m benchmarks papers` and
`python -m benchmarks rounds` in `benchmarks/results/`. Network, patches and optimiser are those of this project, the
sets are open ones, and training is short: no number here repeats an experiment of a paper. What each preset is faithful
to stands in `docs/methods.md`. Numbers are means over the test images and classes, then over the seeds, with the
smallest and the largest in brackets.
"""


def write(folder: Path, page: Path) -> None:
    """Write the page."""
    asked = results.latest(folder / papers.FILE, papers.KEY)
    parts = [_INTRO]
    for name, question in papers.QUESTIONS.items():
        lines = [line for line in asked if line["question"] == name]
        if lines:
            parts += [f"## {question.title}\n\n{question.source}. {_where(lines)}\n"]
            asked_of = {line["set"] for line in lines}
            parts += [_question(lines, question, set_name) for set_name in question.sets if set_name in asked_of]
    in_rounds = results.latest(folder / rounds.FILE, rounds.KEY)
    if in_rounds:
        parts.append(_rounds(in_rounds))
    page.write_text("\n".join(parts), encoding="utf-8")


def _where(lines: Sequence[Line]) -> str:
    one = lines[-1]
    seeds = len({line["seed"] for line in lines})
    return (
        f"{one['seconds']:g} s of training on {one['device_name']} ({one['threads']} threads), "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, at most {one['judges']} test images, "
        f"measured at {results.commits(lines)}."
    )


def _question(lines: Sequence[Line], question: papers.Question, set_name: str) -> str:
    own = [line for line in lines if line["set"] == set_name]
    weights = any("right_weight" in line for line in own)
    image_set = papers.SETS_ASKED[set_name]
    rows = [f"### {image_set.title} (`{set_name}`)\n"]
    if image_set.orientation == "fixed":
        rows.append('All ways are told that the sample has an up and a down (`orientation="fixed"`).\n')
    rows.append("| | Dice | IoU |" + (" weight of right masks | of wrong ones |" if weights else ""))
    rows.append("| --- | ---: | ---: |" + (" ---: | ---: |" if weights else ""))
    for way in question.ways:
        found = [line for line in own if line["way"] == way]
        if found:
            names = ("dice", "iou", "right_weight", "wrong_weight") if weights else ("dice", "iou")
            cells = [cell([line[name] for line in found if name in line], middle=mean) for name in names]
            rows.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join([*rows, ""])


def _rounds(lines: Sequence[Line]) -> str:
    one = lines[-1]
    counts = [one["per_round"] * (i + 1) for i in range(one["rounds"])]
    rows = ["## Masks asked for in rounds\n", f"Belharbi et al., WACV 2021. {_where(lines)} Each round anew.\n"]
    rows.append(f"| Dice with so many masks | {' | '.join(str(n) for n in counts)} | mean |")
    rows.append(f"| --- |{' ---: |' * (len(counts) + 1)}")
    for way in rounds.WAYS:
        found = [line for line in lines if line["way"] == way]
        if not found:
            continue
        each = len(found[0]["dice"]) == len(counts)
        cells = [cell([line["dice"][i] for line in found], middle=mean) if each else "" for i in range(len(counts))]
        rows.append(f"| {way} | {' | '.join(cells)} | {cell([line['mean'] for line in found], middle=mean)} |")
    return "\n".join([*rows, ""])
