"""Mini-batches are the rollout's samples, each with what belongs to it. Every number says where it is from."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import pytest
import torch
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict
from torch import Tensor

from legged_gym_ext.errors import UserError
from legged_gym_ext.learning.storage import LabelStorage, ParkourRolloutStorage, SequenceStorage
from legged_gym_ext.models.exploring import DONES
from legged_gym_ext.models.teacher import FRAMES

ENVS, STEPS, PIXELS, ACTIONS = 5, 6, 4, 3
NUMBER = torch.arange(ENVS * STEPS, dtype=torch.float32).view(STEPS, ENVS)
"""Of each sample."""
NEW = torch.rand(STEPS, ENVS, generator=torch.Generator().manual_seed(0)) < 0.4
NEW[0] = True
SEEN = torch.stack([torch.where(NEW[: step + 1], NUMBER[: step + 1], -1).max(0).values for step in range(STEPS)])
"""The number of the sample whose frame each sample saw, (STEPS, ENVS)."""
ENDED = torch.rand(STEPS, ENVS, generator=torch.Generator().manual_seed(1)) < 0.3


def observations(step: int) -> TensorDict:
    vectors = {"proprio": 100 + NUMBER[step][:, None].expand(-1, 2), "privileged": 200 + NUMBER[step][:, None]}
    images = {"depth": SEEN[step][:, None].expand(-1, PIXELS), "new_frame": NEW[step][:, None].float()}
    return TensorDict(vectors | images | {"read by nobody": torch.zeros(ENVS, 7)}, batch_size=[ENVS])


def transition(step: int, memory: Tensor | None = None) -> RolloutStorage.Transition:
    result, column = RolloutStorage.Transition(), NUMBER[step][:, None]
    result.observations, result.actions = observations(step), 300 + column.expand(-1, ACTIONS)
    result.values, result.actions_log_prob = 400 + column, 500 + NUMBER[step]
    result.rewards, result.dones = NUMBER[step], ENDED[step].byte()
    result.distribution_params = (600 + column.expand(-1, ACTIONS), 700 + column.expand(-1, ACTIONS))
    result.hidden_states = (memory, None)
    return result


def filled(kind: type[ParkourRolloutStorage], *more: Any, images: bool = True, dtype: Any = None) -> Any:
    groups = ["proprio", "privileged", *(["depth"] if images else [])]
    storage = kind(*more, ENVS, STEPS, observations(0), groups, ACTIONS, "cpu", dtype)
    for step in range(STEPS):
        storage.add_transition(transition(step, memory(step)))
    storage.returns, storage.advantages = 800 + NUMBER[..., None], 900 + NUMBER[..., None]
    return storage


def memory(step: int) -> Tensor:
    """Return a memory before a step, (2, ENVS, 3)."""
    return 1000 + 100 * step + torch.arange(ENVS)[None, :, None].expand(2, -1, 3).float()


def samples(batch: RolloutStorage.Batch, images: bool = True) -> list[int]:
    """Return the samples of a mini-batch, having checked that everything in it is theirs."""
    assert batch.observations is not None
    proprio = batch.observations["proprio"]
    numbers = (proprio[:, 0] - 100).long()
    fields = {
        **{200: batch.observations["privileged"], 300: batch.actions, 400: batch.values, 800: batch.returns},
        **{500: batch.old_actions_log_prob, 900: batch.advantages, 100: proprio},
    }
    assert batch.old_distribution_params is not None
    fields |= dict(zip((600, 700), batch.old_distribution_params, strict=True))
    for offset, values in fields.items():
        assert values is not None and len(values) == len(numbers)
        assert (values == offset + numbers[:, None]).all(), offset
    assert set(batch.observations.keys()) - {FRAMES, DONES} == {"proprio", "privileged"}
    assert batch.observations.batch_size == (len(numbers),)
    if images:
        frames = batch.observations[FRAMES]
        assert (frames.images[frames.index] == SEEN.flatten()[numbers][:, None]).all()
        assert len(frames.images) == len(SEEN.flatten()[numbers].unique())  # each once
    return numbers.tolist()


def epochs_of(batches: list[list[int]], epochs: int) -> list[list[list[int]]]:
    size = len(batches) // epochs
    return [batches[i * size : (i + 1) * size] for i in range(epochs)]


@pytest.mark.parametrize("images", [True, False])
def test_each_epoch_has_the_same_random_mini_batches_and_everything_in_them_belongs_together(images: bool) -> None:
    storage = filled(ParkourRolloutStorage, images=images)
    batches = [samples(batch, images) for batch in storage.mini_batch_generator(4, 3)]
    first, *others = epochs_of(batches, 3)
    assert [len(batch) for batch in first] == [7] * 4 and all(other == first for other in others)
    drawn = sum(first, [])
    assert len(set(drawn)) == 28 and drawn != sorted(drawn)
    again = [samples(batch, images) for batch in storage.mini_batch_generator(4, 1)]
    assert again != first
    if images:  # those of one frame are side by side
        frames = SEEN.flatten()[drawn]
        assert len(torch.unique_consecutive(frames)) == len(frames.unique())
    (whole,) = (samples(batch, images) for batch in storage.mini_batch_generator(1, 1))
    assert sorted(whole) == list(range(ENVS * STEPS))


def test_without_being_asked_a_rollout_is_used_eight_times() -> None:
    """As rsl_rl's own storages do."""
    assert len(list(filled(ParkourRolloutStorage).mini_batch_generator(2))) == 2 * 8
    storage = filled(SequenceStorage, torch.zeros(2, ENVS, 3))
    assert len(list(storage.recurrent_mini_batch_generator(2))) == 2 * 8


