"""The files that start workers elsewhere: each is of its kind, and no command, option or variable in it is invented."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from conftest import BatchJob
from test_docs import ROOT, parse

from batchjob.settings.endpoint import KEY_VARIABLES
from batchjob.settings.jobfile import settings

LAUNCH = ROOT / "docs" / "guides" / "launch"
FILES = {"Dockerfile", "Dockerfile.dockerignore", "kubernetes-job.yaml", "slurm-array.sh", "batchjob@.service"}
VARIABLES = {*KEY_VARIABLES, "PGPASSWORD", *(name for setting in settings() for name in setting.about.env)}
INSTRUCTIONS = {"FROM", "COPY", "RUN", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
ENOUGH = next(setting.default for setting in settings() if setting.name == "timeout") + 10
"""Seconds in which a worker that is told to end has its answers."""


def read(name: str) -> str:
    return (LAUNCH / name).read_text(encoding="utf-8")


def check_command(words: list[str]) -> None:
    assert words[0].rpartition("/")[2] == "batchjob"
    assert words[1] == "work"
    try:
        parse(words[1:])
    except click.UsageError as error:
        pytest.fail(f"{shlex.join(words)}: {error.format_message()}")


def test_there_are_these_files_and_they_name_no_variable_that_nobody_reads() -> None:
    assert {file.name for file in LAUNCH.iterdir()} == FILES
    for name in FILES:
        assert set(re.findall(r"\b(?:BATCHJOB|OPENAI|TOKENHUB|PG)[A-Z_]+\b", read(name))) <= VARIABLES, name


def kubernetes() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load(read("kubernetes-job.yaml"))
    return job


def test_the_kubernetes_job_runs_workers_until_one_says_that_all_is_done() -> None:
    job = kubernetes()
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["parallelism"] > 1
    assert "completions" not in spec
    assert pod["restartPolicy"] == "OnFailure"
    assert pod["terminationGracePeriodSeconds"] >= ENOUGH
    (worker,) = pod["containers"]
    check_command(["batchjob", *worker["args"]])
    for variable in worker["env"]:
        assert variable["name"] in VARIABLES
        secret = variable["name"] == "PGPASSWORD" or variable["name"] in KEY_VARIABLES
        assert ("secretKeyRef" in variable.get("valueFrom", {})) is secret


def test_the_image_runs_the_command_and_no_shell_that_swallows_its_signals() -> None:
    lines = [line for line in read("Dockerfile").splitlines() if line and not line.startswith("#")]
    given = dict(line.split(" ", 1) for line in lines)
    assert given.keys() <= INSTRUCTIONS
    assert json.loads(given["ENTRYPOINT"]) == ["batchjob"]
    assert json.loads(given["CMD"]) == ["--help"]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"\[(\w+)\]", given["RUN"])) == {"postgres"} <= extras.keys()
    python = re.fullmatch(r"python:3\.(\d+)-slim", given["FROM"])
    assert python
    assert f"Programming Language :: Python :: 3.{python[1]}" in (ROOT / "pyproject.toml").read_text()
    assert {".git", ".venv"} <= set(read("Dockerfile.dockerignore").split())


def test_the_slurm_array_gives_each_worker_time_to_end() -> None:
    text = read("slurm-array.sh")
    assert subprocess.run(["bash", "-n", LAUNCH / "slurm-array.sh"], check=False).returncode == 0
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.MULTILINE))
    assert len(options) == text.count("#SBATCH")
    signal, _, seconds = options["signal"].partition("@")
    assert (signal, int(seconds) >= ENOUGH) == ("TERM", True)
    (line,) = re.findall(r"^srun (.*)$", text, re.MULTILINE)
    check_command(shlex.split(line))


def test_the_unit_begins_a_worker_again_unless_a_person_is_needed(tmp_path: Path) -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None, delimiters="=")
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    unit.read_string(read("batchjob@.service"))
    service = unit["Service"]
    check_command(shlex.split(service["ExecStart"]))
    assert service["KillSignal"] == "SIGTERM"
    assert float(service["TimeoutStopSec"]) >= ENOUGH
    codes = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    for name in ("SuccessExitStatus", "RestartPreventExitStatus"):
        assert all(f"| {code} |" in codes for code in service[name].split())
    if shutil.which("systemd-analyze"):
        here = re.sub(r"ExecStart=\S+", f"ExecStart={shutil.which('true')}", read("batchjob@.service"))
        (tmp_path / "batchjob@.service").write_text(here)
        asked = ["systemd-analyze", "verify", str(tmp_path / "batchjob@.service")]
        verified = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
        assert "batchjob@" not in verified.stderr, verified.stderr


@pytest.mark.parametrize("place", ["dask:8", "ray:0"])
def test_another_engine_or_number_is_refused_with_what_can_be_given(batchjob: BatchJob, place: str) -> None:
    ended = batchjob("work", "--on", place)
    assert (ended.code, f"--on {place}: give ray:N" in ended.err) == (2, True)


def test_the_line_for_cron_passes_the_key_on(tmp_path: Path) -> None:
    guide = (LAUNCH.parent / "nightly-job.md").read_text()
    (line,) = [line for line in guide.splitlines() if line.startswith("15 2 * * *")]
    (tmp_path / "env").write_text("OPENAI_API_KEY=sk-night\n")
    entered = line.partition("  ")[2].partition("/srv/labels/.venv")[0].replace("/srv/labels", str(tmp_path))
    ran = subprocess.run(["sh", "-c", f"{entered} printenv OPENAI_API_KEY"], env={}, capture_output=True, text=True)
    assert ran.stdout == "sk-night\n"
