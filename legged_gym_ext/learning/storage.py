"""rsl_rl's rollout storage with every camera frame stored, and given to the teacher, once."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.errors import UserError
from legged_gym_ext.groups import DEPTH, NEW_FRAME
from legged_gym_ext.learning.frames import FramePool
from legged_gym_ext.models.exploring import DONES
from legged_gym_ext.models.teacher import FRAMES, Frames


@dataclass(frozen=True)
class _MiniBatch:
    """Where a mini-batch is in the storage."""

    samples: Tensor
    """Flat indices, (batch,)."""
    seen: Tensor | None
    """Frames, (number of frames,)."""
    index: Tensor | None
    """Which of these frames each sample saw, (batch,)."""


class ParkourRolloutStorage(RolloutStorage):
    """Keeps the observation groups that PPO's models read, and of the depth images only new ones.

    Mini-batches are random, but samples that saw the same frame stay together, so that the teacher's wide first layer
    runs once per frame rather than once per sample. Every epoch uses the same ones, as rsl_rl's do, but gathers them
    anew: all of them at once would be a copy of the rollout.

    Args:
        num_envs: Environments.
        num_steps: Steps of a rollout.
        obs: Observations by group, each (num_envs, size).
        groups: The groups that the models read.
        num_actions: Size of an action.
        device: Where to store.
        image_dtype: Of the stored depth images; None = as they come.
    """

    mini_batches_key: ClassVar[str] = "ppo.num_mini_batches"
    """The configuration's, which says how many mini-batches there are to be."""

    def __init__(
        self,
        num_envs: int,
        num_steps: int,
        obs: TensorDict,
        groups: Iterable[str],
        num_actions: int,
        device: str,
        image_dtype: torch.dtype | None = None,
    ) -> None:
        groups = set(groups)
        self.groups = sorted(groups - {DEPTH})
        super().__init__("rl", num_envs, num_steps, obs.select(*self.groups), [num_actions], device)
        self.frames: FramePool | None = None
        if DEPTH in groups:
            image = obs[DEPTH]
            self.frames = FramePool(num_steps, num_envs, image.shape[-1], image_dtype or image.dtype, device)

    def add_transition(self, transition: RolloutStorage.Transition) -> None:
        """Add one transition at the current step."""
        obs = transition.observations
        assert obs is not None
        transition.observations = self._without_images(obs)
        super().add_transition(transition)

    def _without_images(self, obs: TensorDict) -> TensorDict:
        """Store the current step's images, where they are wanted, and return what is stored besides."""
        if self.frames is not None:
            self.frames.add(self.step, obs[DEPTH], obs[NEW_FRAME].squeeze(-1) > 0)
        return obs.select(*self.groups)

    def mini_batch_generator(
        self, num_mini_batches: int, num_epochs: int = 8
    ) -> Generator[RolloutStorage.Batch, None, None]:
        """Yield the shuffled mini-batches, in each epoch the same ones.

        Raises:
            UserError: There are more mini-batches than samples.
        """
        order = self._shuffled()
        if num_mini_batches > len(order):
            of = f"{self.num_envs} environments x {self.num_transitions_per_env} steps"
            raise UserError(f"{self.mini_batches_key}: expected at most {len(order)} ({of}), got {num_mini_batches}")
        size = len(order) // num_mini_batches
        batches = [self._plan(order[i * size : (i + 1) * size]) for i in range(num_mini_batches)]
        for _ in range(num_epochs):
            for batch in batches:
                yield RolloutStorage.Batch(**self._gather(batch))

    def _shuffled(self) -> Tensor:
        """Return the samples' flat indices in random order, those of one frame side by side."""
        if self.frames is None:
            return torch.randperm(self.num_envs * self.num_transitions_per_env, device=self.device)
        place = torch.randperm(self.frames.count, device=self.device)
        return torch.argsort(place[self.frames.index.flatten()], stable=True)

    def _plan(self, samples: Tensor) -> _MiniBatch:
        """Return the mini-batch that consists of the ``samples``, and the frames that they saw."""
        if self.frames is None:
            return _MiniBatch(samples, None, None)
        seen = self.frames.index.flatten().index_select(0, samples)
        return _MiniBatch(samples, *torch.unique_consecutive(seen, return_inverse=True))

    def _seen(self, batch: _MiniBatch) -> TensorDict:
        """Return the observations of a mini-batch."""
        groups = {key: _take(self.observations[key], batch) for key in self.groups}
        obs = TensorDict(groups, batch_size=[len(batch.samples)])
        if self.frames is not None and batch.seen is not None:
            obs.set_non_tensor(FRAMES, Frames(self.frames.images.index_select(0, batch.seen), batch.index))
        return obs

    def _gather(self, batch: _MiniBatch) -> dict[str, Any]:
        """Return the fields of a mini-batch."""

        def take(tensor: Tensor) -> Tensor:
            return _take(tensor, batch)

        assert self.distribution_params is not None
        return {
            "observations": self._seen(batch),
            "actions": take(self.actions),
            "values": take(self.values),
            "advantages": take(self.advantages),
            "returns": take(self.returns),
            "old_actions_log_prob": take(self.actions_log_prob),
            "old_distribution_params": tuple(take(p) for p in self.distribution_params),
        }


