"""What the person said: classes, annotations, images and the project folder. No torch, Qt, napari here."""
