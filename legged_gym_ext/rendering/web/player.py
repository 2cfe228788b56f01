"""Playing policies under the controls of a page: what each control does to the environment. No browser is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rsl_rl.models import MLPModel
from torch import Tensor

from legged_gym_ext.envs.outcome import SUMMARY, Outcome
from legged_gym_ext.errors import UserError
from legged_gym_ext.evaluation.benchmark import command
from legged_gym_ext.evaluation.rollout import spread_levels
from legged_gym_ext.rendering.web.controls import (
    Buttons,
    Choice,
    Control,
    Slider,
    Switch,
    Value,
    checked,
    which_environment,
)
from legged_gym_ext.rendering.web.sight import Sight, see
from legged_gym_ext.runs.folder import checkpoint_name, checkpoint_numbers, find_checkpoint

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv
    from legged_gym_ext.learning.runner import ParkourRunner

STEP, RESET = "step", "reset"
MIX, ALL = "all kinds", "all levels"
PUSHES = {"forward": (1.0, 0.0), "back": (-1.0, 0.0), "left": (0.0, 1.0), "right": (0.0, -1.0)}
"""Directions of a push in the tile frame, x along the course, y to the left."""
POLICIES = ("student", "teacher")
_FASTEST, _GREATEST_SPEED, _HARDEST_PUSH = 4.0, 2.0, 2.0  # times real time, m/s, m/s


class Player:
    """Plays a run's policies in an environment, one of which is watched.

    Each step all policies that are trained see the same observations, and one of them acts; so the others' actions can
    be shown beside its own, and it may hand over to one of them at any time.

    Args:
        env: The environment.
        runner: With a checkpoint loaded.
        checkpoint: That one; others of its folder can be chosen.
        policy: Who acts; None = the student where it is trained.
        level: Of the terrain, to begin with; None = all.
        speed: That is commanded to begin with, m/s.

    Raises:
        UserError: The run has no trained policy of that name.
    """

    def __init__(
        self,
        env: ParkourEnv,
        runner: ParkourRunner,
        checkpoint: Path,
        policy: str | None,
        level: int | None,
        speed: float,
    ) -> None:
        self.env = env
        self.paused = False
        self.pace = 1.0
        """Simulated time over real time."""
        self.index = 0
        """The environment that is watched."""
        self.ended: Counter[Outcome] = Counter()
        """How episodes on this terrain, with this policy, have ended, in all environments."""
        self._runner, self._folder, self._checkpoint = runner, checkpoint.parent, checkpoint
        self._numbers = checkpoint_numbers(self._folder)
        self._device = torch.device(runner.device)
        self._kinds = env.library.kinds if len(env.library.kinds) == 1 else (MIX, *env.library.kinds)
        self._kind, self._level = self._kinds[0], ALL if level is None else str(level)
        self._speed, self._push = speed, 1.0
        self._steps_due = 0
        self._policies: dict[str, MLPModel] = {}
        """By what they are called: the guide is, as long as it acts in the teacher's place."""
        self._lanes: dict[str, str] = {}
        """Whose place each of them has, one of :data:`POLICIES`."""
        self._take_policies(policy)
        self._commands: dict[str, Slider] = {}
        if torch.device(env.device).type == "cpu":  # on a GPU the step is a recording, with these numbers in it
            for name, label, highest in (
                ("heading_gain", "heading gain, 1/s", 4.0),
                ("max_yaw_rate", "highest yaw rate, rad/s", 3.0),
            ):
                value = getattr(env.config.commands, name)
                self._commands[name] = Slider(name, label, 0.0, max(highest, value), 0.05, value)
        self._place()

    # ------------------------------------------------------------------ controls

    def controls(self) -> Sequence[Control]:
        """Return all controls, with their values as they are now."""
        config = self.env.config
        fastest = max(_GREATEST_SPEED, self._speed)
        commands = (replace(slider, value=getattr(config.commands, name)) for name, slider in self._commands.items())
        return [
            Switch("paused", "pause", self.paused),
            Buttons("do", "", (STEP, RESET)),
            Slider("pace", "times real time", 0.1, _FASTEST, 0.1, self.pace),
            *which_environment(self.env.num_envs, self.index),
            Choice("kind", "terrain", self._kinds, self._kind),
            Choice("level", "level", (ALL, *map(str, range(config.terrain.levels))), self._level),
            Choice("policy", "policy", tuple(self._policies), self.policy),
            Choice("checkpoint", "checkpoint", tuple(map(self._name, self._numbers)), self._checkpoint.stem),
            Buttons("look", "", ("look for new checkpoints",)),
            Slider("speed", "speed, m/s", 0.0, fastest, 0.05, self._speed),
            *commands,
            Slider("push_speed", "push by, m/s", 0.0, _HARDEST_PUSH, 0.1, self._push),
            Buttons("push", "push", tuple(PUSHES)),
        ]

    def set(self, name: str, value: Value) -> None:
        """Do what a control says.

        Raises:
            UserError: There is no such control, its value is not allowed, or what it asks for cannot be done.
        """
        value = checked(self.controls(), name, value)
        if name in self._commands:
            setattr(self.env.config.commands, name, float(value))
            return
        match name:
            case "paused":
                self.paused = bool(value)
            case "do" if value == STEP:
                self.paused = True
                self._steps_due += 1
            case "do":
                self._place()
            case "pace":
                self.pace = float(value)
            case "environment":
                self.index = int(value)
            case "kind":
                self._kind = str(value)
                self._place()
            case "level":
                self._level = str(value)
                self._place()
            case "policy":
                self.policy = str(value)
                self.ended.clear()
            case "checkpoint":
                self._load(self._numbers[[self._name(number) for number in self._numbers].index(str(value))])
            case "look":
                self._numbers = checkpoint_numbers(self._folder)
            case "speed":
                self._speed = float(value)
                self._hold_speed()
            case "push_speed":
                self._push = float(value)
            case "push":
                self._shove(PUSHES[str(value)])

    # ------------------------------------------------------------------ what is shown

    def sight(self) -> Sight:
        """Return what the watched environment shows now."""
        return see(self.env, self.index, self._actions, self._extras)

    def status(self) -> str:
        """Return, in Markdown, what is played and how it goes."""
        total = sum(self.ended.values())
        shares = (
            f"{word} {sum(self.ended[outcome] for outcome in outcomes) / total:.0%}"
            for word, outcomes in SUMMARY.items()
            if any(self.ended[outcome] for outcome in outcomes)
        )
        ended = ", ".join(shares) if total else "none yet"
        return f"**{self.policy}** of {self._checkpoint.stem}  \nepisodes ended: {total} ({ended})"

    # ------------------------------------------------------------------ playing

    def due(self) -> bool:
        """Return whether time goes on: nobody has paused it, or a single step is wanted."""
        return not self.paused or self._steps_due > 0

    @torch.no_grad()
    def advance(self) -> Tensor | None:
        """Play one step, if it is :meth:`due`; return which episodes ended, (num_envs,) bool."""
        if not self.due():
            return None
        self._steps_due = max(self._steps_due - 1, 0)
        observations = self.env.get_observations().to(self._device)
        actions = {name: policy(observations).to(self.env.device) for name, policy in self._policies.items()}
        _, _, dones, self._extras = self.env.step(actions[self.policy])
        others = {name: action for name, action in actions.items() if name != self.policy}
        self._actions = {self.policy: actions[self.policy], **others}
        for policy in self._policies.values():
            policy.reset(dones.to(self._device))
        self._hold_speed()  # new episodes draw their own
        ended = dones.bool()
        self.ended.update(Outcome(number) for number in self._extras["outcome"][ended].tolist())
        return ended

    def _place(self) -> None:
        """Start new episodes everywhere, on the terrain that is chosen."""
        env, library = self.env, self.env.library
        kinds = library.assign_kinds(env.num_envs)
        if self._kind != MIX:
            kinds = torch.full_like(kinds, library.kinds.index(self._kind))
        levels = (
            spread_levels(kinds, env.config.terrain.levels)
            if self._level == ALL
            else torch.full_like(kinds, int(self._level))
        )
        command(env.config, self._speed)
        env.place(kinds, levels)
        self._begin()
        self._hold_speed()

    def _begin(self) -> None:
        """Forget what was before."""
        for policy in self._policies.values():
            policy.reset()
        self._actions: dict[str, Tensor] = {}
        self._extras: dict | None = None
        self.ended.clear()

    def _load(self, number: int) -> None:
        """Let the policies be those of another checkpoint; episodes begin anew."""
        path = find_checkpoint(self._folder, number)
        self._runner.load(str(path), resume=False)
        self._checkpoint = path
        self._take_policies(self._lanes[self.policy])
        self._place()

    def _take_policies(self, wanted: str | None) -> None:
        """Take what the runner has trained; who acts is whom one ``wanted``, if it is there or nobody else is."""
        trained = [lane for lane in POLICIES if self._runner.is_trained(lane)]
        if wanted is not None and wanted not in trained and not self._policies:
            self._runner.get_inference_policy(wanted)  # raises
        if not trained:
            raise UserError("this run has no trained policy")
        self._lanes = {self._runner.policy_name(lane): lane for lane in trained}
        self._policies = {name: self._runner.get_inference_policy(lane) for name, lane in self._lanes.items()}
        self.policy = self._runner.policy_name(wanted if wanted in trained else trained[0])

    def _hold_speed(self) -> None:
        command(self.env.config, self._speed)
        self.env.state.forward_speed.fill_(self._speed)

    def _shove(self, direction: tuple[float, float]) -> None:
        """Push the watched robot."""
        mask = torch.arange(self.env.num_envs, device=self.env.device) == self.index
        velocity = torch.zeros(self.env.num_envs, 3, device=self.env.device)
        velocity[:, :2] = self._push * torch.tensor(direction, device=self.env.device)
        self.env.simulator.push(mask, velocity)

    @staticmethod
    def _name(number: int) -> str:
        return Path(checkpoint_name(number)).stem
