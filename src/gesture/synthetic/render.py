"""What a near-infrared camera under a hand sees: rounded cones in, a gray image out.

The camera is modelled on the Leap Motion's: 640 x 240 pixels twice as high as wide, a fisheye lens whose angle grows
evenly with the distance from the image's centre, and its lamps beside the lens. Images are [height, width] and
brightness is relative: 1 saturates the sensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gesture.synthetic.hand import Cones

Floats = NDArray[np.float32]

HEIGHT, WIDTH = 240, 640
PIXELS_PER_RADIAN = np.array([270.0, 135.0])
"""Across and down; a pixel is twice as high as wide."""
CENTRE = np.array([319.5, 119.5])
LAMP_RANGE_MM = 200.0
"""The distance at which skin facing the camera has brightness `Scene.gain`."""
WHITE_LEVEL = 247.0
BLACK_LEVEL = 4.0


@dataclass(frozen=True)
class Scene:
    """Everything in the picture that is not the hand."""

    background: Floats
    """[HEIGHT, WIDTH] gray levels."""
    gain: float
    """Brightness of skin that faces the camera at `LAMP_RANGE_MM`."""
    beam: float
    """Exponent of the lamps' cosine: how fast light falls towards the image's border."""
    ghost: float
    """Brightness of the hand's reflection relative to the hand; 0 for none."""
    ghost_column: int
    """Left edge of the reflection, in pixels; may lie outside the image."""
    noise: float
    """Standard deviation of the sensor's noise, in gray levels."""


@dataclass(frozen=True)
class Surface:
    """The nearest surface in each pixel of a window of the image."""

    window: tuple[slice, slice]
    depth: Floats
    """Distance along the pixel's ray in mm; infinite where there is nothing."""
    owner: NDArray[np.int16]
    """Index of the cone seen."""
    is_inside: NDArray[np.bool_]
    """Whether the inner side of a tube is seen."""


def render(cones: Cones, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """[HEIGHT, WIDTH] image of `cones` in front of the scene's background; `rng` supplies the noise."""
    light = np.zeros((HEIGHT, WIDTH), np.float32)
    surface = trace(cones)
    light[surface.window] = shade(surface, cones, scene)
    return expose(light, scene, rng)


@lru_cache(maxsize=1)
def pixel_rays() -> Floats:
    """[3, HEIGHT, WIDTH] unit vectors from the camera through the pixels' centres."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    across = (columns - CENTRE[0]) / PIXELS_PER_RADIAN[0]
    down = (rows - CENTRE[1]) / PIXELS_PER_RADIAN[1]
    angle = np.hypot(across, down)
    sine = np.sin(angle) / np.maximum(angle, 1e-9)
    return np.stack([across * sine, down * sine, np.cos(angle)]).astype(np.float32)


def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, 2] column and row of [n, 3] points."""
    radius = np.hypot(points[:, 0], points[:, 1])
    angle = np.arctan2(radius, points[:, 2])
    return np.asarray(CENTRE + PIXELS_PER_RADIAN * points[:, :2] * (angle / np.maximum(radius, 1e-9))[:, None])


def _boxes(cones: Cones) -> NDArray[np.int64]:
    """[n, 4] first and last column and row of windows that hold the cones, cut to the image."""
    lows, highs = [], []
    for centres, radii in ((cones.start, cones.start_radius), (cones.end, cones.end_radius)):
        distance = np.linalg.norm(centres, axis=1)
        # Away from the axis a fisheye stretches spheres sideways, by less than a quarter within this image.
        reach = 1.25 * np.arcsin(np.clip(radii / distance, 0, 1))[:, None] * PIXELS_PER_RADIAN
        lows.append(project(centres) - reach)
        highs.append(project(centres) + reach)
    low, high = np.minimum(*lows), np.maximum(*highs) + 1
    return np.asarray(np.clip(np.concatenate([low, high], axis=1), 0, [WIDTH, HEIGHT] * 2), np.int64)


def trace(cones: Cones) -> Surface:
    """Find the nearest surface in each pixel."""
    boxes = _boxes(cones)
    boxes[(boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])] = 0
    seen = boxes[boxes[:, 2] > 0]
    left, top = seen[:, :2].min(axis=0) if len(seen) else (0, 0)
    right, bottom = seen[:, 2:].max(axis=0) if len(seen) else (1, 1)
    depth = np.full((bottom - top, right - left), np.inf, np.float32)
    owner = np.zeros(depth.shape, np.int16)
    is_inside = np.zeros(depth.shape, np.bool_)
    rays = pixel_rays()
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        if x1 == 0:
            continue
        found, inside = _intersect(cones, index, rays[:, y0:y1, x0:x1])
        window = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        nearer = found < depth[window]
        np.copyto(depth[window], found, where=nearer)
        np.copyto(owner[window], np.int16(index), where=nearer)
        is_inside[window] = np.where(nearer, inside, is_inside[window])
    return Surface((slice(top, bottom), slice(left, right)), depth, owner, is_inside)


