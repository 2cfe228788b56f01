"""How vectors look to the robot's mirror image in the x-z plane: which number takes which place, with which sign.

For learning from mirrored experience (Mittal et al., "Symmetry Considerations for Learning Task Symmetric Robot
Policies", ICRA 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from legged_gym_ext.errors import UserError
from legged_gym_ext.robot import NUM_FEET, NUM_JOINTS, Robot


class Mirror(NamedTuple):
    """A vector's mirror image is ``[sign * vector[column] for column, sign in zip(columns, signs)]``."""

    columns: tuple[int, ...]
    signs: tuple[int, ...]


class MirrorTable(NamedTuple):
    """A :class:`Mirror` as tensors: the image of ``group`` (batch, size) is ``group[:, columns] * signs``."""

    columns: Tensor
    """(size,), int64."""
    signs: Tensor
    """(size,)."""


MirrorRule = Callable[[Robot], Mirror]
"""The mirror image of one term; what belongs to joints depends on the robot."""


def signs(*values: int) -> MirrorRule:
    """Return the rule of a vector whose numbers keep their places and take these signs."""
    return lambda robot: Mirror(tuple(range(len(values))), values)


POLAR = signs(1, -1, 1)
"""Of a velocity, a force, a direction."""
AXIAL = signs(-1, 1, -1)
"""Of an angular velocity."""
SCALAR = signs(1)
"""Of a number that has no side."""


def swap_feet(robot: Robot) -> Mirror:
    """Return the mirror image of one number for each foot."""
    return Mirror((1, 0), (1, 1))


def swap_foot_vectors(robot: Robot) -> Mirror:
    """Return the mirror image of a polar vector for each foot."""
    return Mirror((3, 4, 5, 0, 1, 2), POLAR(robot).signs * NUM_FEET)


def joints(robot: Robot) -> Mirror:
    """Return the mirror image of joint angles, which is also that of joint velocities and of actions."""
    partners, joint_signs = _joint_mirror(robot)
    return Mirror(partners, joint_signs)


def joint_factors(robot: Robot) -> Mirror:
    """Return the mirror image of one number for each joint that has no direction, such as a motor's strength."""
    return Mirror(_joint_mirror(robot)[0], (1,) * NUM_JOINTS)


def mirror_table(rules: Iterable[MirrorRule], robot: Robot, device: torch.device | str) -> MirrorTable:
    """Return the table of vectors that follow each other in a group, one for each rule."""
    columns: list[int] = []
    factors: list[int] = []
    for rule in rules:
        part = rule(robot)
        columns += [len(factors) + column for column in part.columns]
        factors += part.signs
    return MirrorTable(torch.tensor(columns, device=device), torch.tensor(factors, dtype=torch.float32, device=device))


def _joint_mirror(robot: Robot) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return each joint's partner and the sign with which its angle takes the partner's place.

    Raises:
        UserError: The robot has no mirror symmetry.
    """
    if robot.mirror is None:
        raise UserError(f"ppo.symmetry: {robot.urdf.name} has joints without a mirror image in the x-z plane")
    partners, joint_signs = robot.mirror
    return tuple(int(partner) for partner in partners), tuple(int(sign) for sign in joint_signs)
