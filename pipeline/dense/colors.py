"""Colors of classes, by which masks and boxes are drawn."""

import colorsys

Color = tuple[int, ...]  # red, green, blue and perhaps opacity, in 0..255


def class_colors(k: int) -> list[Color]:
    """k colors that differ: hues by the golden ratio, in three degrees of brightness."""
    return [
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(0.61803 * i % 1, 0.75, (0.95, 0.7, 0.5)[i % 3]))
        for i in range(k)
    ]
