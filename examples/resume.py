"""Train for a while, close everything, and go on another day.

    python examples/resume.py --project coins.weakseg --seconds 20      # run it twice

The project folder holds what was painted and what was learned. The second run goes on where the first
one stopped; between the two you may open the same folder in napari and paint more.
"""

import argparse
from pathlib import Path

from napari_weakseg import Project, Session
from napari_weakseg.demo import load_coins


def open_or_make(folder: Path) -> Project:
    if folder.exists():
        return Project.open(folder)
    coins = load_coins()
    project = Project.create(folder, classes=["background", "coin"])
    project.add_image(coins.image, name="coins", axes="YX").paint(coins.marks)
    return project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=Path("coins.weakseg"))
    parser.add_argument("--seconds", type=float, default=20, help="training time of this run")
    options = parser.parse_args()

    with open_or_make(options.project) as project, Session(project, seed=0) as session:
        status = session.train(seconds=options.seconds)
        print(f"This run took {status.seconds:.0f} s; {status.step} steps in all runs together.")


if __name__ == "__main__":
    main()
