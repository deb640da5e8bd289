"""What is built works where there is no checkout: the migrations, queries, prices and examples are inside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from release_check import problems_of_the_changelog

ROOT = Path(__file__).resolve().parent.parent
INSIDE = (
    "batchjob/migrations/sqlite/0001_initial.sql",
    "batchjob/stores/sqlite/queries.sql",
    "batchjob/money/prices.toml",
    "batchjob/py.typed",
    "batchjob/examples/tickets.csv",
    "batchjob/examples/labels.txt",
    "batchjob/examples/README.md",  # the licence of the texts
    "batchjob/sandbox/banking77.tsv",
    "batchjob/page/static/index.html",
    "batchjob/page/static/vendor/preact-htm.js",
    "batchjob/page/static/vendor/LICENSE.preact",
)
VENDOR = "batchjob/page/static/vendor"
LICENCES = ("LICENSE", f"{VENDOR}/LICENSE.htm", f"{VENDOR}/LICENSE.preact", "examples/README.md")
IN_SOURCE = (
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "Makefile",
    "migrations/sqlite/0001_initial.sql",
    "docs/explained/guarantee.md",
)


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, f"{command}:\n{ended.stdout}{ended.stderr}"
    return ended


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (packed,) = folder.glob("*.tar.gz")
    run(sys.executable, "-m", "tarfile", "-e", packed, folder, cwd=folder)
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made of the source distribution, as an installer makes it."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    (built,) = folder.glob("*.whl")
    return built


def test_the_source_distribution_holds_all_it_takes(source: Path) -> None:
    assert [name for name in IN_SOURCE if not (source / name).is_file()] == []


def test_the_wheel_holds_what_is_read_at_run_time_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in INSIDE if name not in names] == []
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"batchjob"}


def test_the_licences_of_all_that_is_inside_are_named_and_there(wheel: Path, source: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        (metadata,) = [name for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
        told = opened.read(metadata).decode()
        inside = opened.namelist()
    for told_in in (told, (source / "PKG-INFO").read_text()):
        assert "\nLicense-Expression: Apache-2.0 AND MIT AND CC-BY-4.0\n" in told_in
        assert set(re.findall(r"^License-File: (.*)$", told_in, re.MULTILINE)) == set(LICENCES)
    assert [name for name in LICENCES if not (source / name).is_file()] == []
    folder = metadata.removesuffix("METADATA") + "licenses/"
    assert [name for name in LICENCES if folder + name not in inside] == []
    vendored = {name.removeprefix("batchjob/page/static/vendor/") for name in inside if "/vendor/" in name}
    assert {name for name in vendored if "licenses" not in name} == {"preact-htm.js", "LICENSE.htm", "LICENSE.preact"}


def test_the_changelog_is_in_the_words_of_keep_a_changelog() -> None:
    assert problems_of_the_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")) == []
    said = problems_of_the_changelog("## [9.9.9] - soon\n\n### Mended\n")
    assert len(said) == 3, said


def test_the_installed_wheel_labels_its_example_far_from_any_checkout(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=tmp_path)
    python = place / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).stdout.strip()
    )
    # Dependencies come from here. A .pth file that lies in a folder added so is not read: no editable install.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHJOB_", "PYTHONPATH"))}
    where = run(python, "-c", "import batchjob; print(batchjob.__file__)", cwd=tmp_path, env=clean).stdout
    assert where.startswith(str(packages))
    run(
        *("bash", "-c", "eval \"$(batchjob example | grep '^  batchjob start ')\""),
        cwd=tmp_path,
        env={**clean, "PATH": f"{place / 'bin'}{os.pathsep}{clean['PATH']}"},
    )
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[0] == "id,text,gold,label,source,state,error"
    assert len(lines) == 301
    assert all(",model,done," in line for line in lines[1:])


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
def test_make_run_needs_no_tool_of_the_tests_and_says_what_to_do_where_pip_fails(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    make = ("make", "-C", str(tmp_path), f"PYTHON={sys.executable}")
    tools = run(*make, "--dry-run", "lint", cwd=tmp_path).stdout
    assert "--group dev " in tools
    assert "--only-binary :all: --group dev-glibc || \\\n\techo" in tools
    assert "--group dev" not in run(*make, "--dry-run", "run", cwd=tmp_path).stdout
    nothing_to_install_from = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    ended = subprocess.run([*make, "run"], env=nothing_to_install_from, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "takes gcc and Python's headers (on Debian and Ubuntu, gcc and python3-dev)" in ended.stdout
    assert not (tmp_path / ".venv" / ".runs").exists()
