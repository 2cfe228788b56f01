"""Which old checkpoints of runs may go, and which are still needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from legged_gym_ext.config.files import read_yaml
from legged_gym_ext.errors import UserError
from legged_gym_ext.paths import resolve
from legged_gym_ext.runs.folder import CONFIG_FILE, checkpoint_name, checkpoint_numbers
from legged_gym_ext.runs.intact import damage
from legged_gym_ext.runs.resume import dotted_values

_EVALUATION, _EXPORT = re.compile(r"(\d+)_.*"), re.compile(r"model_(\d+)")


@dataclass(frozen=True)
class Pruning:
    """What is to become of a run's checkpoints."""

    folder: Path
    delete: tuple[int, ...]
    """Iterations whose checkpoints go, ascending."""
    needed: Mapping[int, str]
    """Those that are older than the ones to keep and yet stay: why, by iteration."""

    @property
    def size(self) -> int:
        """Bytes of the files that go."""
        return sum(path.stat().st_size for path in self.paths if path.exists())

    @property
    def paths(self) -> list[Path]:
        """The files that go."""
        return [self.folder / checkpoint_name(number) for number in self.delete]

    def carry_out(self) -> None:
        """Delete the files.

        Raises:
            UserError: One cannot be deleted.
        """
        for path in self.paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"cannot delete '{path}': {error.strerror}") from error


def plan_pruning(folder: Path, keep: int, runs: Iterable[Path]) -> Pruning:
    """Return what goes where the ``keep`` newest checkpoints of the run in ``folder`` are to stay.

    The newest intact one stays, whatever is newer than it; so does one that something else is made of, or begins with.

    Args:
        folder: The run's.
        keep: At least 1.
        runs: Folders of all runs, which may begin with one of this run's checkpoints.
    """
    numbers = checkpoint_numbers(folder)
    needed = needed_by_others(folder, runs)
    intact = next((n for n in reversed(numbers) if not damage(folder / checkpoint_name(n))), None)
    if intact is not None:
        needed.setdefault(intact, "it is the newest intact one")
    old = numbers[:-keep]
    return Pruning(
        folder,
        tuple(number for number in old if number not in needed),
        {number: needed[number] for number in old if number in needed},
    )


def needed_by_others(folder: Path, runs: Iterable[Path]) -> dict[int, str]:
    """Return which of a run's checkpoints something else stands for, and what, by iteration.

    These are links to one, evaluations and exports of one, and runs that began with one.
    """
    needed: dict[int, str] = {}
    own = {(folder / checkpoint_name(number)).resolve(): number for number in checkpoint_numbers(folder)}
    for link in folder.iterdir():
        if link.is_symlink() and (number := own.get(link.resolve())) is not None:
            needed[number] = f"{link.name} is a link to it"
    for pattern, place in ((_EVALUATION, "evaluation"), (_EXPORT, "exported")):
        for path in sorted((folder / place).glob("*")):
            match = pattern.fullmatch(path.name)
            if match and path.is_dir():
                needed[int(match[1])] = f"{place}/{path.name} is of it"
    for run in runs:
        begin = _begins_with(run)
        if begin is not None and (number := own.get(begin)) is not None:
            needed[number] = f"{run.name} began with it"
    return needed


def _begins_with(run: Path) -> Path | None:
    """Return the checkpoint whose networks a run began with; the run's folder where that says no more."""
    try:
        begin = dict(dotted_values(read_yaml(run / CONFIG_FILE))).get("runner.init_from")
    except UserError:
        return None
    return resolve(str(begin)).resolve() if begin else None
