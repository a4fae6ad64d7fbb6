"""A jointed right hand with its forearm: joint angles in, rounded cones in space out.

Lengths are millimetres, angles degrees. Axes are the camera's: x to the right of the image, y down, z away from the
camera. A hand that is not turned shows its palm to the camera with the fingers up, so its thumb points right.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# A man's hand of about 185 mm: knuckles (index to little finger) from the wrist, bones from knuckle to tip.
KNUCKLES = np.array([[29.0, -86.0, 1.0], [9.0, -90.0, 3.0], [-12.0, -85.0, 2.0], [-31.0, -75.0, -2.0]])
CARPALS = np.array([[20.0, -10.0, 0.0], [7.0, -8.0, 0.0], [-7.0, -8.0, 0.0], [-20.0, -9.0, 0.0]])
PHALANGES = np.array([[42.0, 25.0, 18.0], [46.0, 29.0, 19.0], [43.0, 27.0, 19.0], [34.0, 20.0, 17.0]])
FINGER_RADII = np.array(
    [[12.0, 11.2, 10.2, 8.4], [12.2, 11.5, 10.4, 8.6], [11.8, 11.0, 10.0, 8.3], [10.8, 9.8, 8.9, 7.4]]
)
THUMB_BASE = np.array([20.0, -18.0, -6.0])
THUMB_BONES = np.array([44.0, 33.0, 25.0])
THUMB_RADII = np.array([18.0, 15.0, 12.0, 8.5])
FOREARM_LENGTH = 280.0


@dataclass(frozen=True)
class Pose:
    """Joint angles of a hand and how the whole hand is turned, in degrees."""

    flexion: Array
    """[4, 3] bend of each finger, index first, at knuckle, middle and last joint; positive towards the palm."""
    spread: Array
    """[4] lean of each finger towards the thumb, in the plane of the palm."""
    thumb: Array
    """[3, 2] for each bone its direction: the turn from the fingers' direction towards the right, and its lift out of
    the palm's plane towards the camera."""
    turn: Array
    """[3] roll about the fingers' axis (90 shows the little finger's edge to the camera, palm to the right), pitch
    (positive brings the fingertips to the camera), lean (positive tips the fingers to the right)."""
    pinch: float = 0.0
    """1 puts the tip of the thumb on the tip of the index finger, 0 leaves it to `thumb`."""
    retreat: float = 0.0
    """How much farther than usual from the camera the wrist is held, mm."""

    def shifted(self, offset: Pose) -> Pose:
        """The pose with `offset` added, field by field."""
        return Pose(*(getattr(self, field.name) + getattr(offset, field.name) for field in fields(self)))


def _pose(
    flexion: list[list[float]],
    spread: list[float],
    thumb: list[list[float]],
    turn: list[float],
    pinch: float = 0.0,
    retreat: float = 0.0,
) -> Pose:
    return Pose(np.array(flexion), np.array(spread), np.array(thumb), np.array(turn), pinch, retreat)


STRAIGHT = [4.0, 6.0, 4.0]
CURLED = [82.0, 104.0, 74.0]
CLOSED = [-3.0, 0.0, 3.0, 8.0]
THUMB_OUT = [[50.0, 25.0], [70.0, 12.0], [66.0, 0.0]]
THUMB_BESIDE = [[37.0, 35.0], [10.0, 40.0], [-35.0, 8.0]]
THUMB_ACROSS = [[48.0, 42.0], [5.0, 48.0], [-55.0, 10.0]]

# The heel of the hand usually hangs nearest to the camera, hence the negative pitch.
POSES: dict[str, Pose] = {
    "01_palm": _pose([STRAIGHT] * 4, CLOSED, [[34.0, 22.0], [12.0, 10.0], [2.0, 6.0]], [0.0, -22.0, 0.0]),
    "02_l": _pose([STRAIGHT, CURLED, CURLED, CURLED], CLOSED, THUMB_OUT, [5.0, -22.0, 0.0]),
    "03_fist": _pose([CURLED] * 4, CLOSED, THUMB_BESIDE, [5.0, -20.0, 0.0]),
    "04_fist_moved": _pose([CURLED] * 4, CLOSED, [[35.0, 32.0], [-5.0, 40.0], [-50.0, 0.0]], [104.0, -28.0, -16.0]),
    "05_thumb": _pose([CURLED] * 4, CLOSED, THUMB_OUT, [8.0, -20.0, 0.0]),
    "06_index": _pose([STRAIGHT, CURLED, CURLED, CURLED], CLOSED, THUMB_ACROSS, [-18.0, -24.0, 5.0]),
    "07_ok": _pose(
        [[50.0, 66.0, 32.0], [14.0, 14.0, 8.0], [8.0, 10.0, 6.0], [6.0, 10.0, 6.0]],
        [13.0, 3.0, -5.0, -14.0],
        [[50.0, 34.0], [60.0, 20.0], [40.0, 20.0]],
        [28.0, -18.0, 5.0],
        pinch=1.0,
    ),
    "08_palm_moved": _pose([[8.0, 8.0, 5.0]] * 4, CLOSED, [[24.0, 18.0], [6.0, 8.0], [0.0, 4.0]], [103.0, -31.0, 0.0]),
    "09_c": _pose([[62.0, 28.0, 14.0]] * 4, CLOSED, [[40.0, 38.0], [20.0, 45.0], [0.0, 42.0]], [98.0, -20.0, 0.0]),
    "10_down": _pose(
        [[25.0, 14.0, 8.0]] * 4,
        [13.0, 3.0, -7.0, -19.0],
        [[61.0, 38.0], [68.0, 38.0], [67.0, 35.0]],
        [28.0, 20.0, 8.0],
        retreat=70.0,
    ),
}


