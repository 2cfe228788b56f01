"""What is seen of a run while it is played: a video, a live viewer, both or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from legged_gym_ext.errors import UserError
from legged_gym_ext.rendering.opengl import choose_backend
from legged_gym_ext.runs.folder import results_folder

if TYPE_CHECKING:
    from legged_gym_ext.envs.parkour_env import ParkourEnv


def prepare_video(wanted: str | None, checkpoint: Path, terrain: str | None, level: int | None) -> Path | None:
    """Return where the video goes; None where there is to be none, or, with a line, can be none.

    Comes before MuJoCo is imported, which chooses then how it draws.

    Args:
        wanted: The path asked for; "" = in the run's folder, named after what is played; None = no video.
        checkpoint: What is played.
        terrain: The kind of terrain; None = the run's mix.
        level: The level of the terrain; None = all.

    Raises:
        UserError: The path is not that of an mp4 file, or its folder cannot be made.
    """
    if wanted is None:
        return None
    if not choose_backend():
        print("video      none: no OpenGL works here without a display (EGL and OSMesa were tried)")
        return None
    suffix = ("" if terrain is None else f"_{terrain}") + ("" if level is None else f"_level{level}")
    path = Path(wanted or results_folder(checkpoint) / "videos" / f"{checkpoint.stem}{suffix}.mp4")
    if path.suffix != ".mp4":
        raise UserError(f"--video {path}: the name of the file must end in .mp4")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--video {path}: cannot create its folder: {error.strerror}") from error
    return path


class Show:
    """Films and shows some environments while a policy plays.

    Args:
        env: The environment.
        indices: The environments to film, one clip each, and to show in turns.
        video: File to write; None = no video.
        video_length: Longest video, s.
        viewer: One of ``config.cli.VIEWERS``.
    """

    def __init__(
        self, env: ParkourEnv, indices: Sequence[int], video: Path | None, video_length: float, viewer: str
    ) -> None:
        # MuJoCo must not be imported before prepare_video.
        from legged_gym_ext.rendering.scene import RobotScene
        from legged_gym_ext.rendering.video import Recorder
        from legged_gym_ext.rendering.viewer import Live, open_viewer

        self._scene = RobotScene(env.robot)
        self._video = video
        self._recorder = Recorder(env, indices, video_length / len(indices)) if video else None
        opened = open_viewer(viewer, self._scene)
        self.live = Live(opened, env, indices) if opened else None
        """The viewer, None where nobody watches."""

    def add(self, dones: Tensor) -> None:
        """Film and show the state after a step; ``dones`` (num_envs,) bool says what ended."""
        if self._recorder:
            self._recorder.add(dones)
        if self.live:
            self.live.add(dones)

    def close(self) -> None:
        """Close the viewer."""
        if self.live:
            self.live.close()

    def write_video(self) -> None:
        """Draw what was filmed into the video's file, if there is to be one.

        Raises:
            UserError: The file cannot be written.
        """
        if self._video and self._recorder:
            from legged_gym_ext.rendering.video import write_video

            write_video(self._video, self._scene, self._recorder)
            print(f"\nvideo      {self._video}")
