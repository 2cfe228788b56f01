"""rsl_rl's PPO with advantages that are normalized over the samples of all ranks."""

from __future__ import annotations

from rsl_rl.algorithms import PPO
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from legged_gym_ext.processes.collectives import mean_and_std


class ParkourPPO(PPO):
    """PPO whose update by several ranks is the update by one that has all of their samples.

    rsl_rl averages the gradients and the KL divergence over the ranks, but each rank normalizes its advantages by
    itself.
    """

    @staticmethod
    def construct_algorithm(obs: TensorDict, env: VecEnv, cfg: dict, device: str) -> PPO:
        """Construct the algorithm with a storage of one step, to be replaced: rsl_rl's has an image for every step."""
        return PPO.construct_algorithm(obs, env, {**cfg, "num_steps_per_env": 1}, device)

    def compute_returns(self, obs: TensorDict) -> None:
        """Compute return and advantage targets from the stored transitions and the observations after the last one."""
        super().compute_returns(obs)
        if self.is_multi_gpu:
            advantages = self.storage.returns - self.storage.values
            mean, std = mean_and_std(advantages)
            self.storage.advantages = (advantages - mean) / (std + 1e-8)