def _intersect(cones: Cones, index: int, rays: Floats) -> tuple[Floats, NDArray[np.bool_] | bool]:
    """Distance along each ray to one cone, infinite for a miss, and whether its inner side is met.

    Follows Inigo Quilez, "Rounded cone - intersection" (MIT), with the eye at the origin.
    """
    a, b = cones.start[index], cones.end[index]
    ra, rb = float(cones.start_radius[index]), float(cones.end_radius[index])
    axis, taper = b - a, ra - rb
    length2, along = float(axis @ axis), -float(axis @ a)
    d2 = length2 - taper * taper
    ray_axis = np.einsum("i,ihw->hw", axis.astype(np.float32), rays)
    ray_a = np.einsum("i,ihw->hw", -a.astype(np.float32), rays)
    k2 = d2 - ray_axis * ray_axis
    k1 = d2 * ray_a + (taper * ra - along) * ray_axis
    k0 = d2 * float(a @ a) - along * along + 2 * along * taper * ra - length2 * ra * ra
    discriminant = k1 * k1 - k2 * k0
    root = np.sqrt(np.maximum(discriminant, 0))
    near = (-k1 - root) / np.where(k2 == 0, np.float32(1e-6), k2)
    hits = _between(near, ray_axis, along - ra * taper, d2) & (discriminant > 0)
    found = np.where(hits, near, np.float32(np.inf))
    if cones.is_tube[index]:
        far = (root - k1) / k2
        inside = ~hits & (discriminant > 0) & _between(far, ray_axis, along - ra * taper, d2)
        return np.where(inside, far, found), inside
    _add_sphere(found, hits, ray_a, float(a @ a) - ra * ra)
    _add_sphere(found, hits, ray_a - ray_axis, float(b @ b) - rb * rb)
    return found, False


def _between(distance: Floats, ray_axis: Floats, offset: float, d2: float) -> NDArray[np.bool_]:
    height = offset + distance * ray_axis
    return np.asarray((height > 0) & (height < d2) & (distance > 0))


def _add_sphere(found: Floats, hits: NDArray[np.bool_], ray_centre: Floats, offset: float) -> None:
    """Fill in a cone's rounded end where its mantle is missed."""
    discriminant = ray_centre * ray_centre - offset
    distance = -ray_centre - np.sqrt(np.maximum(discriminant, 0))
    np.copyto(found, distance, where=~hits & (discriminant > 0) & (distance < found) & (distance > 0))


def shade(surface: Surface, cones: Cones, scene: Scene) -> Floats:
    """Light that comes back from the surface, unclipped, in the surface's window."""
    rows, columns = np.nonzero(np.isfinite(surface.depth))
    top, left = surface.window[0].start, surface.window[1].start
    rays = pixel_rays()[:, rows + top, columns + left]
    depth, owner = surface.depth[rows, columns], surface.owner[rows, columns]
    facing = _facing(rays, depth, owner, cones)
    albedo = cones.albedo.astype(np.float32)[owner]
    albedo[surface.is_inside[rows, columns]] *= 0.3
    lamp = scene.gain * (LAMP_RANGE_MM / depth) ** 2 * rays[2] ** np.float32(scene.beam)
    light = np.zeros(surface.depth.shape, np.float32)
    light[rows, columns] = albedo * lamp * facing
    covered = np.isfinite(surface.depth).astype(np.float32)
    # Skin has no seams where one cone ends in another: most of the light is evened out over the neighbourhood.
    even = covered * smooth(light, 4) / np.maximum(smooth(covered, 4), 0.1)
    return np.asarray((0.3 * light + 0.7 * even) * (1 - occlusion(surface.depth)), np.float32)


