"""The log in TensorBoard's files, in the run's folder."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer import event_file_writer
from torch.utils.tensorboard.writer import SummaryWriter

from legged_gym_ext.recording.entries import Alert, Entry, Scalars, Shown, step_of
from legged_gym_ext.recording.keeper import Unwritable
from legged_gym_ext.recording.media import Histogram, Image, Medium, Page, Table, Video, markdown_table

_FILM = "fps={fps:g},scale='min(320,iw)':-1:flags=lanczos,split[a][b];[a]palettegen[p];[b][p]paletteuse"
_FASTEST, _PATIENCE = 12.0, 120.0  # frames/s of a film; s for making one


class TensorBoard:
    """Writes event files.

    Args:
        folder: Where to.
        suffix: Of their names.
        begin: What to write first, each time a file is begun.
    """

    name, settles, retry = "log", 0.0, 2.0

    def __init__(self, folder: Path, suffix: str = "", begin: Callable[[SummaryWriter], None] = lambda _: None) -> None:
        self.folder, self._suffix, self._begin = folder, suffix, begin
        self._writer: SummaryWriter | None = None

    def open(self) -> None:
        """Begin a file; where that fails there is none, for on a full disk it may fail thousands of times."""
        _keep_writer_threads_silent()
        before = self._files()
        try:
            self._writer = SummaryWriter(str(self.folder), flush_secs=10, filename_suffix=self._suffix)
            self._begin(self._writer)
            self._writer.flush()
        except Exception:
            self.abandon()
            for path in self._files() - before:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise

    def write(self, entry: Entry) -> None:
        """Write an entry to the disk."""
        assert self._writer is not None
        step = step_of(entry)
        match entry:
            case Scalars():
                for tag, value in entry.values.items():
                    self._writer.add_scalar(tag, value, step)
            case Alert():
                self._writer.add_text(f"Alert/{entry.title}", entry.text, step)
            case Shown():
                left_out = [wrong for medium in entry.media if (wrong := _show(self._writer, medium, step))]
                self._writer.flush()
                if left_out:
                    raise Unwritable("; ".join(left_out))
            case _:  # checkpoints are beside the files, best values in the curves
                pass
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def abandon(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(OSError):
            self.close()
        self._writer = None

    def _files(self) -> set[Path]:
        """Return the files of this process's logs of this kind."""
        name = re.compile(rf"events\.out\.tfevents\..*\.{os.getpid()}\.\d+{re.escape(self._suffix)}")
        return {path for path in self.folder.glob("events.out.tfevents.*") if name.fullmatch(path.name)}


def _show(writer: SummaryWriter, medium: Medium, step: int) -> str:
    """Write a medium; return what is wrong with it."""
    try:
        match medium:
            case Image():
                writer.add_image(medium.tag, medium.pixels, step, dataformats="HWC")
            case Histogram():
                writer.add_histogram(medium.tag, medium.values, step)
            case Table():
                writer.add_text(medium.tag, markdown_table(medium), step)
            case Page():
                writer.add_text(medium.tag, medium.markdown, step)
            case Video():
                image = Summary.Image(encoded_image_string=_film(medium), colorspace=3)
                writer._get_file_writer().add_summary(  # a film is an image that moves; it has no method of its own
                    Summary(value=[Summary.Value(tag=medium.tag, image=image)]), step
                )
    except (ValueError, TypeError, AssertionError, subprocess.SubprocessError, FileNotFoundError) as error:
        return f"{medium.tag}: {' '.join(str(error).split())[:200]}"
    return ""


def _film(video: Video) -> bytes:
    """Return a video as a GIF, which TensorBoard shows. ffmpeg makes it, so that this process has nothing to do."""
    from imageio_ffmpeg import get_ffmpeg_exe

    if not video.path.is_file():
        raise FileNotFoundError(f"no file {video.path}")
    filters = _FILM.format(fps=min(video.frames_per_second, _FASTEST))
    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(video.path), "-vf", filters, "-f", "gif", "-"]
    return subprocess.run(command, capture_output=True, check=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL).stdout


def _keep_writer_threads_silent() -> None:
    """Let TensorBoard's threads end without a traceback: what ended one is raised in the thread that writes."""
    usual = threading.excepthook
    if getattr(usual, "silent_writers", False):
        return

    def hook(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.thread, event_file_writer._AsyncWriterThread):
            usual(args)

    hook.silent_writers = True  # type: ignore[attr-defined]
    threading.excepthook = hook
