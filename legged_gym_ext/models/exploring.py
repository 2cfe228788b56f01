"""The student with noise on its actions, as PPO wants its actor."""

from __future__ import annotations

import torch
from rsl_rl.models import MLPModel
from rsl_rl.modules import HiddenState
from tensordict import TensorDict
from torch import Tensor, nn

from legged_gym_ext.models.distribution import ActionDistribution
from legged_gym_ext.models.student import Student
from legged_gym_ext.models.teacher import FRAMES, Frames

DONES = "dones"
"""Key of the observation of a mini-batch of sequences that says where episodes ended, (samples, 1)."""


class ExploringStudent(MLPModel):
    """A Gaussian around the student's actions. The student is the one that it is given, not a copy.

    Args:
        student: Says the means.
        num_actions: Size of an action.
        init_std: Standard deviation of each action, to begin with.
        image_dtype: Of the stored images. The student sees them so when it acts, too: the ratio of probabilities after
            an update to those before it says how far the policy moved only if nothing else changed.
    """

    is_recurrent = True  # to rsl_rl: it is given sequences, whether its encoder remembers or not

    def __init__(self, student: Student, num_actions: int, init_std: float, image_dtype: torch.dtype) -> None:
        nn.Module.__init__(self)  # MLPModel's would make layers of its own
        self.student = student
        self.distribution = ActionDistribution(num_actions, init_std)
        self.image_dtype = image_dtype
        self.frozen = False

    def freeze(self, frozen: bool) -> None:
        """Have everything stay as it is, or let it learn again."""
        self.frozen = frozen
        self.requires_grad_(not frozen)

    def forward(
        self,
        obs: TensorDict,
        masks: Tensor | None = None,
        hidden_state: HiddenState = None,
        stochastic_output: bool = False,
    ) -> Tensor:
        """Return the mean actions (batch, num_actions), or with ``stochastic_output`` a sample of the distribution.

        Without ``hidden_state`` this is one step from the student's own memory. With it, the memory before the first
        step (layers, sequences, size), ``obs`` are a mini-batch of SequenceStorage (learning/storage.py).
        """
        assert masks is None
        means = self._step(obs) if hidden_state is None else self._sequences(obs, hidden_state)
        if not stochastic_output:
            return means
        self.noise.update(means)
        return self.noise.sample()

    @property
    def noise(self) -> ActionDistribution:
        """Return the distribution."""
        assert isinstance(self.distribution, ActionDistribution)
        return self.distribution

    def reset(self, dones: Tensor | None = None, hidden_state: HiddenState = None) -> None:
        """Zero the student's memory where ``dones`` (batch,); without it, replace all of it by ``hidden_state``."""
        self.student.reset(dones, hidden_state)

    def get_hidden_state(self) -> HiddenState:
        """Return the student's memory (layers, batch, size), None before the first step."""
        return self.student.encoder.memory

    def update_normalization(self, obs: TensorDict) -> None:
        """Let the student's normalizer learn from observations, unless all of it is frozen."""
        if not self.frozen:
            self.student.update_normalization(obs)

    def _step(self, obs: TensorDict) -> Tensor:
        seen = obs.copy()
        group = self.student.terrain_group
        seen[group] = obs[group].to(self.image_dtype)
        return self.student(seen)

    def _sequences(self, obs: TensorDict, memory: HiddenState) -> Tensor:
        assert isinstance(memory, Tensor)
        frames: Frames = obs[FRAMES]
        assert frames.index is not None
        shape = (-1, memory.shape[1])
        steps = obs.select(*self.student.obs_groups, DONES).view(*shape)
        dones = steps[DONES].squeeze(-1)
        actions, _, _ = self.student.forward_sequence(steps, frames.images, frames.index.view(*shape), memory, dones)
        return actions.flatten(0, 1)