def test_there_can_be_as_many_mini_batches_as_samples_and_no_more() -> None:
    storage = filled(ParkourRolloutStorage)
    singles = [samples(batch) for batch in storage.mini_batch_generator(ENVS * STEPS, 1)]
    assert sorted(sum(singles, [])) == list(range(ENVS * STEPS))
    with pytest.raises(UserError) as caught:
        next(storage.mini_batch_generator(ENVS * STEPS + 1, 1))
    expected = "ppo.num_mini_batches: expected at most 30 (5 environments x 6 steps), got 31"
    assert str(caught.value) == expected


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_images_are_stored_in_the_precision_asked_for_and_vectors_as_they_are(dtype: torch.dtype | None) -> None:
    storage = filled(ParkourRolloutStorage, dtype=dtype)
    assert storage.frames.images.dtype == (dtype or torch.float32) and len(storage.frames.images) == NEW.sum()
    assert storage.observations["proprio"].dtype == torch.float32
    for batch in storage.mini_batch_generator(3, 1):
        samples(batch)  # small whole numbers are the same in bfloat16


def test_labels_are_of_the_samples_that_they_are_stored_with() -> None:
    storage = LabelStorage(ENVS, STEPS, observations(0), ["proprio", "depth"], ACTIONS, "cpu")
    for _ in range(2):  # rounds
        storage.clear()
        for step in range(STEPS):
            storage.add_label(observations(step), 300 + NUMBER[step][:, None].expand(-1, ACTIONS))
        seen = []
        for batch in storage.mini_batch_generator(4, 1):
            assert batch.observations is not None and batch.actions is not None
            numbers, frames = (batch.observations["proprio"][:, 0] - 100).long(), batch.observations[FRAMES]
            assert (batch.actions == 300 + numbers[:, None]).all()
            assert (frames.images[frames.index] == SEEN.flatten()[numbers][:, None]).all()
            seen += numbers.tolist()
        assert len(set(seen)) == 28
    with pytest.raises(UserError, match="guide.mini_batches: expected at most 30"):
        next(storage.mini_batch_generator(31, 1))


