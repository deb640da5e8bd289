"""batchjob doctor: what a job rests on, a line each: what is fine, what is not, and what to do.

Each subject is a module here. A check gives findings and writes nothing.
"""

from __future__ import annotations

import click

from batchjob.cli.doctor.database import check_database
from batchjob.cli.doctor.disk import check_disk
from batchjob.cli.doctor.endpoint import check_endpoint
from batchjob.cli.doctor.finding import PROBLEM, WARNING, Finding
from batchjob.cli.doctor.machine import check_machine
from batchjob.cli.doctor.settings import endpoint_asked, read_settings
from batchjob.cli.options import database, named_options
from batchjob.cli.show import show_lines
from batchjob.numbers import counted


@click.command("doctor")
@named_options(
    "db",
    "config",
    "base_url",
    "model",
    "api_key_env",
    "provider",
    base_url="Endpoint  [default: of job.toml, environment or the latest job]",
)
def command(db: str | None, config: str | None, **flags: str | None) -> int:
    """Check Python, SQLite, the database, the disk and the endpoint.

    Nothing is written and nothing is paid for: the endpoint is asked only for its list of models.
    """
    written, findings = read_settings(config)
    url = database(db, configured=written.get("db"))
    asked, unclear = endpoint_asked(written, flags, url)
    findings = [*check_machine(), *findings, *check_database(url), *check_disk(url), *unclear]
    if asked is not None:
        findings += check_endpoint(asked)
    show_lines([f"{finding.level:<8}  {finding.about:<11} {finding.text}" for finding in findings])
    show_lines(["", _verdict(findings)])
    return int(any(finding.level == PROBLEM for finding in findings))


def _verdict(findings: list[Finding]) -> str:
    counts = [(sum(finding.level == level for finding in findings), level) for level in (PROBLEM, WARNING)]
    return ", ".join(counted(count, level) for count, level in counts if count) or "all is well"
