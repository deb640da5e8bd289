"""Jobs for the page, made once."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.page.jobs import make_jobs

if TYPE_CHECKING:
    from tests.conftest import BatchJob


@pytest.fixture(scope="session")
def made_jobs(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type) -> BatchJob:
    """A folder with a database of jobs that have something in every queue. It stays as it is."""
    batchjob: BatchJob = batchjob_in(tmp_path_factory.mktemp("made"))
    make_jobs(batchjob)
    return batchjob


@pytest.fixture(scope="module")
def jobs(made_jobs: BatchJob, tmp_path_factory: pytest.TempPathFactory, batchjob_in: type) -> BatchJob:
    """A copy of it for the tests of a file."""
    folder = tmp_path_factory.mktemp("jobs") / "copy"
    shutil.copytree(made_jobs.folder, folder)
    batchjob: BatchJob = batchjob_in(folder)
    return batchjob
