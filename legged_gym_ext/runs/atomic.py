"""Writing a file so that it is either whole or what it was before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from legged_gym_ext.errors import UserError


def write_file(path: Path, content: str | bytes) -> None:
    """Write ``content``, text as UTF-8, making the folder where there is none.

    Raises:
        UserError: The file cannot be written. Nothing is left behind.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
