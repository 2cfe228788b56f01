"""The log of a training: scalars to TensorBoard or Weights & Biases. That it cannot be written ends no training."""

from __future__ import annotations

import contextlib
import io
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from rsl_rl.utils.logger import Logger
from tensorboard.summary.writer import event_file_writer
from torch.utils.tensorboard.writer import SummaryWriter

from legged_gym_ext.console import say
from legged_gym_ext.learning.media import Histogram, Image, Medium, Table

KEPT = 10_000
"""Steps of the log that are kept while it cannot be written."""


class Recording:
    """Writes to the log; while that fails, keeps what it is given, and tries again with each step.

    The disk may be full, or the run's folder gone. A line tells when recording stops and when it goes on; what was
    kept is written then.

    Args:
        logger: rsl_rl's, which makes the writer that the configuration names, on rank 0 only.
    """

    def __init__(self, logger: Logger) -> None:
        self.logger = logger
        self._kept: deque[tuple[int, Mapping[str, float]]] = deque(maxlen=KEPT)
        self._failed = False
        self._quiet = contextlib.ExitStack()

    def open(self) -> None:
        """Begin the log."""
        self._quiet.enter_context(_silent_writer_thread())
        try:
            self._make_writer()
        except OSError as error:
            self._fail(error)

    def add(self, scalars: Mapping[str, float], step: int) -> None:
        """Write the scalars of a step, by tag, to the disk."""
        if self.logger.writer is None and not self._failed:
            return
        self._kept.append((step, scalars))
        try:
            if self._failed:
                self._make_writer()
            self._write()
        except OSError as error:
            self._fail(error)
            return
        if self._failed:
            say(f"log: recorded again, with the {len(self._kept)} steps that were kept")
        self._failed = False
        self._kept.clear()

    def show(self, media: Sequence[Medium], step: int) -> None:
        """Write the media of a step, as far as TensorBoard takes them, which has no films. They are not kept."""
        writer = self.logger.writer
        if not isinstance(writer, SummaryWriter):
            return
        with contextlib.suppress(OSError):
            for medium in media:
                match medium:
                    case Image():
                        writer.add_image(medium.tag, medium.pixels, step, dataformats="HWC")
                    case Histogram():
                        writer.add_histogram(medium.tag, medium.values, step)
                    case Table():
                        lines = [medium.columns, ["---"] * len(medium.columns), *medium.rows]
                        cells = (["" if cell is None else str(cell) for cell in line] for line in lines)
                        writer.add_text(medium.tag, "\n".join(" | ".join(line) for line in cells), step)

    def close(self) -> None:
        """End the log."""
        self._close_writer()
        self.logger.stop_logging_writer()
        self._quiet.close()

    def _make_writer(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # rsl_rl tells which git repositories it looked for
            self.logger.init_logging_writer()

    def _write(self) -> None:
        writer = self.logger.writer
        assert writer is not None
        for step, scalars in self._kept:
            for tag, value in scalars.items():
                writer.add_scalar(tag, value, step)
        if isinstance(writer, SummaryWriter):  # as both writers are
            writer.flush()

    def _fail(self, error: OSError) -> None:
        if not self._failed:
            reason = error.strerror or " ".join(str(error).split())
            say(f"log: not recorded ({reason}); the training goes on, and so do attempts")
        self._failed = True
        self._close_writer()
        self.logger.writer = None

    def _close_writer(self) -> None:
        with contextlib.suppress(OSError):
            if isinstance(self.logger.writer, SummaryWriter):
                self.logger.writer.close()


@contextlib.contextmanager
def _silent_writer_thread() -> Iterator[None]:
    """Let TensorBoard's thread end without a traceback: what ended it is raised in the thread that writes."""
    usual = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.thread, event_file_writer._AsyncWriterThread):
            usual(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = usual
