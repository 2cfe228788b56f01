"""The mirror that PPO learns with: physics and sensors must agree that it is one."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.storage import RolloutStorage
from small_env import quiet, small_config

from legged_gym_ext.config.schema import Config
from legged_gym_ext.envs.observations import mirror_tables
from legged_gym_ext.envs.parkour_env import ParkourEnv
from legged_gym_ext.errors import UserError
from legged_gym_ext.learning.symmetry import BatchMirror, MirrorAugmentation
from legged_gym_ext.models.teacher import FRAMES, Frames
from legged_gym_ext.terrain.boxes import ABSENT


def symmetric_env() -> ParkourEnv:
    """Two robots on one mirror-symmetric course, without any randomness."""
    config = quiet(small_config())
    config.randomization.enabled = False
    config.camera.depth_noise = config.camera.dropout = 0.0
    config.camera.position_noise = config.camera.rotation_noise_degrees = 0.0
    config.camera.update_interval = 1
    env = ParkourEnv(config, 2, torch.device("cpu"))
    boxes = torch.tensor(ABSENT).repeat(len(env.library.boxes), 32, 1)
    boxes[:, 0] = torch.tensor([5.0, 0.0, -0.5, 1, 0, 0, 0, 8.0, 2.0, 0.5])
    boxes[:, 1] = torch.tensor([1.0, 0.0, 0.05, 1, 0, 0, 0, 0.1, 0.4, 0.05])
    env.library.boxes[:] = boxes
    env.library.waypoints[:] = env.library.waypoints[:1].clone()
    env.library.waypoints[..., 1] = 0.0
    env.reset()
    return env


def place_as_mirror_images(env: ParkourEnv) -> None:
    """Give the second robot the mirror image of a random state of the first."""
    assert env.robot.mirror is not None
    partners, signs = (torch.as_tensor(a) for a in env.robot.mirror)
    generator = torch.Generator().manual_seed(1)
    position = torch.tensor([[0.3, 0.1, env.robot.base_height + 0.005]])
    quat = torch.nn.functional.normalize(torch.tensor([[1.0, 0.05, 0.03, 0.1]]), dim=1)
    linear, angular = 0.3 * torch.randn(2, 1, 3, generator=generator)
    joints = env.default_joint_pos + 0.1 * torch.randn(1, 10, generator=generator)
    speeds = torch.randn(1, 10, generator=generator)
    polar, axial = torch.tensor([1.0, -1.0, 1.0]), torch.tensor([-1.0, 1.0, -1.0])
    mirrored = joints[:, partners] * signs.float(), speeds[:, partners] * signs.float()
    env.simulator.reset(
        torch.ones(2, dtype=torch.bool),
        torch.cat([position, position * polar]),
        torch.cat([quat, quat * torch.tensor([1.0, -1.0, 1.0, -1.0])]),
        torch.cat([linear, linear * polar]),
        torch.cat([angular, angular * axial]),
        torch.cat([joints, mirrored[0]]),
        torch.cat([speeds, mirrored[1]]),
    )
    env.state.forward_speed[:] = 0.6


def test_mirrored_robots_that_act_as_mirror_images_see_mirrored_observations() -> None:
    env = symmetric_env()
    place_as_mirror_images(env)
    mirror = BatchMirror(env, env.device)
    generator = torch.Generator().manual_seed(2)
    for _ in range(6):
        action = 0.5 * torch.randn(1, 10, generator=generator)
        _, both = mirror(env, None, action)
        observation, _, done, _ = env.step(both)
    assert not done.any()
    # The legs of the second robot are half a period apart from the first's: so is its clock.
    mirrored, _ = mirror(env, observation, None)
    for name, values in mirrored.items():
        first, second, image = values[0], values[1], values[2]
        assert not torch.allclose(first, second, atol=0.05) or name in ("scan", "gait_phase"), name
        if name == "gait_phase":
            torch.testing.assert_close(image, -first)
        elif name == "privileged":
            clock = slice(18, 20)
            keep = torch.ones_like(image, dtype=torch.bool)
            keep[clock] = False
            torch.testing.assert_close(image[clock], -first[clock])
            torch.testing.assert_close(image[keep], second[keep], atol=2e-3, rtol=0.0)
        elif name == "depth":
            assert ((image - second).abs() > 2e-3).float().mean() < 0.01  # pixels on edges
        else:
            torch.testing.assert_close(image, second, atol=2e-3, rtol=0.0, msg=name)


def test_mirroring_twice_gives_the_original() -> None:
    env = ParkourEnv(small_config(), 3, torch.device("cpu"))
    mirror = BatchMirror(env, env.device)
    obs = env.get_observations()
    actions = torch.randn(3, 10)
    both, both_actions = mirror(env, obs, actions)
    twice, twice_actions = mirror(env, both[3:], both_actions[3:])
    assert torch.equal(both_actions[:3], actions) and torch.equal(twice_actions[3:], actions)
    assert set(both.keys()) == set(twice.keys()) == set(obs.keys()) - {"new_frame"}
    for name in both.keys():  # noqa: SIM118
        assert torch.equal(both[name][:3], obs[name]), name
        assert torch.equal(twice[name][3:], obs[name]), name


def test_a_mini_batch_gets_its_mirror_image_and_no_loss_of_its_own() -> None:
    """What the mirror image has in common with the original is there twice."""
    env = ParkourEnv(small_config(), 3, torch.device("cpu"))
    augmentation, obs, actions = MirrorAugmentation(env, "cpu"), env.get_observations(), torch.randn(3, 10)
    names = ("values", "advantages", "returns", "old_actions_log_prob")
    fields = {name: torch.randn(3, 1) for name in names}
    batch = RolloutStorage.Batch(observations=obs, actions=actions, **fields)
    augmentation.augment_batch(batch, 3)
    expected, expected_actions = BatchMirror(env, "cpu")(env, obs, actions)
    assert expected is not None and expected_actions is not None
    assert batch.observations is not None and batch.observations.batch_size == (6,)
    assert all(torch.equal(batch.observations[name], expected[name]) for name in expected.keys())  # noqa: SIM118
    assert batch.actions is not None and torch.equal(batch.actions, expected_actions)
    for name, value in fields.items():
        assert torch.equal(getattr(batch, name), torch.cat([value, value])), name

    def actor(*arguments: object) -> None:
        raise AssertionError("the actor ran for nothing")

    with torch.device("meta"):  # a tensor that is made without a device has no values
        loss = augmentation.compute_loss(actor, batch, 3)  # type: ignore[arg-type]
    assert loss.shape == () and loss.dtype == actions.dtype and loss.item() == 0


def test_nothing_has_no_mirror_image() -> None:
    env = ParkourEnv(small_config(), 2, torch.device("cpu"))
    assert BatchMirror(env, "cpu")(env, None, None) == (None, None)


def test_images_that_are_not_square_are_mirrored_from_left_to_right() -> None:
    env = ParkourEnv(small_config(), 1, torch.device("cpu"))
    mirror = BatchMirror(env, "cpu")
    mirror.rows, mirror.columns = 2, 3
    assert mirror.flip(torch.tensor([[1, 2, 3, 4, 5, 6]])).tolist() == [[3, 2, 1, 6, 5, 4]]


def test_shared_frames_are_mirrored_once_each() -> None:
    env = ParkourEnv(small_config(), 3, torch.device("cpu"))
    mirror = BatchMirror(env, env.device)
    obs = env.get_observations().exclude("depth")
    images = torch.rand(2, 4096)
    obs.set_non_tensor(FRAMES, Frames(images, torch.tensor([1, 0, 1])))
    both, _ = mirror(env, obs, None)
    frames = both[FRAMES]
    assert frames.images.shape == (4, 4096)
    seen = frames.images.index_select(0, frames.index)  # which counts from the first one only
    assert torch.equal(seen[:3], images[[1, 0, 1]])
    assert torch.equal(seen[3:].view(3, 64, 64), images[[1, 0, 1]].view(3, 64, 64).flip(2))


def test_the_mirror_is_where_the_networks_are() -> None:
    env = ParkourEnv(small_config(), 1, torch.device("cpu"))
    ours = MirrorAugmentation(env, "meta").data_augmentation_func
    assert isinstance(ours, BatchMirror)
    for tables in (mirror_tables(env, "meta"), BatchMirror(env, "meta").tables, ours.tables):
        assert all(tensor.device.type == "meta" for table in tables.values() for tensor in table)


def test_a_robot_without_mirror_symmetry_is_one_clear_line(tmp_path) -> None:
    config: Config = small_config()
    source = ParkourEnv(config, 1, torch.device("cpu")).robot.urdf.read_text()
    (tmp_path / "lame.urdf").write_text(source.replace('xyz="0 0.11536 0"', 'xyz="0 0.10 0"', 1))
    config.robot.urdf = str(tmp_path / "lame.urdf")
    env = ParkourEnv(config, 1, torch.device("cpu"))
    with pytest.raises(UserError, match="ppo.symmetry: lame.urdf"):
        mirror_tables(env, env.device)
