"""The tests of the wire, with the oldest and with the newest of every dependency that pyproject.toml allows.

    python tests/compat.py [--all] [ARGUMENTS OF PYTEST...]

--all takes all tests, not those of the wire alone.
Each has an environment of its own under out/compat, made anew with pip. Exits with 1 where a test is red.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: needs for name, needs in PROJECT["optional-dependencies"].items() if name != "ray"}
"""Ray takes 300 MB, and these tests do not come by it."""
PLACE = ROOT / "out" / "compat"
TESTS = ("tests/test_client.py", "tests/test_faults.py")
FLOOR = re.compile(r"([\w-]+)>=([\w.]+)")


def floors() -> dict[str, str]:
    """Each dependency's name and the lowest version of it, extras included."""
    found = {}
    for text in chain(PROJECT["dependencies"], *EXTRAS.values()):
        match = FLOOR.match(text)
        if match is None:
            raise SystemExit(f"pyproject.toml: {text} has no lower bound")
        found[match[1]] = match[2]
    return found


def make(name: str, pins: dict[str, str]) -> Path:
    """An environment's Python, with the package, its extras and the tools of the tests."""
    place = PLACE / name
    subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
    python = place / "bin" / "python"
    constraints = place / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
    extras = f"{ROOT}[{','.join(EXTRAS)}]"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)  # knows --group
    tools = ("--group", "dev", "--group", "dev-glibc")
    subprocess.run([*pip, "--constraint", constraints, "--editable", extras, *tools], cwd=ROOT, check=True)
    return python


def versions(python: Path) -> str:
    """What was installed of the dependencies."""
    ask = "import sys; from importlib.metadata import version; print(*(f'{n} {version(n)}' for n in sys.argv[1:]))"
    return subprocess.run([python, "-c", ask, *floors()], check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    arguments = sys.argv[1:]
    tests = () if "--all" in arguments else TESTS
    arguments = [argument for argument in arguments if argument != "--all"]
    red = False
    for name, pins in (("oldest", floors()), ("newest", {})):
        python = make(name, pins)
        print(f"{name}: {versions(python)}", flush=True)
        red |= subprocess.run([python, "-m", "pytest", *tests, *arguments], cwd=ROOT).returncode != 0
    return int(red)


if __name__ == "__main__":
    raise SystemExit(main())
