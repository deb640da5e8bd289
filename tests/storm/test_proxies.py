"""`make storm-proxies`: storms whose endpoint stands behind nginx or HAProxy. SEED as in test_storm.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from storm.harness import Blow, Plan, World, storm
from storm.proxies import PROXIES, Behind
from storm.test_storm import SEED, told_table

pytestmark = [pytest.mark.storm, pytest.mark.timeout(600)]


@pytest.mark.parametrize("mode", ["resend", "hold", "idempotent", "resend, faults", "hold, faults"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_behind_a_proxy_no_storm_of_kills_loses_a_label_or_pays_twice(tmp_path: Path, proxy: str, mode: str) -> None:
    if PROXIES[proxy] is None:
        pytest.skip(f"{proxy} is not installed, so nothing was tried behind it (Debian: apt-get install {proxy})")
    kills = tuple(Blow("kill", "request", 0.15 + 0.1 * n, export=n == 2) for n in range(5))
    plan = Plan(SEED, mode, 600, ".csv", 8, (0.02, 0.05), kills)
    with World(tmp_path, plan, endpoint=Behind(proxy, tmp_path / "endpoint", plan)) as world:
        told = storm(world)
    print(told_table([told]), flush=True)
    assert told.objections == []
    assert told.blows["kill"] >= 3
