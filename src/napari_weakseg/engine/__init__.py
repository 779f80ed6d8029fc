"""What the machine learns: networks, losses, the trainer and the thread it runs in. Never imports Qt or napari."""