def _take(tensor: Tensor, batch: _MiniBatch) -> Tensor:
    """Return a mini-batch (batch, ...) of what is stored, (steps, num_envs, ...)."""
    return tensor.flatten(0, 1).index_select(0, batch.samples)


class LabelStorage(ParkourRolloutStorage):
    """What was seen, and what another policy would have done there: the ``actions`` of its mini-batches."""

    mini_batches_key = "guide.mini_batches"

    def add_label(self, obs: TensorDict, actions: Tensor) -> None:
        """Add one step of all environments: observations by group (num_envs, size), actions (num_envs, num_actions)."""
        self.observations[self.step].copy_(self._without_images(obs))
        self.actions[self.step].copy_(actions)
        self.step += 1

    def _gather(self, batch: _MiniBatch) -> dict[str, Any]:
        """Return the fields of a mini-batch."""
        return {"observations": self._seen(batch), "actions": _take(self.actions, batch)}


class SequenceStorage(ParkourRolloutStorage):
    """Mini-batches are environments with all of their steps, for an actor that remembers.

    A mini-batch is flat, as PPO's others are: one step of its environments after the other. Its observations also say
    where episodes ended (``DONES``), and its hidden state is the memory that the environments came with. All later ones
    follow from these, and are not stored.

    Args:
        first_memory: The actor's memory before the first step (layers, num_envs, size); here, of that of new episodes.
        arguments: Those of :class:`ParkourRolloutStorage`.
    """

    def __init__(self, first_memory: Tensor, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.first_memory = first_memory

    def add_transition(self, transition: RolloutStorage.Transition) -> None:
        """Add one transition at the current step."""
        memory, _ = transition.hidden_states
        if self.step == 0:
            self.first_memory = memory if isinstance(memory, Tensor) else torch.zeros_like(self.first_memory)
        transition.hidden_states = (None, None)
        super().add_transition(transition)

    def recurrent_mini_batch_generator(
        self, num_mini_batches: int, num_epochs: int = 8
    ) -> Generator[RolloutStorage.Batch, None, None]:
        """Yield mini-batches of random environments, in each epoch the same ones.

        Raises:
            UserError: There are more mini-batches than environments.
        """
        if num_mini_batches > self.num_envs:
            raise UserError(
                f"finetune.num_mini_batches: expected at most {self.num_envs}, the number of environments, "
                f"got {num_mini_batches}"
            )
        starts = torch.arange(0, self.num_transitions_per_env * self.num_envs, self.num_envs, device=self.device)
        parts = torch.randperm(self.num_envs, device=self.device).tensor_split(num_mini_batches)
        batches = [(envs, self._plan((starts[:, None] + envs).flatten())) for envs in parts]
        for _ in range(num_epochs):
            for envs, batch in batches:
                fields = self._gather(batch)
                fields["observations"][DONES] = self.dones.flatten(0, 1).index_select(0, batch.samples)
                memory = self.first_memory.index_select(1, envs)
                yield RolloutStorage.Batch(**fields, hidden_states=(memory, None))

    def _plan(self, samples: Tensor) -> _MiniBatch:
        """Return the mini-batch that consists of the ``samples``, and the frames that they saw."""
        assert self.frames is not None  # of the student
        seen = self.frames.index.flatten().index_select(0, samples)
        return _MiniBatch(samples, *torch.unique(seen, return_inverse=True))
