"""Colours and sizes that follow the viewer's theme."""

from typing import TYPE_CHECKING

from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap

if TYPE_CHECKING:
    from napari.components import ViewerModel


def theme_colors(viewer: "ViewerModel") -> dict[str, str]:
    """Colours of the viewer's theme as ``#rrggbb``: background, foreground, text, current and more."""
    from napari.utils.theme import get_theme

    rgb = get_theme(viewer.theme).to_rgb_dict()
    colors = {name: str(value) for name, value in rgb.items() if str(value).startswith("rgb")}
    return {name: QColor(*_numbers(value)).name() for name, value in colors.items()}


def swatch(color: str, size: int = 14) -> QIcon:
    """Small filled square."""
    pixmap = QPixmap(size, size)
    pixmap.fill(QColor(color))
    painter = QPainter(pixmap)
    painter.setPen(QColor(128, 128, 128))
    painter.drawRect(0, 0, size - 1, size - 1)
    painter.end()
    return QIcon(pixmap)


def _numbers(value: object) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in str(value).partition("(")[2].rstrip(")").split(",")[:3])
    return red, green, blue
