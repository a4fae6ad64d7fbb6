"""The dim room behind a rendered hand, which differs from person to person."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from gesture.synthetic.render import HEIGHT, WIDTH, Floats


def clutter(rng: np.random.Generator) -> Floats:
    """[HEIGHT, WIDTH] a dim room in gray levels: ceiling panels, a person, a lamp's glow, bright specks."""
    scale = 6  # drawn brighter than it is, since the drawing has whole levels only
    image = Image.new("L", (WIDTH, HEIGHT), int(scale * rng.uniform(1, 4)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(2, 6)):
        _draw_panel(draw, rng, scale)
    if rng.random() < 0.6:
        _draw_person(draw, rng, scale)
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.5, 4))))
    _draw_specks(ImageDraw.Draw(image), rng, scale)
    image = image.filter(ImageFilter.GaussianBlur(0.7))
    return np.asarray(np.asarray(image, np.float32) / scale + _glow(rng), np.float32)


def _draw_panel(draw: ImageDraw.ImageDraw, rng: np.random.Generator, scale: int) -> None:
    corner = rng.uniform([0, 0], [WIDTH, HEIGHT])
    one, other = rng.normal(0, [160, 50], (2, 2))
    corners = [corner, corner + one, corner + one + other, corner + other]
    draw.polygon([(float(x), float(y)) for x, y in corners], fill=int(scale * rng.uniform(0, 6)))


def _draw_person(draw: ImageDraw.ImageDraw, rng: np.random.Generator, scale: int) -> None:
    x, top = rng.uniform(220, 480), rng.uniform(175, 225)
    brightness = scale * rng.uniform(5, 25)
    draw.ellipse([x - 110, top, x + 110, top + 160], fill=int(0.7 * brightness))
    draw.ellipse([x - 18, top - 22, x + 18, top + 12], fill=int(brightness))
    for _ in range(4):
        fold = rng.uniform([x - 90, top + 10], [x + 90, HEIGHT])
        draw.line([*fold, *(fold + rng.normal(0, [30, 15]))], fill=int(0.3 * brightness), width=3)


def _draw_specks(draw: ImageDraw.ImageDraw, rng: np.random.Generator, scale: int) -> None:
    for _ in range(rng.integers(2, 9)):
        x, y = rng.uniform([40, 20], [WIDTH - 40, HEIGHT - 20])
        draw.line([x, y, x + rng.normal(0, 5), y + rng.normal(0, 3)], fill=int(scale * rng.uniform(8, 40)))


def _glow(rng: np.random.Generator) -> Floats:
    """Light that leaks in at the left or right border, brighter for some rooms than others."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    border = 0 if rng.random() < 0.5 else WIDTH
    height, width, row = rng.uniform(20, 60), rng.uniform(40, 90), rng.uniform(60, 180)
    strength = rng.uniform(10, 45) if rng.random() < 0.5 else rng.uniform(0, 5)
    glow = strength * np.exp(-(((columns - border) / width) ** 2) - ((rows - row) / height) ** 2)
    return np.asarray(glow, np.float32)
