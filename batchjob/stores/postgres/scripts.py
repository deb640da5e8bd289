"""The migrations' files: inside the package when installed, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).resolve().parents[2] / "migrations" / "postgres"
_CHECKOUT = Path(__file__).resolve().parents[3] / "migrations" / "postgres"


def migrations() -> list[Path]:
    """Them in order."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    return sorted(folder.glob("[0-9]*.sql"))


def read(file: Path) -> str:
    """The statements of one."""
    return file.read_text(encoding="utf-8")
