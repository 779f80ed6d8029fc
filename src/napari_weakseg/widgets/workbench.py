"""The images of the project in the viewer, and which one is annotated."""

import math
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_weakseg.core.classes import ClassTable
from napari_weakseg.core.errors import ProjectError, WeaksegError
from napari_weakseg.widgets import messages
from napari_weakseg.widgets.aside import Aside
from napari_weakseg.widgets.axes import Guess, choices, guess_axes
from napari_weakseg.widgets.canvas import ImageCanvas
from napari_weakseg.widgets.copying import bytes_in
from napari_weakseg.widgets.desk import DEFAULT_CLASSES, Desk, annotation_of, marked, used
from napari_weakseg.widgets.image_box import ImageDescription
from napari_weakseg.widgets.overlay import KEY, pixels_of
from napari_weakseg.widgets.source_pixels import SourcePixels
from napari_weakseg.widgets.strokes import Strokes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_weakseg.core.project import Project
    from napari_weakseg.core.project_image import ProjectImage

LEFT = "project"  # in the metadata of an image layer: where its marks are, noted when the panel was closed
_BIG_BYTES = 4_000_000  # copied into the project in a thread of its own
_IN_MEMORY_BYTES = 200_000_000  # read whole when an image of a project is shown


class Workbench(QObject):
    """Holds the desk, the canvas of each image on it, and the one that is worked on.

    Parameters
    ----------
    viewer : ViewerModel
    desk : Desk
    guard : callable
        Runs a function and tells the person what went wrong; returns whether it went well.
    """

    project_closing = Signal()  # what still writes to the project should end now
    project_changed = Signal()  # another project, or none, is open
    current_changed = Signal()  # another image, or none, is worked on
    drafts_left = Signal(str, int)  # an image is put away with boxes that were begun only
    strays_left = Signal(str)  # an image is put away with paint that is no class; name of the layer that keeps it
    layer_removed = Signal(str)  # name of a layer of ours that was taken out of the viewer

    def __init__(
        self,
        viewer: "ViewerModel",
        desk: Desk,
        guard: Callable[[Callable[[], None]], bool],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer, self.desk, self._guard = viewer, desk, guard
        self.canvases: dict[str, ImageCanvas] = {}
        self.strokes = Strokes(self.canvases, guard, self)
        self.aside = Aside(guard, self)
        self.current: ImageCanvas | None = None
        self.may_leave = True  # whether another project may be opened
        self.guess = Guess("", True)
        self._wanted_ndim = 2
        desk.before_close = self.project_closing.emit
        desk.is_shown = lambda folder: bool(self._read_from(folder))

    # -------------------------------------------------------------- what there is

    @property
    def image(self) -> "ProjectImage | None":
        """The image worked on, as the project has it."""
        return None if self.current is None else self.desk.open_project.images[self.current.name]

    def _canvas_of(self, layer: "Image") -> ImageCanvas | None:
        # compared by value: napari hands a plugin another proxy of the same layer each time
        return next((canvas for canvas in self.canvases.values() if canvas.image == layer), None)

    def _image_layers(self) -> "list[Image]":
        from napari.layers import Image

        return [layer for layer in self.viewer.layers if isinstance(layer, Image)]

    def has_marks(self) -> bool:
        """Tell whether anything is marked on any image of the project."""
        if any(canvas.counts.any() for canvas in self.canvases.values()):
            return True
        return self.desk.project is not None and used(self.desk.project)

    def is_marked(self, name: str, layer: "Image | None") -> bool:
        """Tell whether anything is marked on one of the images to choose from, see :meth:`entries`."""
        canvas = self._canvas_of(layer) if layer is not None else None
        if layer is not None and canvas is None:
            noted = layer.metadata.get(KEY, {})
            if LEFT in noted and (self.desk.project is None or noted[LEFT] != str(self.desk.project.path)):
                return True  # in another project
            name = noted.get("image", "")
        elif canvas is not None:
            name = canvas.name
        images = self.desk.project.images if self.desk.project is not None else {}
        return name in images and marked(images[name])

    def entries(self) -> list[tuple[str, Any]]:
        """List the images to choose from: (name, layer), or (name, None) for those not in the viewer."""
        layers = [(layer.name, layer) for layer in self._image_layers()]
        shown = {name for name, canvas in self.canvases.items() if canvas.image in self.viewer.layers}
        project = self.desk.project
        if project is None:
            return layers
        left = [layer.metadata.get(KEY, {}) for _, layer in layers]
        shown |= {noted["image"] for noted in left if noted.get(LEFT) == str(project.path)}
        return [*layers, *((name, None) for name in project.images if name not in shown)]

    def describe(self) -> ImageDescription:
        """Describe the image worked on."""
        canvas = self.current
        if canvas is None:
            return ImageDescription()
        shape, rgb = canvas.shape, bool(canvas.image.rgb)
        return ImageDescription(
            shape, canvas.axes, rgb, choices(len(shape), rgb=rgb), canvas.spatial_ndim, self.guess.sure
        )

    # ------------------------------------------------------------------- choosing

    def choose(self, layer: "Image") -> None:
        """Work on an image layer; it joins the project, or begins one."""
        if self.aside.doing:
            return
        canvas = self._canvas_of(layer)
        if canvas is not None:
            canvas.bring_back()
            self._work_on(canvas)
            return
        self._open_left(layer)
        shape = tuple(int(n) for n in pixels_of(layer).shape)
        guess = guess_axes(shape, rgb=layer.rgb, labels=tuple(layer.axis_labels))
        self.begin(layer, guess)

    def _open_left(self, layer: "Image") -> None:
        """Open the project in which a panel that was closed since has left the marks of a layer."""
        noted = layer.metadata.get(KEY, {})
        if LEFT not in noted:
            return
        path, project = Path(noted[LEFT]), self.desk.project
        if project is not None and path.resolve() != project.path.resolve() and not self.may_leave:
            raise ProjectError(
                f"The marks of “{layer.name}” are in another project, and something is being learned, saved or read.",
                "Wait for it, or press Stop, then choose the image.",
            )
        if path.exists():
            self.open_project(path, show_first=False)
        del noted[LEFT]
        if not path.exists():
            raise ProjectError(
                f"The project “{path}” with the marks of “{layer.name}” is gone.",
                "Open it where it is now, or choose the image once more to begin anew.",
            )

    def begin(self, layer: "Image", guess: Guess, *, ndim: int | None = None, fresh: bool = False) -> None:
        """Take a layer into the project; into a new one where nobody has named or used the open one."""
        project, canvas = self.desk.project, self._canvas_of(layer)
        if canvas is not None and not fresh and not self.has_marks():
            if not self.desk.unnamed:
                self._begin_again(canvas, guess, ndim)
                return
            if list(self.desk.open_project.images) == [canvas.name]:
                self._wanted_ndim = ndim or self._wanted_ndim
                self._begin_again(canvas, guess, self._wanted_ndim)
                return
        if project is None or fresh or (self.desk.unnamed and not used(project)):
            self._wanted_ndim = ndim or self._wanted_ndim
            ndim = self._wanted_ndim if "Z" in guess.axes else 2
            classes = tuple(project.classes) if project is not None else DEFAULT_CLASSES
            config = project.config if project is not None else None
            self.close_project()
            self.desk.new(layer.name, ndim=ndim, classes=classes, config=config)
            self.project_changed.emit()
        self.guess = guess
        shown = frozenset(name for name, canvas in self.canvases.items() if canvas.image in self.viewer.layers)
        if _bytes_of(pixels_of(layer)) < _BIG_BYTES:
            self._show(layer, *self._take_in(layer, guess.axes, shown))
            return

        def show(found: tuple[str, str]) -> None:
            if self.desk.project is not None and layer in self.viewer.layers:
                self._show(layer, *found)

        taking = partial(self._take_in, layer, guess.axes, shown)
        self.aside.do(f"Taking “{layer.name}” into the project …", taking, show)

    def _begin_again(self, canvas: ImageCanvas, guess: Guess, ndim: int | None) -> None:
        """Take an image of the project with other axes, or as a volume."""
        layer, before = canvas.image, canvas.axes
        ndim = (ndim or self.desk.open_project.ndim) if "Z" in guess.axes else 2
        self._close_canvases(remove=True)
        self.project_closing.emit()
        try:
            self.desk.retake(canvas.name, layer, guess.axes, before=before, ndim=ndim)
        except WeaksegError:
            self.project_changed.emit()
            self.begin(layer, Guess(before, True))  # as it was
            raise
        self.project_changed.emit()
        self.guess = guess
        self._show(layer, guess.axes, canvas.name)

    def _take_in(self, layer: "Image", axes: str, shown: Collection[str]) -> tuple[str, str]:
        """Find or add an image and look through its values once; for a large one not in the window's thread.

        Returns the layer's axes and the image's name.
        """
        stored = self.desk.stored(layer, shown)
        name, axes = stored or (self.desk.add(layer, axes), axes)
        with suppress(WeaksegError):  # told when it is shown
            _ = self.desk.open_project.images[name].source.notes
        return axes, name

    def open_image(self, name: str) -> None:
        """Show an image of the project that is not in the viewer yet, and work on it."""
        canvas = self.canvases.get(name)
        if canvas is not None:
            canvas.bring_back()
            self._work_on(canvas)
            return
        image = self.desk.open_project.images[name]
        pixels = SourcePixels(image)
        sizes = image.source.pixel_size or {}
        own = pixels.axes[:-1] if pixels.rgb else pixels.axes
        self.guess = Guess(pixels.axes, True)
        settings: dict[str, Any] = {}
        if sizes:
            settings["scale"] = [sizes[axis][0] if axis in sizes and sizes[axis][0] > 0 else 1.0 for axis in own]
            settings["units"] = [_unit(sizes[axis][1]) if axis in sizes else "pixel" for axis in own]
        small = _bytes_of(pixels) < _IN_MEMORY_BYTES
        layer: Any = self.viewer.add_image(
            np.asarray(pixels) if small else pixels,
            name=name,
            rgb=pixels.rgb,
            axis_labels=tuple(own.lower()),
            metadata={KEY: {"image": name}},
            **settings,
        )
        self._show(layer, pixels.axes, name)

    def open_project(self, path: Path, *, show_first: bool = True) -> "Project":
        """Put this project away, open another and show its first image."""
        old = self.desk.project
        if old is not None and path.resolve() == old.path.resolve():
            return old
        self.strokes.flush_all()
        try:
            project = self.desk.open(path)
        finally:
            if self.desk.project is not old:  # another is open, or none, since the old one could not be put away
                self._close_canvases(remove=True)
                self.project_changed.emit()
        if not show_first:
            return project
        name = next((n for n, image in project.images.items() if not image.missing and marked(image)), None)
        name = name or next((n for n, image in project.images.items() if not image.missing), None)
        if name is not None:
            self.open_image(name)
        return project

    def save_as(self, path: Path) -> None:
        """Copy the project and go on with the copy; the layers stay as they are.

        A large one is copied while the person goes on marking; what was marked meanwhile follows at the end.
        """
        self.strokes.flush_all()
        target = self.desk.new_folder(path)
        if bytes_in(self.desk.open_project.path) < _BIG_BYTES:
            self._go_on_in(target)
            return
        copying = partial(self.desk.copy, target, wanted=self.aside.wanted)
        self.aside.do(f"Copying the project to “{target.name}” …", copying, lambda _: self._go_on_in(target))

    def _go_on_in(self, target: Path) -> None:
        self.strokes.flush_all()
        old = self.desk.open_project.path.resolve()
        project = self.desk.go_on_in(target)
        self.strokes.images = dict(project.images)
        for layer in self._image_layers():
            noted = layer.metadata.get(KEY, {})
            if LEFT in noted and Path(noted[LEFT]).resolve() == old:
                noted[LEFT] = str(project.path)
        for pixels in self._read_from(old):
            pixels.move(project.path / pixels.path.relative_to(old))
        self.desk.tidy()
        self.project_changed.emit()

    def _read_from(self, folder: Path) -> list[SourcePixels]:
        """Pixels of image layers that are read from a folder when they are looked at."""
        images = [canvas.image for canvas in self.canvases.values()]
        found = [pixels_of(layer) for layer in {*self._image_layers(), *images}]
        return [
            pixels
            for pixels in found
            if isinstance(pixels, SourcePixels) and pixels.path.is_relative_to(folder.resolve())
        ]

    def merge(self, other: Path, path: Path) -> None:
        """Make a new project of this one and another, and go on with it; nothing can be painted meanwhile."""
        self.strokes.flush_all()
        target = self.desk.new_folder(path)
        joining = partial(self.desk.merge, other, target, wanted=self.aside.wanted)
        text = f"Joining the projects in “{target.name}” …"
        self.aside.do(text, joining, self._go_on_with, exclusive=True)

    def _go_on_with(self, made: tuple[Path, list[str]]) -> None:
        path, notes = made
        self.open_project(path)
        if notes:
            messages.info(" ".join(notes))

    def set_classes(self, table: ClassTable) -> None:
        """Change the class table everywhere."""
        self.desk.open_project.set_classes(table)
        for canvas in self.canvases.values():
            canvas.set_colors(table.colors)

    def _show(self, layer: "Image", axes: str, name: str) -> None:
        project, old = self.desk.open_project, self.canvases.pop(name, None)
        if old is not None:  # its image was taken out of the viewer
            self.current = None if self.current is old else self.current
            self._close_canvas(old, remove=True)
        image = self.strokes.images[name] = project.images[name]
        canvas = ImageCanvas(
            self.viewer,
            layer,
            axes=axes,
            name=name,
            spatial_ndim=project.ndim,
            colors=project.classes.colors,
            known=annotation_of(image),
            painted=image.annotations.painted_region(),
            boxes=image.annotations.boxes,
            write=self.strokes.writer(name),
            on_touched=self.strokes.touched,
            on_removed=self.layer_removed.emit,
        )
        self.canvases[name] = canvas
        self._read_copy(layer, axes, image)
        self._work_on(canvas)

    def _read_copy(self, layer: "Image", axes: str, image: "ProjectImage") -> None:
        """Read a large image from its copy in the project, and no longer from the project that it came from."""
        pixels, home = pixels_of(layer), self.desk.open_project.path.resolve()
        own = image.path.resolve().is_relative_to(home) and image.axes.replace("S", "C") == axes
        if isinstance(pixels, SourcePixels) and own and not pixels.path.is_relative_to(home):
            pixels.move(image.path, copied=True)
            self.desk.tidy()

    def _work_on(self, canvas: ImageCanvas) -> None:
        before, self.current = self.current, canvas
        if before is not None and before is not canvas:
            before.set_visible(False)
        canvas.set_visible(True)
        canvas.select()
        self.current_changed.emit()

    # --------------------------------------------------------------------- closing

    def close_project(self) -> None:
        """Put the project away with its label layers."""
        self._close_canvases(remove=True)
        self.desk.close()

    def close(self, *, remove: bool = False) -> None:
        """Hand everything on and let go of viewer and disk.

        `remove` takes the label layers out of the viewer, where nobody would follow them any more, and notes on each
        image which project it belongs to.
        """
        self.aside.close()
        project, current, canvases = self.desk.project, self.current, list(self.canvases.values())
        if not remove:  # the window closes as well
            self.desk.is_shown = _nothing_is_shown
        self._close_canvases(remove=remove)
        self.desk.close()
        self.desk.is_shown = _nothing_is_shown
        self.strokes.close()
        if remove and project is not None and project.path.exists():
            for canvas in canvases:
                canvas.image.metadata[KEY] = {"image": canvas.name, LEFT: str(project.path)}
            if current is not None and current.image in self.viewer.layers:
                self.viewer.layers.selection.active = current.image

    def put_away(self, canvas: ImageCanvas) -> None:
        """Take the label layers of an image out of the viewer; it stays in the project."""
        del self.canvases[canvas.name]
        self.current = None if self.current is canvas else self.current
        self._close_canvas(canvas, remove=True)
        self.current_changed.emit()

    def _close_canvases(self, *, remove: bool) -> None:
        canvases, self.current = list(self.canvases.values()), None
        self.canvases.clear()
        for canvas in canvases:
            self._close_canvas(canvas, remove=remove)
        if canvases:
            self.current_changed.emit()

    def _close_canvas(self, canvas: ImageCanvas, *, remove: bool) -> None:
        if canvas.drafts:
            self.drafts_left.emit(canvas.name, len(canvas.drafts))
        self._guard(lambda: canvas.close(remove=remove))
        if remove and canvas.bridge.stray:
            self._leave(canvas)

    def _leave(self, canvas: ImageCanvas) -> None:
        """Leave a painted layer to the person, since not all of it could be saved."""
        layer: Any = canvas.annotation
        layer.metadata.pop(KEY, None)
        layer.name = f"not all saved · {canvas.name}"
        if layer not in self.viewer.layers:
            self.viewer.add_layer(layer)
        self.strays_left.emit(layer.name)


def _unit(name: str) -> str:
    """Name of a unit, or "pixel" where napari does not know it."""
    import pint

    try:
        pint.Unit(name)
    except Exception:  # its parser raises all sorts of things
        return "pixel"
    return name


def _bytes_of(pixels: Any) -> int:
    return int(math.prod(pixels.shape)) * int(np.dtype(pixels.dtype).itemsize)


def _nothing_is_shown(folder: Path) -> bool:
    return False
