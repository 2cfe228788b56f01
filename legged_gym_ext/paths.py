"""Where the checkout's own files are: task configurations, robot descriptions and run folders."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
LOGS = ROOT / "logs"


def resolve(path: str | Path) -> Path:
    """Return ``path`` itself where it is absolute or exists here, else the same path below the checkout's top."""
    path = Path(path).expanduser()
    return path if path.is_absolute() or path.exists() else ROOT / path
