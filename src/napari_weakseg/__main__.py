"""``python -m napari_weakseg`` is the command line."""

from napari_weakseg.cli import main

if __name__ == "__main__":
    main()
