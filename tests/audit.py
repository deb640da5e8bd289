"""`make audit`: what batchjob installs, against known weaknesses.

pip-audit is asked about the lowest versions that pyproject.toml allows and about those that are installed. Where its
service does not answer, tests/advisories.toml does, which is kept by hand and says of which day it is. Exits with 1
where a version has a weakness that can be reached through batchjob.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

from packaging.version import Version

sys.path.insert(0, str(Path(__file__).resolve().parent))

from compat import ROOT, floors

PLACE = ROOT / "out" / "audit"
KEPT = Path(__file__).with_name("advisories.toml")


class Weakness(NamedTuple):
    """A version of a package with something known against it."""

    package: str
    version: str
    said: str
    not_ours: str = ""


def installed() -> dict[str, str]:
    """All that is installed beside this, without batchjob."""
    found = {dist.metadata["Name"].lower(): dist.version for dist in distributions()}
    found.pop("batchjob", None)
    return found


def kept() -> dict[str, Any]:
    """The list that is kept by hand."""
    return tomllib.loads(KEPT.read_text(encoding="utf-8"))


def by_list(versions: Mapping[str, str], known: Mapping[str, Any]) -> Iterator[Weakness]:
    """What the list has against these versions."""
    for advisory in known["advisory"]:
        version = versions.get(advisory["package"])
        if version is not None and Version(version) < Version(advisory["fixed"]):
            said = (
                f"{', '.join(advisory['ids'])}: {advisory['what']}; fixed in {advisory['fixed']} ({advisory['source']})"
            )
            yield Weakness(advisory["package"], version, said, advisory.get("not_ours", ""))


def answered(document: str, known: Mapping[str, Any]) -> list[Weakness] | None:
    """What pip-audit found, by its JSON; None where it left packages out: it calls that no weakness."""
    try:
        told = json.loads(document)["dependencies"]
    except ValueError:
        return None
    if any("skip_reason" in one for one in told):
        return None
    reasons = {name: one.get("not_ours", "") for one in known["advisory"] for name in one["ids"]}
    return [
        Weakness(
            one["name"],
            one["version"],
            f"{weak['id']} {' '.join(weak['aliases'])}; fixed in {', '.join(weak['fix_versions']) or 'no version yet'}",
            next((reasons[name] for name in (weak["id"], *weak["aliases"]) if reasons.get(name)), ""),
        )
        for one in told
        for weak in one["vulns"]
    ]


def by_service(versions: Mapping[str, str], known: Mapping[str, Any]) -> list[Weakness] | None:
    """What pip-audit's service has against these versions; None where it does not answer."""
    python = PLACE / "bin" / "python"
    listed = PLACE / "versions.txt"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", PLACE], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "pip-audit"], check=True)
        listed.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
        asked = [python, "-m", "pip_audit", "-r", listed, "--no-deps", "--disable-pip", "-f", "json"]
        ended = subprocess.run(
            [*asked, "--progress-spinner", "off"], capture_output=True, text=True, timeout=300, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answered(ended.stdout, known)


def main() -> int:
    """Ask about both; the exit code."""
    known, red = kept(), False
    for name, versions in (("lowest versions allowed", floors()), ("installed", installed())):
        found = by_service(versions, known)
        by = "pip-audit" if found is not None else f"the kept list of {known['date']}, as pip-audit's service is silent"
        found = list(by_list(versions, known)) if found is None else found
        print(f"{name}: {len(versions)} packages, {len(found)} known weaknesses, by {by}")
        for weak in found:
            print(
                f"  {weak.package} {weak.version}: {weak.said}" + (f"; not ours: {weak.not_ours}" * bool(weak.not_ours))
            )
        red |= any(not weak.not_ours for weak in found)
    return int(red)


if __name__ == "__main__":
    raise SystemExit(main())
