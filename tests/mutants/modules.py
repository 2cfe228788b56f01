"""The modules whose mutants are tried, and the tests that must notice them."""

from __future__ import annotations

MODULES: dict[str, tuple[str, ...]] = {
    "envs/observations": ("tests/envs/test_env.py", "tests/envs/test_env_wiring.py"),
    "envs/rewards": ("tests/envs/test_rewards.py",),
    "learning/frames": ("tests/learning/test_frames.py",),
    "learning/phases/distillation": ("tests/learning/test_distillation.py", "tests/learning/test_learning_wiring.py"),
    "learning/phases/finetune": ("tests/learning/test_finetune.py",),
    "learning/phases/ppo": ("tests/learning/test_phases.py", "tests/learning/test_learning_wiring.py"),
    "learning/runner": ("tests/learning/test_runner.py",),
    "learning/saving": ("tests/learning/test_faults.py", "tests/learning/test_runner.py"),
    "learning/statistics": ("tests/learning/test_statistics.py",),
    "learning/storage": ("tests/learning/test_finetune.py",),
    "learning/symmetry": ("tests/learning/test_symmetry.py",),
    "learning/updates": ("tests/learning/test_faults.py",),
    "runs/checkpoint": ("tests/runs/test_checkpoint.py", "tests/runs/test_intact.py"),
    "runs/atomic": ("tests/runs/test_checkpoint.py",),
    "terrain/curriculum": tuple(
        f"tests/terrain/test_terrain.py::{name}"
        for name in (
            "test_curriculum",
            "test_the_top_level_is_followed_by_any_level",
            "test_choices_are_in_range_for_the_largest_random_number",
            "test_first_levels",
            "test_what_grows_with_the_level_is_complete_from_its_level_on",
        )
    ),
}
"""Files of tests, or single ones, by the module's path in the package."""