def _facing(rays: Floats, depth: Floats, owner: NDArray[np.int16], cones: Cones) -> Floats:
    """Cosine between the surface's normal and the way to the camera, 0 to 1."""
    axis = cones.end - cones.start
    taper = cones.start_radius - cones.end_radius
    d2 = (axis**2).sum(1) - taper**2
    offset = -(axis * cones.start).sum(1) - cones.start_radius * taper
    starts, axes = cones.start.T.astype(np.float32)[:, owner], axis.T.astype(np.float32)[:, owner]
    height = offset.astype(np.float32)[owner] + depth * _dot(rays, axes)
    part = np.clip(height / d2.astype(np.float32)[owner], 0, 1)
    normals = rays * depth - starts - axes * part
    return np.asarray(np.abs(_dot(normals, rays)) / np.sqrt(_dot(normals, normals) + 1e-6), np.float32)


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.einsum("in,in->n", a, b), np.float32)


def occlusion(depth: Floats) -> Floats:
    """Share of light (0 to 0.75) that nearer surfaces around a pixel keep from it: creases, gaps between fingers."""
    nearness = np.where(np.isfinite(depth), 100 / depth, 0).astype(np.float32)
    covered = (nearness > 0).astype(np.float32)
    around = smooth(nearness, 6) / np.maximum(smooth(covered, 6), 0.05)
    return np.clip((around - nearness) / np.maximum(around, 1e-3) * 3.6 - 0.12, 0, 0.75).astype(np.float32)


def smooth(image: Floats, cell: int) -> Floats:
    """A wide soft blur: averages over cells of `cell` rows by twice as many columns, interpolated."""
    height, width = image.shape
    small = Image.fromarray(image).resize((max(width // (2 * cell), 1), max(height // cell, 1)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def blurred(level: Floats) -> Floats:
    """The lens: a blur of about three columns and one row, in place."""
    level[1:-1] = 0.25 * (level[:-2] + level[2:]) + 0.5 * level[1:-1]
    for step in (1, 2):
        level[:, step:-step] = 0.25 * (level[:, : -2 * step] + level[:, 2 * step :]) + 0.5 * level[:, step:-step]
    return level


def expose(light: Floats, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """[HEIGHT, WIDTH] gray levels of the light: saturation, stray light, reflection, background and noise."""
    squared = light * light
    level = blurred((WHITE_LEVEL - BLACK_LEVEL) * light / np.sqrt(np.sqrt(1 + squared * squared)))
    behind = scene.background + 0.09 * smooth(level, 15)
    if scene.ghost:
        _add_ghost(behind, level, scene)
    # A surface hides what is behind it: of the background only what its own light leaves is added.
    level = BLACK_LEVEL + level + behind * np.clip(1 - level / 60, 0, 1)
    level += scene.noise * _noise(rng)
    return np.asarray(np.clip(level + 0.5, 0, 255), np.uint8)


def _noise(rng: np.random.Generator) -> Floats:
    """[HEIGHT, WIDTH] normal noise in 256 steps, which takes a third of the time of exact normal numbers."""
    return np.asarray(_normal_quantiles()[rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)])


@lru_cache(maxsize=1)
def _normal_quantiles() -> Floats:
    return np.array([NormalDist().inv_cdf((step + 0.5) / 256) for step in range(256)], np.float32)


def _add_ghost(behind: Floats, level: Floats, scene: Scene) -> None:
    """Add the hand's faint mirror image, which a lens of this kind throws to the image's side."""
    small = smooth(level, 4)[::2, ::-4] * scene.ghost
    left = max(scene.ghost_column, 0)
    part = small[:, left - scene.ghost_column :][:, : WIDTH - left]
    behind[HEIGHT - small.shape[0] :, left : left + part.shape[1]] += part
