"""A depth camera of its own on the robot: rays, not the training's rasterizer, with the optics of another camera.

It takes images at its own rate, out of step with the control, and they arrive late. They are what a stereo camera
delivers: uint16, millimetres, 0 where it has no value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from legged_gym_ext.deploy.sim2sim.robot import Robot
from legged_gym_ext.deploy.sim2sim.world import LEGS, TERRAIN, World

MILLIMETRE = 0.001
"""m: the unit of an image's numbers."""


@dataclass(frozen=True)
class Eyes:
    """A camera; as it is here, a RealSense D435 whose images of 848 x 480 are decimated by 8."""

    width: int = 106
    height: int = 60
    horizontal_fov: float = math.radians(87.0)
    nearest: float = 0.1
    """m; what is nearer has no value."""
    farthest: float = 10.0
    """m; neither has what is farther."""
    rate: float = 30.0
    """Images/s."""
    jitter: float = 0.003
    """By this an image is taken earlier or later than its turn, +- uniform, s."""
    latency: float = 0.03
    """From the moment that an image shows to its arrival: exposure, stereo matching, transfer, s."""
    latency_jitter: float = 0.005
    """+- uniform, s."""
    disparity_noise: float = 0.1
    """Standard deviation of the disparity, pixels of the full image; depth errs with the square of the depth."""
    holes: float = 0.01
    """Share of single pixels that have no value, at random."""
    patches: float = 2.0
    """Mean number of patches without a value in an image, each a share of its width and of its height: up to 5 %."""
    see_robot: bool = False
    """Whether the robot's legs are in the image; the base never is, since the camera sits in it."""

    @property
    def focal(self) -> float:
        """Focal length, pixels (square ones); the optical axis goes through the middle of the image."""
        return self.width / 2 / math.tan(self.horizontal_fov / 2)

    @property
    def principal(self) -> tuple[float, float]:
        """Where the optical axis is, column and row, with whole numbers in the middle of pixels."""
        return (self.width - 1) / 2, (self.height - 1) / 2


_BASELINE = 0.05  # m between the two imagers of a D435
_FULL_WIDTH = 848  # pixels of its image, of which disparities are told to a fraction
_LARGEST_PATCH = 0.05


class DepthCamera:
    """The camera of a robot in its world."""

    def __init__(self, eyes: Eyes, robot: Robot) -> None:
        self.eyes = eyes
        self._position = robot.camera_position
        mount = np.empty(9)
        mujoco.mju_quat2Mat(mount, robot.camera_quat)
        column, row = eyes.principal
        rightward, downward = np.meshgrid(
            (np.arange(eyes.width) - column) / eyes.focal, (np.arange(eyes.height) - row) / eyes.focal
        )
        # In the camera's body x is along the optical axis, y to the left and z up.
        rays = np.stack([np.ones_like(rightward), -rightward, -downward], axis=-1).reshape(-1, 3)
        self._cosines = 1 / np.linalg.norm(rays, axis=1)
        self._rays = (rays * self._cosines[:, None]) @ mount.reshape(3, 3).T
        """Unit vectors in the base frame, (pixels, 3)."""
        self._distances, self._hits = np.empty(len(rays)), np.empty(len(rays), np.int32)
        seen = (TERRAIN, LEGS) if eyes.see_robot else (TERRAIN,)
        self._groups = np.array([group in seen for group in range(mujoco.mjNGROUP)], np.uint8)
        self._longest = eyes.farthest / float(self._cosines.min())

    def draw(self, world: World) -> np.ndarray:
        """Return the planar depth that the camera sees now, (height, width), m; 0 where nothing is in reach."""
        mujoco.mj_kinematics(world.model, world.data)
        rotation = world.rotation
        place = world.position + rotation @ self._position
        mujoco.mj_multiRay(
            world.model,
            world.data,
            place,
            (self._rays @ rotation.T).ravel(),
            self._groups,
            True,
            -1,
            self._hits,
            self._distances,
            None,
            len(self._distances),
            self._longest,
        )
        depth = np.where(self._hits >= 0, self._distances * self._cosines, 0.0)
        return np.where(depth <= self.eyes.farthest, depth, 0.0).reshape(self.eyes.height, self.eyes.width)

    def deliver(self, depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return what the sensor makes of depths (height, width), m: noise, holes, uint16 millimetres, 0 = no value."""
        eyes = self.eyes
        scale = _FULL_WIDTH / eyes.width * eyes.focal * _BASELINE  # disparity x depth, pixels x m
        with np.errstate(divide="ignore"):
            disparity = scale / depth + eyes.disparity_noise * rng.standard_normal(depth.shape)
            noisy = scale / disparity
        valid = (depth > 0) & (disparity > 0) & (noisy >= eyes.nearest) & (noisy <= eyes.farthest)
        valid &= rng.random(depth.shape) >= eyes.holes
        for _ in range(rng.poisson(eyes.patches)):
            height, width = (1 + rng.integers(math.ceil(_LARGEST_PATCH * size)) for size in depth.shape)
            row, column = rng.integers(eyes.height), rng.integers(eyes.width)
            valid[row : row + height, column : column + width] = False
        return np.where(valid, np.rint(noisy / MILLIMETRE), 0.0).astype(np.uint16)


@dataclass(frozen=True)
class Image:
    """An image on its way."""

    stamp: float
    """When it was taken, s."""
    arrival: float
    """When it is there, s."""
    values: np.ndarray
    """(height, width), uint16, mm."""


class Stream:
    """The images that come from a camera, as time goes by.

    Args:
        camera: The camera.
        rng: Of its phase, jitter, latency, noise and holes.
    """

    def __init__(self, camera: DepthCamera, rng: np.random.Generator) -> None:
        self.turns = self.drawn = 0
        """How many images the camera took, and how many were drawn: those that nobody waits for are not."""
        self._camera, self._rng = camera, rng
        self._phase = float(rng.uniform(0, 1 / camera.eyes.rate))
        self._next = self._phase
        self._on_the_way: list[Image] = []

    def advance(self, now: float, world: World, is_due: Callable[[float], bool]) -> list[Image]:
        """Take the images whose turn has come, and return those that arrive, oldest first.

        Args:
            now: s; what is taken shows the world as it is.
            world: The world.
            is_due: Whether an image that is taken at this time would be used.
        """
        eyes, rng = self._camera.eyes, self._rng
        while self._next <= now:
            self.turns += 1
            self._next = self._phase + self.turns / eyes.rate + float(rng.uniform(-eyes.jitter, eyes.jitter))
            late = max(eyes.latency + float(rng.uniform(-eyes.latency_jitter, eyes.latency_jitter)), 0.0)
            if is_due(now):
                self.drawn += 1
                values = self._camera.deliver(self._camera.draw(world), rng)
                self._on_the_way.append(Image(now, now + late, values))
        arrived = sorted((image for image in self._on_the_way if image.arrival <= now), key=lambda image: image.stamp)
        self._on_the_way = [image for image in self._on_the_way if image.arrival > now]
        return arrived