@dataclass(frozen=True)
class Build:
    """A person's proportions, as factors of the hand above, and what covers the forearm."""

    size: float = 1.0
    finger_length: float = 1.0
    finger_thickness: float = 1.0
    palm_width: float = 1.0
    forearm_thickness: float = 1.0
    sleeve_start: float | None = None
    """Distance of the sleeve's opening from the wrist; None for a bare arm."""
    sleeve_looseness: float = 1.15
    sleeve_albedo: float = 0.5
    bracelet_albedo: float | None = None
    """Brightness of a bracelet or watch, relative to skin; None for none."""


@dataclass(frozen=True)
class Cones:
    """Rounded cones: the hull of two spheres each. A tube is the bare mantle, open at both ends."""

    start: Array
    """[n, 3] centre of the first sphere."""
    end: Array
    """[n, 3] centre of the second sphere."""
    start_radius: Array
    end_radius: Array
    albedo: Array
    """[n] brightness relative to skin."""
    is_tube: NDArray[np.bool_]


class _Body:
    """Collects cones, in the hand's own axes or the camera's."""

    def __init__(self) -> None:
        self.rows: list[tuple[Array, Array, float, float, float, bool]] = []

    def add(self, start: Array, end: Array, r0: float, r1: float, albedo: float = 1.0, is_tube: bool = False) -> None:
        self.rows.append((start, end, r0, r1, albedo, is_tube))

    def cones(self) -> Cones:
        start, end, r0, r1, albedo, is_tube = zip(*self.rows, strict=True)
        return Cones(np.array(start), np.array(end), np.array(r0), np.array(r1), np.array(albedo), np.array(is_tube))


def turn_matrix(turn: Array) -> Array:
    """[3, 3] rotation of a `Pose.turn`: roll first, then pitch, then lean."""
    roll, pitch, lean = np.radians(turn)
    c, s = np.cos(roll), np.sin(roll)
    about_y = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    c, s = np.cos(pitch), np.sin(pitch)
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(lean), np.sin(lean)
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y)


def finger_joints(pose: Pose, build: Build) -> Array:
    """[4, 4, 3] knuckle, two joints and tip of each finger, in the hand's axes."""
    bend = np.radians(np.cumsum(pose.flexion, axis=1))[..., None]
    # Fingers that curl converge on the base of the thumb: the spread of straight fingers vanishes in a fist.
    spread = np.radians(pose.spread * (1 - 0.8 * np.clip(pose.flexion[:, 0] / 90, 0, 1)))
    forward = np.stack([np.sin(spread), -np.cos(spread), np.zeros(4)], axis=1)[:, None]
    bones = (np.cos(bend) * forward + np.sin(bend) * np.array([0.0, 0.0, -1.0])) * PHALANGES[..., None]
    knuckles = KNUCKLES * [build.palm_width, 1, 1]
    steps = np.concatenate([knuckles[:, None], bones * build.finger_length], axis=1)
    return np.asarray(np.cumsum(steps, axis=1))


def thumb_joints(pose: Pose, build: Build, index_tip: Array) -> Array:
    """[4, 3] root, two joints and tip of the thumb; a pinch bends the last two bones to reach `index_tip`."""
    azimuth, lift = np.radians(pose.thumb).T
    directions = np.stack([np.cos(lift) * np.sin(azimuth), -np.cos(lift) * np.cos(azimuth), -np.sin(lift)], axis=1)
    bones = directions * (THUMB_BONES * build.finger_length)[:, None]
    joints: Array = np.cumsum(np.concatenate([THUMB_BASE[None], bones]), axis=0)
    if pose.pinch > 0:
        reaching = _pinched(joints, index_tip + np.array([3.0, 6.0, 0.0]))
        joints += np.clip(pose.pinch, 0, 1) * (reaching - joints)
    return joints


