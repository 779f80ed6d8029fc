"""One image of the project in the viewer: its label layers, the bridge to the disk, incoming tiles."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_weakseg.core.annotations import Box
from napari_weakseg.core.errors import AnnotationError
from napari_weakseg.core.regions import Region
from napari_weakseg.widgets import accept
from napari_weakseg.widgets.box_layer import BoxLayer
from napari_weakseg.widgets.bridge import LayerBridge, Write
from napari_weakseg.widgets.overlay import (
    Role,
    block_index,
    frame_index,
    make_layer,
    match,
    outline,
    paint_colors,
    pixels_of,
    placement,
)
from napari_weakseg.widgets.pace import Pace

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

_FOLLOWED = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class ImageCanvas:
    """Shows one image's annotation, grown regions and prediction, and keeps them in step with it.

    Parameters
    ----------
    viewer : ViewerModel
    image : Image
        The layer that is annotated.
    axes : str
        Letters of TZCYX for the layer's data.
    name : str
        The image's name in the project.
    spatial_ndim : int
        2 or 3: how many axes the network sees.
    colors : sequence of str
        One for each class.
    known : uint8 (*label_shape)
        The annotation as the project holds it.
    painted : sequence of Region
        Where that is not 0.
    boxes : sequence of Box
        As the project holds them.
    write : callable
        Stores a changed block in the project.
    on_touched, on_removed : callable
        A layer may have been painted on; one of the layers was taken out of the viewer.

    Attributes
    ----------
    picture : array
        The data of the image layer when it was chosen.
    shape : tuple of int
        Its shape.
    """

    def __init__(
        self,
        viewer: "ViewerModel",
        image: "Image",
        *,
        axes: str,
        name: str,
        spatial_ndim: int,
        colors: Sequence[str],
        known: NDArray[np.uint8],
        painted: Sequence[Region],
        boxes: Sequence[Box],
        write: Write,
        on_touched: Callable[[], None],
        on_removed: Callable[[str], None],
    ) -> None:
        self.viewer, self.image, self.axes, self.name = viewer, image, axes, name
        self.spatial_ndim = spatial_ndim
        self._colors = tuple(colors)
        self._on_touched, self._on_removed = on_touched, on_removed
        self._closed = False
        self.picture, self.shape = image.data, tuple(int(n) for n in pixels_of(image).shape)
        self.place = placement(image, axes)
        self.layers: dict[Role, Labels] = {}
        self.boxes: BoxLayer | None = None  # made when there is a box, or one is to be drawn
        self.objects: Labels | None = None  # made when objects are found; forgotten when the person deletes it
        self._order: tuple[int, ...] | None = None  # of the axes of the viewer, where it was changed for the image
        self._stale: set[Role] = set()
        self._has_result = False
        self._pace = Pace()
        data = {role: np.zeros(self.place.shape, np.uint8) for role in Role}
        for region in painted:
            self.place.labels(data[Role.ANNOTATION])[region] = known[region]
        for role in (Role.PREDICTION, Role.GROWN, Role.ANNOTATION):
            self._make(role, data[role])
        if boxes:
            self._make_boxes(boxes)
        self.bridge = LayerBridge(
            self.annotation,
            self.place,
            write,
            known=known,
            painted=painted,
            n_classes=len(colors),
            on_touched=on_touched,
        )
        for event in _FOLLOWED:
            getattr(image.events, event).connect(self._follow)
        viewer.layers.events.removed.connect(self._on_layer_removed)
        viewer.dims.events.ndisplay.connect(self._on_ndisplay)
        viewer.dims.events.current_step.connect(self._on_step)
        self.select()

    def _make(self, role: Role, data: NDArray[np.uint8]) -> None:
        layer = make_layer(role, data, self.place, image=self.name, name=self.free_name(role))
        paint_colors(layer, self._colors, role)
        self.layers[role] = layer
        self.viewer.add_layer(layer)

    def _make_boxes(self, boxes: Sequence[Box]) -> BoxLayer:
        self.boxes = BoxLayer(
            self.free_name("boxes"),
            self.name,
            self.place,
            boxes,
            spatial_ndim=self.spatial_ndim,
            colors=self._colors,
            on_touched=self._on_touched,
        )
        self.viewer.add_layer(self.boxes.layer)
        self._on_step()
        return self.boxes

    def free_name(self, name: str) -> str:
        """Name of a layer for the image, with the image's own where another has it."""
        taken = {layer.name for layer in self.viewer.layers}
        return str(name) if name not in taken else f"{name} · {self.name}"

    @property
    def own_layers(self) -> "list[Layer]":
        """The layers that were made for the image."""
        boxes = self.boxes.layer if self.boxes is not None else None
        return [*self.layers.values(), *(layer for layer in (boxes, self.objects) if layer is not None)]

    @property
    def annotation(self) -> "Labels":
        """The layer a person paints on."""
        return self.layers[Role.ANNOTATION]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Painted pixels and boxes of each class id together, as handed on; int64 (256,)."""
        return self.bridge.counts if self.boxes is None else self.bridge.counts + self.boxes.counts

    # ------------------------------------------------------------ what is shown

    @property
    def frame(self) -> tuple[int, ...]:
        """Frame on screen."""
        return frame_index(self._position(self.viewer.dims.point), self.axes, self.spatial_ndim)

    @property
    def shown(self) -> Region:
        """Part of the label axes on screen: one position of each slider, the visible part of the plane."""
        layer = self.annotation
        displayed = set(self._displayed())
        position = self._data_position(self.viewer.dims.point)
        region = []
        for axis, size in enumerate(self.place.shape):
            first, last = (int(corner) for corner in layer.corner_pixels[:, axis])
            if axis not in displayed:
                first = last = int(np.clip(position[axis], 0, size - 1))
            elif last <= first:  # not drawn yet
                first, last = 0, size - 1
            region.append(slice(max(0, first), min(size, last + 1)))
        return self.place.without_channel(region)

    def _displayed(self) -> tuple[int, ...]:
        """Axes of the layers that are drawn rather than stepped through with a slider."""
        offset = self.viewer.dims.ndim - len(self.place.shape)
        return tuple(axis - offset for axis in self.viewer.dims.displayed if axis >= offset)

    def _data_position(self, point: Sequence[float]) -> tuple[int, ...]:
        """Pixel of the label layers under a point of the world, not clipped."""
        world = np.asarray(point, float)[-len(self.place.shape) :]
        return tuple(int(i) for i in np.round(self.annotation.world_to_data(world)))

    def _position(self, point: Sequence[float]) -> tuple[int, ...]:
        """Position along the label axes, clipped to the image."""
        inside = self.place.without_channel(self._data_position(point))
        return tuple(int(np.clip(i, 0, n - 1)) for i, n in zip(inside, self.place.label_shape, strict=True))

    # ---------------------------------------------------------------- tiles in

    def show_block(self, role: Role, frame: tuple[int, ...], start: Sequence[int], labels: NDArray[np.uint8]) -> None:
        """Put a tile in its place; visible after :meth:`refresh`. The layer's data object stays the same."""
        target = self.place.labels(np.asarray(self.layers[role].data))
        target[block_index(frame, start, labels.shape)] = labels
        self._has_result = self._has_result or bool((labels > accept.BACKGROUND).any())
        if frame == self.frame or self.viewer.dims.ndisplay == 3:
            self._stale.add(role)

    def refresh(self) -> bool:
        """Draw what :meth:`show_block` brought, if it is time to; returns whether anything was drawn."""
        due = self._pace.due()  # asked each time: a late question tells that the window was busy drawing
        if not self._stale or not due:
            return False
        stale, self._stale = self._stale, set()
        for role in stale:
            if self.layers[role] in self.viewer.layers:
                self.layers[role].refresh(extent=False, highlight=False)
        self._pace.drawn()
        return True

    def results(self) -> "list[Labels]":
        """Layers that show what the machine found."""
        return [self.layers[Role.PREDICTION], self.layers[Role.GROWN]]

    def has_result(self) -> bool:
        """Tell whether the machine has shown any object that could be accepted."""
        return self._has_result

    # ------------------------------------------------------------------ accept

    def accept_object(self, point: Sequence[float]) -> int:
        """Take over the grown, otherwise the predicted object at a point of the world.

        Returns
        -------
        int
            Number of pixels taken over; 0 if there is no object, or all of it is painted already.

        Raises
        ------
        AnnotationError
            In three dimensions, and in a view across the planes that are predicted one by one.
        """
        self._check_view()
        position = self.place.without_channel(self._data_position(point))
        local = position[len(self.place.label_shape) - self.spatial_ndim :]
        for role in (Role.GROWN, Role.PREDICTION):
            shown = self._frame_of(role)
            found = accept.object_at(shown, local)
            if found is not None:
                region, wanted = found
                return self._take_over(wanted, int(shown[tuple(local)]), region)
        return 0

    def accept_class(self, class_id: int) -> int:
        """Take over all that is predicted of one class in the frame shown; returns the number of pixels."""
        return self._take_over(accept.everything(self._frame_of(Role.PREDICTION), class_id), class_id)

    def accept_grown(self) -> int:
        """Take over everything that has grown in the frame on screen; returns the number of pixels."""
        grown = self._frame_of(Role.GROWN)
        return self._take_over(accept.everything(grown), grown)

    def _frame_of(self, role: Role) -> NDArray[np.uint8]:
        labels: NDArray[np.uint8] = self.place.labels(np.asarray(self.layers[role].data))[self.frame]
        return labels

    def _take_over(self, wanted: NDArray[np.bool_], value: int | NDArray[np.uint8], region: Region = ()) -> int:
        """Paint what is wanted of the frame on screen, or of a region of it; returns the number of pixels."""
        self._check_editable()
        frame = self.frame
        found = accept.unpainted(wanted, self._frame_of(Role.ANNOTATION)[region])
        count = int(found[0].size)
        if count:
            values = value if isinstance(value, int) else value[found]
            found = tuple(places + part.start for places, part in zip(found, region, strict=True)) if region else found
            steps = [np.full(count, i, np.intp) for i in frame]
            self.annotation.data_setitem(self.place.indices([*steps, *found]), values)
        return count

    # ------------------------------------------------------------------- upkeep

    def set_colors(self, colors: Sequence[str]) -> None:
        """Follow the class table."""
        if len(colors) != self.bridge.n_classes:
            self.bridge.n_classes = len(colors)
            self.bridge.touch()
        if tuple(colors) != self._colors:
            self._colors = tuple(colors)
            for role, layer in self.layers.items():
                paint_colors(layer, colors, role)
            if self.boxes is not None:
                self.boxes.set_colors(colors)

    def select(self) -> None:
        """Make the annotation the layer that is painted on."""
        if self.boxes is not None:
            self.boxes.rest()
        if self.annotation in self.viewer.layers:
            self.viewer.layers.selection.active = self.annotation
            self.annotation.mode = "paint"

    def pick_class(self, class_id: int) -> None:
        """Paint with a class from now on, or draw boxes of it where boxes are drawn; the background has none."""
        if self.boxes is not None and class_id != accept.BACKGROUND:
            self.boxes.pick_class(class_id)
        if not self.drawing_boxes or class_id == accept.BACKGROUND:
            self.select()
        self.annotation.selected_label = class_id

    def change_selected_boxes(self, class_id: int) -> None:
        """Give the boxes that are selected another class, if boxes are worked on."""
        if self.boxes is not None and self.drawing_boxes and class_id != accept.BACKGROUND:
            self.boxes.change_selected(class_id)

    @property
    def drawing_boxes(self) -> bool:
        """Whether the layer of boxes is the one that is worked on."""
        return self.boxes is not None and bool(self.viewer.layers.selection.active == self.boxes.layer)

    def draw_boxes(self) -> None:
        """Make the boxes what is drawn.

        Raises
        ------
        AnnotationError
            In three dimensions, where napari draws none, and across the planes that boxes of a volume reach through.
        """
        self._check_planes()
        self._check_editable()
        boxes = self.boxes or self._make_boxes(())
        if boxes.layer not in self.viewer.layers:
            self.viewer.add_layer(boxes.layer)
        self.viewer.layers.selection.active = boxes.layer
        boxes.draw(int(np.clip(self.annotation.selected_label, accept.BACKGROUND + 1, len(self._colors))))

    def end_box(self) -> None:
        """Let the box that is being drawn in a volume, or boxes that are selected, end at the plane on screen.

        Raises
        ------
        AnnotationError
            If there is none, or no plane is on screen.
        """
        self._check_planes()
        if self.boxes is None or not self.boxes.end_here(self.frame, self._plane):
            raise AnnotationError(
                "There is no box that could end here.", "Draw a rectangle round the object where it is widest, first."
            )

    def turn_boxes(self, *, back: bool) -> bool:
        """Take the last change of the boxes back, or do it again; returns whether there was one."""
        if self.boxes is None or not (self.boxes.undo() if back else self.boxes.redo()):
            return False
        self._on_step()
        return True

    @property
    def drafts(self) -> tuple[int, ...]:
        """How many ends are still to be said of each rectangle in a volume that is no box yet."""
        return self.boxes.drafts if self.boxes is not None else ()

    def _check_editable(self) -> None:
        if not self.annotation.editable:
            raise AnnotationError("Nothing can be painted or drawn here now.", "The panel says why.")

    def _check_view(self) -> None:
        """Make sure that a plane of one frame is on screen, in which an object can be pointed at."""
        across = [axis in self._displayed() for axis in range(len(self.place.shape))]
        if self.viewer.dims.ndisplay == 3 or any(self.place.without_channel(across)[: -self.spatial_ndim]):
            raise AnnotationError(
                "It cannot be told which object is meant in this view.",
                "Look at a plane as it was learned from: two dimensions, axes not rolled.",
            )

    def _check_planes(self) -> None:
        """Boxes are drawn in planes, and those of a volume in the planes that the first spatial axis steps through."""
        if self.viewer.dims.ndisplay == 3:
            raise AnnotationError("Boxes are drawn in two dimensions.", "Switch the 3-D view off, then draw.")
        across = [axis in self._displayed() for axis in range(len(self.place.shape))]
        if self.spatial_ndim == 3 and self.place.without_channel(across)[-3]:
            raise AnnotationError(
                "Boxes of a volume are drawn in its XY planes.",
                "Roll the view until a slider steps through Z, then draw.",
            )

    @property
    def _plane(self) -> int:
        """Position along the first spatial axis."""
        return self._position(self.viewer.dims.point)[-self.spatial_ndim]

    def _on_step(self, event: object = None) -> None:
        if self.boxes is not None:
            self.boxes.follow(self._plane)

    def set_visible(self, visible: bool) -> None:
        """Show or hide the image with all its layers."""
        for layer in (self.image, *self.own_layers):
            layer.visible = visible
        if visible:
            self._bring_rows_and_columns()
        else:
            self._put_order_back()

    def _bring_rows_and_columns(self) -> None:
        """Show these where the channels are last, rather than columns and channels."""
        if not self.axes.endswith("C") or self.image.rgb:
            return
        dims = self.viewer.dims
        last = dims.ndim - 1
        self._order = self._order or dims.order
        dims.order = (*range(last - 2), last, last - 2, last - 1)

    def _put_order_back(self) -> None:
        """Show the axes as they were before; the viewer may have more, or fewer, by now."""
        order, self._order = self._order, None
        if order is not None:
            more = self.viewer.dims.ndim - len(order)
            self.viewer.dims.order = (
                (*range(more), *(more + i for i in order)) if more >= 0 else range(len(order) + more)
            )

    def set_editable(self, editable: bool) -> None:
        """Allow or forbid to paint and to draw boxes by hand."""
        self.annotation.editable = editable
        if self.boxes is not None:
            self.boxes.layer.editable = editable
        if editable and self.viewer.layers.selection.active == self.annotation:
            self.select()

    def missing(self) -> list[Any]:
        """Layers that were taken out of the viewer, the image first."""
        return [layer for layer in (self.image, *self.own_layers) if layer not in self.viewer.layers]

    def bring_back(self) -> None:
        """Put layers that were taken out of the viewer back into it, as they were."""
        layers = self.viewer.layers
        for layer in self.missing():
            own = [layers.index(one) for one in self.own_layers if one in layers]
            layers.insert(min(own) if own and layer == self.image else len(layers), layer)
        if self.image.visible:
            self._bring_rows_and_columns()
        self.select()

    def go_to(self, pixel: Sequence[int]) -> None:
        """Bring a pixel of the label axes to the middle of the screen."""
        values: list[float] = [float(i) for i in pixel]
        if self.place.channel_axis is not None:
            values.insert(self.place.channel_axis, 0.0)
        world = np.asarray(self.annotation.data_to_world(values), float)
        displayed = self._displayed()
        offset = self.viewer.dims.ndim - len(self.place.shape)
        for axis, value in enumerate(world):
            if axis not in displayed and axis != self.place.channel_axis:  # the channel stays
                self.viewer.dims.set_point(axis + offset, value)
        scene = getattr(self.viewer, "scene", self.viewer)  # napari < 0.9 has the camera on the viewer itself
        scene.camera.center = tuple(float(world[axis]) for axis in displayed)

    @property
    def in_shape(self) -> bool:
        """Whether the layer's data still has the shape that it had when it was chosen."""
        return bool(self.shape == tuple(pixels_of(self.image).shape))

    def _follow(self, event: object = None) -> None:
        if not self.in_shape:
            return
        self.place = placement(self.image, self.axes)
        for layer in self.own_layers:
            match(layer, self.place)

    def _on_ndisplay(self, event: object = None) -> None:
        """Fill grown regions in a volume, of which napari draws no outlines."""
        outline(self.layers[Role.GROWN], Role.GROWN, self.place, flat=self.viewer.dims.ndisplay == 2)

    def _on_layer_removed(self, event: Any) -> None:
        if event.value == self.image:
            self._put_order_back()
        if event.value == self.objects:
            self.objects = None
        elif not self._closed and event.value in (self.image, *self.own_layers):
            self._on_removed(event.value.name)

    def close(self, *, remove: bool = False) -> None:
        """Hand the last strokes on and let go of the viewer; `remove` takes the label layers out of it."""
        if self._closed:
            return
        self._closed = True
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self.viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)
        self.viewer.dims.events.current_step.disconnect(self._on_step)
        for event in _FOLLOWED:
            getattr(self.image.events, event).disconnect(self._follow)
        self._put_order_back()
        self.bridge.close()
        if self.boxes is not None:
            self.boxes.close()
        if remove:
            for layer in self.own_layers:
                with suppress(ValueError):
                    self.viewer.layers.remove(layer)


def spatial_region(region: Region, spatial_ndim: int) -> Region:
    """Part of a region along the axes the network sees."""
    return region[len(region) - spatial_ndim :]
