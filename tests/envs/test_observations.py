"""The table of observations by itself: no environment is needed to make its groups."""

from __future__ import annotations

import pytest
import torch

from legged_gym_ext.config.schema import NoiseConfig
from legged_gym_ext.envs.observations import noise_amplitudes, term_groups
from legged_gym_ext.errors import UserError


def test_groups_are_on_the_environments_device_and_know_their_terms() -> None:
    groups = term_groups(["gait_phase"], torch.device("meta"))
    assert list(groups) == ["proprio", "gait_phase", "privileged"]
    assert list(term_groups([], torch.device("cpu"))) == ["proprio", "privileged"]
    sizes = {name: sum(term.size for term in group.terms) for name, group in groups.items()}
    assert sizes == {"proprio": 43, "gait_phase": 2, "privileged": 36}
    for name, group in groups.items():
        assert group._scale.device.type == "meta" and group._scale.shape == (sizes[name],)


def test_an_observation_that_there_is_not_is_one_clear_line() -> None:
    with pytest.raises(UserError) as caught:
        term_groups(["gait_phase", "gait_fase"], torch.device("cpu"))
    expected = (
        "unknown observation in observations.others 'gait_fase' (did you mean 'gait_phase'?); allowed: gait_phase"
    )
    assert str(caught.value) == expected


@pytest.mark.parametrize("enabled", [False, True])
def test_noise_is_as_large_as_configured_in_the_scale_of_each_number(enabled: bool) -> None:
    config = NoiseConfig()
    config.enabled = enabled
    config.lin_vel, config.ang_vel, config.gravity, config.joint_pos, config.joint_vel = 0.3, 0.5, 0.07, 0.02, 1.5
    expected = [0.6] * 3 + [0.125] * 3 + [0.07] * 3 + [0] * 4 + [0.02] * 10 + [0.075] * 10 + [0] * 10
    assert noise_amplitudes(config) == pytest.approx([value * enabled for value in expected])