def _pinched(joints: Array, target: Array) -> Array:
    """[4, 3] the thumb with its tip on `target`: its middle joint bends outwards, its first comes as near as needed."""
    near, far = np.linalg.norm(np.diff(joints[1:], axis=0), axis=1)
    way = target - joints[1]
    distance = float(np.linalg.norm(way))
    way = way / distance
    reach = float(np.clip(distance, abs(near - far) + 1, near + far - 1))
    along = (reach**2 + near**2 - far**2) / (2 * reach)
    outwards = np.array([1.0, 0.4, 0.0]) - way * (way[0] + 0.4 * way[1])
    outwards *= np.sqrt(max(near**2 - along**2, 0.0)) / np.linalg.norm(outwards)
    root = target - reach * way
    return np.stack([joints[0], root, root + along * way + outwards, target])


def hand_cones(pose: Pose, build: Build) -> Cones:
    """Palm, fingers and thumb in the hand's own axes, wrist at the origin."""
    body = _Body()
    fingers = finger_joints(pose, build)
    thumb = thumb_joints(pose, build, fingers[0, 3])
    _add_palm(body, build, thumb)
    radii = FINGER_RADII * build.finger_thickness
    for joints, r in zip(fingers, radii, strict=True):
        for bone in range(3):
            body.add(joints[bone], joints[bone + 1], r[bone], r[bone + 1])
    for left, right in pairwise(fingers):  # webs: fingers part well beyond the knuckles
        body.add(0.6 * left[0] + 0.4 * left[1], 0.55 * right[0] + 0.45 * right[1], 9.5, 9.5)
    r = THUMB_RADII * build.finger_thickness
    for bone in range(3):
        body.add(thumb[bone], thumb[bone + 1], r[bone], r[bone + 1])
    return body.cones()


def _add_palm(body: _Body, build: Build, thumb: Array) -> None:
    knuckles, carpals = KNUCKLES * [build.palm_width, 1, 1], CARPALS * [build.palm_width, 1, 1]
    for position in np.linspace(0, 3, 7):
        left, right, part = int(position), min(int(position) + 1, 3), position % 1
        mix = np.array([1 - part, part])
        ends = mix @ np.stack([carpals[left], carpals[right]]), mix @ np.stack([knuckles[left], knuckles[right]])
        body.add(*ends, 18.0, 13.5 - 0.6 * position)
    body.add(carpals[3] + [-2, -8, -3], knuckles[3] + [-2, 20, -2], 17.5, 14.0)  # heel below the little finger
    body.add(carpals[0] + [-3, -10, -1], thumb[1] + [-4, 3, 3], 19.0, 14.0)  # ball of the thumb
    body.add((2 * knuckles[0] + carpals[0]) / 3 + [0, 0, -3], (thumb[0] + 2 * thumb[1]) / 3, 11.0, 12.0)  # web


def forearm_cones(direction: Array, build: Build, across: Array) -> Cones:
    """Wrist to elbow with sleeve and bracelet, wrist at the origin; the arm is wider along `across`, a unit vector."""
    body = _Body()
    thickness = build.forearm_thickness
    for side in (-1.0, 0.0, 1.0):
        offset = across * side * 10.0 * thickness
        body.add(offset, offset * 1.6 + direction * FOREARM_LENGTH, 20.0 * thickness, 32.0 * thickness)
    wrist_radius = 28.0 * thickness
    if build.sleeve_start is not None:
        opening, radius = direction * build.sleeve_start, wrist_radius * build.sleeve_looseness + 4.0
        elbow = direction * FOREARM_LENGTH
        body.add(opening, elbow, radius, radius + 14.0, build.sleeve_albedo, True)
        body.add(opening, opening + direction * 9.0, radius + 2.0, radius + 2.5, build.sleeve_albedo * 1.5, True)
    if build.bracelet_albedo is not None:
        radius = wrist_radius + 3.0
        body.add(direction * 22.0, direction * 34.0, radius, radius + 1.0, build.bracelet_albedo, True)
    return body.cones()


def posed_cones(pose: Pose, build: Build, wrist: Array, forearm: Array) -> Cones:
    """The whole arm in the camera's axes.

    `wrist` is its position; `forearm` the direction from wrist to elbow, which stays put while the hand turns.
    """
    rotation = turn_matrix(pose.turn)
    direction = forearm / np.linalg.norm(forearm)
    across = np.cross(direction, rotation @ np.array([0.0, 0.0, 1.0]))
    hand = hand_cones(pose, build)
    arm = forearm_cones(direction, build, across / max(float(np.linalg.norm(across)), 1e-6))

    def placed(points: Array) -> Array:
        return np.asarray(wrist + build.size * points)

    return Cones(
        start=np.concatenate([placed(hand.start @ rotation.T), placed(arm.start)]),
        end=np.concatenate([placed(hand.end @ rotation.T), placed(arm.end)]),
        start_radius=build.size * np.concatenate([hand.start_radius, arm.start_radius]),
        end_radius=build.size * np.concatenate([hand.end_radius, arm.end_radius]),
        albedo=np.concatenate([hand.albedo, arm.albedo]),
        is_tube=np.concatenate([hand.is_tube, arm.is_tube]),
    )
