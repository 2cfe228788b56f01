"""Mirrored experience for PPO: a biped that turns left has learned to turn right.

For rsl_rl's symmetry extension (Mittal et al., "Symmetry Considerations for Learning Task Symmetric Robot Policies",
ICRA 2024). What a mirrored vector is, envs/mirror.py says.
"""

from __future__ import annotations

import torch
from rsl_rl.extensions import Symmetry
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.envs.mirror import MirrorTable
from legged_gym_ext.envs.observations import mirror_tables
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.groups import DEPTH
from legged_gym_ext.models.teacher import FRAMES, Frames


class MirrorAugmentation(Symmetry):
    """Adds to each mini-batch its mirror image, and computes nothing else.

    rsl_rl's own extension also runs the actor a second time for a loss that only the log would see.

    Args:
        env: The environment.
        device: Where the mini-batches are.
    """

    def __init__(self, env: ParkourEnv, device: torch.device | str) -> None:
        super().__init__(env, BatchMirror(env, device), use_data_augmentation=True)

    def compute_loss(self, actor: MLPModel, batch: RolloutStorage.Batch, original_batch_size: int) -> Tensor:
        """Return zero."""
        assert batch.actions is not None
        return batch.actions.new_zeros(())


class BatchMirror:
    """Appends to a mini-batch what the mirror image of the robot would have seen and done.

    Args:
        env: The environment, whose robot and observation groups decide what is whose mirror image.
        device: Where the mini-batches are.
    """

    def __init__(self, env: ParkourEnv, device: torch.device | str) -> None:
        self.tables = mirror_tables(env, device)
        self.rows, self.columns = env.config.camera.resolution

    def __call__(
        self, env: ParkourEnv, obs: TensorDict | None, actions: Tensor | None
    ) -> tuple[TensorDict | None, Tensor | None]:
        """Return observations and actions (2 * batch, ...): as they were, then mirrored; None stays None."""
        return None if obs is None else self.observations(obs), None if actions is None else self.actions(actions)

    def actions(self, actions: Tensor) -> Tensor:
        """Return actions (2 * batch, num_actions): as they were, then mirrored."""
        return _append(actions, self.tables["actions"])

    def observations(self, obs: TensorDict) -> TensorDict:
        """Return the observations of twice as many samples: as they were, then mirrored."""
        groups = {name: _append(obs[name], table) for name, table in self.tables.items() if name in obs.keys()}  # noqa: SIM118
        if DEPTH in obs.keys():  # noqa: SIM118
            groups[DEPTH] = torch.cat([obs[DEPTH], self.flip(obs[DEPTH])])
        both = TensorDict(groups, batch_size=[2 * obs.batch_size[0]])
        if FRAMES in obs.keys():  # noqa: SIM118
            frames: Frames = obs[FRAMES]
            images, index = frames.images, frames.index
            assert index is not None  # a mini-batch has each image once
            mirrored = torch.cat([images, self.flip(images)]), torch.cat([index, index + len(images)])
            both.set_non_tensor(FRAMES, Frames(*mirrored))
        return both

    def flip(self, images: Tensor) -> Tensor:
        """Swap left and right in images (batch, rows * columns)."""
        return images.unflatten(1, (self.rows, self.columns)).flip(2).flatten(1)


def _append(values: Tensor, table: MirrorTable) -> Tensor:
    return torch.cat([values, values[:, table.columns] * table.signs])