@pytest.mark.parametrize("mini_batches", [2, ENVS])
def test_mini_batches_of_sequences_are_environments_with_all_of_their_steps(mini_batches: int) -> None:
    storage = filled(SequenceStorage, torch.zeros(2, ENVS, 3))
    batches, drawn = [], []
    for batch in storage.recurrent_mini_batch_generator(mini_batches, 2):
        numbers = samples(batch)
        envs = [number % ENVS for number in numbers[: len(numbers) // STEPS]]
        assert numbers == [step * ENVS + env for step in range(STEPS) for env in envs]
        assert (batch.observations[DONES].bool() == ENDED.flatten()[numbers][:, None]).all()
        assert batch.observations[DONES].shape == (len(numbers), 1)
        assert torch.equal(batch.hidden_states[0], memory(0)[:, envs]) and batch.hidden_states[1] is None
        batches.append(numbers)
        drawn.append(envs)
    first, second = epochs_of(batches, 2)
    assert first == second and len(first) == mini_batches
    envs = sum(drawn[:mini_batches], [])
    assert sorted(envs) == list(range(ENVS)) and envs != sorted(envs)
    with pytest.raises(UserError) as caught:
        next(storage.recurrent_mini_batch_generator(ENVS + 1, 1))
    expected = "finetune.num_mini_batches: expected at most 5, the number of environments, got 6"
    assert str(caught.value) == expected


def test_who_comes_without_a_memory_has_that_of_a_new_episode() -> None:
    storage, empty = filled(SequenceStorage, torch.full((2, ENVS, 3), 9.0)), torch.zeros(2, ENVS, 3)
    assert torch.equal(storage.first_memory, memory(0))
    storage.clear()
    add: Callable[..., None] = storage.add_transition
    add(transition(0, None))
    assert torch.equal(storage.first_memory, empty)
    add(transition(1, memory(1)))
    assert torch.equal(storage.first_memory, empty)
    fresh = SequenceStorage(torch.full((2, ENVS, 3), 9.0), ENVS, STEPS, observations(0), ["proprio"], ACTIONS, "cpu")
    fresh.add_transition(transition(0, None))  # nor had anyone one before
    assert torch.equal(fresh.first_memory, empty)


def test_all_of_a_storage_is_on_the_device_that_it_is_told() -> None:
    storage = ParkourRolloutStorage(ENVS, STEPS, observations(0), ["proprio", "depth"], ACTIONS, "meta")
    assert storage.frames is not None
    tensors = (storage.observations["proprio"], storage.actions, storage.dones, storage.frames.index)
    assert all(tensor.device.type == "meta" for tensor in tensors)


def test_storages_need_no_default_device() -> None:
    transitions = [transition(step, memory(step)) for step in range(STEPS)]
    seen, first = [observations(step) for step in range(STEPS)], torch.zeros(2, ENVS, 3)
    arguments = (ENVS, STEPS, seen[0], ["proprio", "privileged", "depth"], ACTIONS, "cpu")
    labels = 300 + NUMBER[..., None].expand(-1, -1, ACTIONS)
    with torch.device("meta"):  # a tensor that is made without a device has no values
        storages = ParkourRolloutStorage(*arguments), SequenceStorage(first, *arguments)
        without_images = ParkourRolloutStorage(ENVS, STEPS, seen[0], ["proprio", "privileged"], ACTIONS, "cpu")
        imitation = LabelStorage(*arguments)
        for step in range(STEPS):
            for storage in (*storages, without_images):
                storage.add_transition(copy(transitions[step]))
            imitation.add_label(seen[step], labels[step])
        for storage in (*storages, without_images):
            storage.returns, storage.advantages = 800 + NUMBER[..., None], 900 + NUMBER[..., None]
        flat = list(storages[0].mini_batch_generator(1, 1))
        sequences = list(storages[1].recurrent_mini_batch_generator(1, 1))
        vectors = list(without_images.mini_batch_generator(1, 1))
        (labelled,) = imitation.mini_batch_generator(1, 1)
    for (batch,), images in ((flat, True), (sequences, True), (vectors, False)):
        assert sorted(samples(batch, images)) == list(range(ENVS * STEPS))
    assert labelled.observations is not None and labelled.actions is not None
    assert torch.equal(labelled.actions[:, 0], 200 + labelled.observations["proprio"][:, 0])
