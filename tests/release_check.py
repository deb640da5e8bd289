"""Whether a release could be made now. `python tests/release_check.py` (make release-check) says so, and why not.

The source distribution is built, a wheel is made of it, and it is installed with its dependencies and run on every
interpreter that pyproject.toml allows and this machine has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints; how it failed, as a CalledProcessError."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHJOB_", "PYTHONPATH"))}
    ended = subprocess.run(
        [*map(str, command)], cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return ended.stdout


def interpreters() -> dict[str, Path]:
    """The pythons of this machine that may run it, by version: those on the PATH, and pyenv's."""
    minors = [name.rsplit(" ", 1)[1] for name in PROJECT["classifiers"] if "Python :: 3." in name]
    found: dict[str, Path] = {}
    pyenv = [str(path) for path in (Path.home() / ".pyenv" / "versions").glob("3.*/bin")]
    for minor in minors:
        for folder in (None, *pyenv):
            path = shutil.which(f"python{minor}", path=folder)
            asked = path and subprocess.run([path, "-c", "import ensurepip"], capture_output=True, check=False)
            if path and asked and asked.returncode == 0:
                found.setdefault(minor, Path(path))
    return found


def built(folder: Path) -> Path:
    """A wheel, made of the source distribution as an installer makes it."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (packed,) = folder.glob("*.tar.gz")
    run(sys.executable, "-m", "tarfile", "-e", packed, folder / "source", cwd=folder)
    (source,) = (folder / "source").iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def labels_its_example(python: Path, wheel: Path, folder: Path) -> None:
    """Install the wheel with its dependencies, and do as `batchjob example` says."""
    folder.mkdir()
    run(python, "-m", "venv", folder / "venv", cwd=folder)
    bin_ = folder / "venv" / "bin"
    run(bin_ / "python", *INSTALL, wheel, cwd=folder)
    path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
    run("bash", "-c", "eval \"$(batchjob example | grep '^  batchjob start ')\"", cwd=folder, PATH=path)
    rows = (folder / "labels.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(rows) == 300, f"{len(rows)} rows"
    assert all(",model,done," in row for row in rows)
    version = run(bin_ / "batchjob", "--version", cwd=folder)
    assert PROJECT["version"] in version, version


def problems_of_the_changelog(text: str) -> list[str]:
    """What stands between a changelog and a release, by the rules of Keep a Changelog."""
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    first = headings[0] if headings else ""
    problems = [f"CHANGELOG.md: '{words}' is no heading there" for words in sorted(_kinds(text) - KINDS)]
    if first != "[Unreleased]" and not re.fullmatch(rf"\[{re.escape(PROJECT['version'])}\] - \d{{4}}-\d\d-\d\d", first):
        problems.append(f"CHANGELOG.md begins neither with [Unreleased] nor with [{PROJECT['version']}] - DATE")
    if "**Upgrading**" not in text.partition("### ")[0]:
        problems.append("CHANGELOG.md: before the first list, **Upgrading** says what one has to do")
    return problems


def _kinds(text: str) -> set[str]:
    return set(re.findall(r"^### (.*)$", text, re.MULTILINE))


def main() -> int:
    """The exit code: 0 where a release could be made."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    problems = problems_of_the_changelog(changelog)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = built(folder)
        print(f"built     {wheel.name}, {wheel.stat().st_size / 1024:,.0f} KB")
        for minor, python in interpreters().items():
            try:
                labels_its_example(python, wheel, folder / minor)
                print(f"python    {minor}: installed, and labelled its example")
            except (AssertionError, subprocess.CalledProcessError) as error:
                problems.append(f"Python {minor}: {getattr(error, 'stderr', '') or error}")
    if "## [Unreleased]" in changelog:
        print(f"that day  CHANGELOG.md: [Unreleased] becomes [{PROJECT['version']}] - {date.today()}")
    for problem in problems:
        print(f"not yet   {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
