"""The modules whose mutants are tried, and the tests that must notice them."""

from __future__ import annotations

MODULES: dict[str, tuple[str, ...]] = {
    "envs/observations": (
        "tests/envs/test_env_wiring.py::test_every_block_of_the_privileged_group_is_the_state",
        "tests/envs/test_env_wiring.py::test_proprioception_and_clock_are_the_state",
        "tests/envs/test_env_wiring.py::test_noise_has_the_configured_amplitude_in_the_scale_of_each_number",
        "tests/envs/test_observations.py",
        "tests/learning/test_symmetry.py",
    ),
    "envs/rewards": (
        "tests/envs/test_rewards.py::test_each_term_is_what_its_definition_says",
        "tests/envs/test_rewards.py::test_a_limit_itself_is_on_its_lower_side",
        "tests/envs/test_rewards.py::test_a_term_that_returns_no_number_for_each_environment_is_one_clear_line",
        "tests/envs/test_rewards.py::test_terms_that_weigh_something_at_some_level_count_and_no_others",
        "tests/envs/test_rewards.py::test_the_weights_are_where_the_environment_is",
        "tests/envs/test_rewards.py::test_a_term_that_there_is_not_and_weights_that_are_all_zero_are_one_clear_line",
    ),
    "learning/frames": ("tests/learning/test_frames.py",),
    "learning/phases/distillation": (
        "tests/learning/test_distillation.py",
        "tests/learning/test_learning_wiring.py::test_an_update_is_the_specifications_loop_cut_into_chunks",
        "tests/learning/test_learning_wiring.py::test_every_epoch_learns_from_every_environment_once",
        "tests/learning/test_learning_wiring.py::test_the_students_normalizer_has_seen_every_observation",
        "tests/learning/test_learning_wiring.py::test_the_networks_are_what_the_configuration_says",
        "tests/learning/test_learning_wiring.py::test_the_distillation_is_what_the_configuration_says",
    ),
    "learning/phases/finetune": ("tests/learning/test_finetune.py",),
    "learning/phases/ppo": ("tests/learning/test_phases.py", "tests/learning/test_learning_wiring.py"),
    "learning/runner": ("tests/learning/test_runner.py",),
    "learning/saving": ("tests/learning/test_faults.py", "tests/learning/test_runner.py"),
    "learning/statistics": (
        "tests/learning/test_statistics.py",
        "tests/processes/test_distributed.py::test_summaries_of_parts_are_those_of_the_whole",
    ),
    "learning/storage": ("tests/learning/test_storage.py",),
    "learning/symmetry": ("tests/learning/test_symmetry.py",),
    "learning/updates": (
        "tests/learning/test_updates.py",
        "tests/learning/test_faults.py::test_an_update_with_gradients_that_are_not_finite_is_left_out",
    ),
    "runs/atomic": ("tests/runs/test_atomic.py",),
    "runs/checkpoint": ("tests/runs/test_checkpoint.py",),
    "runs/intact": (
        "tests/runs/test_intact.py::test_what_is_wrong_with_a_file_is_told",
        "tests/runs/test_intact.py::test_an_archive_that_unpacks_to_more_than_it_is_is_not_unpacked",
        "tests/runs/test_intact.py::test_what_is_in_order_is_not_called_damaged",
    ),
    "terrain/curriculum": tuple(
        f"tests/terrain/test_terrain.py::{name}"
        for name in (
            "test_curriculum",
            "test_the_top_level_is_followed_by_any_level",
            "test_choices_are_in_range_for_the_largest_random_number",
            "test_first_levels",
            "test_what_grows_with_the_level_is_complete_from_its_level_on",
            "test_a_share_of_the_robots_reviews_any_level_up_to_its_own",
            "test_who_has_mastered_a_kind_goes_where_there_is_most_to_climb",
        )
    ),
}
"""Files of tests, or single ones, by the module's path in the package."""
