"""What the machine learns: networks, losses, the trainer and its thread. Never imports Qt or napari."""
