"""SandboxSettings: what the sandbox does, and what it does wrong."""

from __future__ import annotations

from typing import Literal

import msgspec

from batchjob.errors import SettingError
from batchjob.sandbox.faults import FAULTS
from batchjob.sandbox.tongues import TONGUES
from batchjob.task.patterns import Pattern

WindowKind = Literal["fixed", "sliding"]


class SandboxSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a sandbox. Durations are seconds.

    Raises:
        SettingError: a value is out of range, a fault is unknown or the poison is no regular expression.
    """

    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    latency: tuple[float, float] = (0.0, 0.0)  # the shortest and the longest
    rpm: int = 0  # requests per window; 0: no limit
    tpm: int = 0  # tokens per window; 0: no limit
    window_seconds: float = 60.0
    window_kind: WindowKind = "fixed"
    faults: dict[str, float] = {}  # kind -> share of the requests, 0 to 1
    retry_after_seconds: float = 1.0  # what the faults 429 and 503 ask for
    poison: str | None = None  # a row that matches this gets poison_fault, always
    poison_fault: str = "content_filter"
    poison_model: str | None = None  # only where this model is asked
    seed: int = 0  # of chance: faults and latency
    idempotent: bool = False  # a repeated Idempotency-Key replays the answer and is not billed
    remembered_keys: int = 100_000
    ledger: str | None = None
    api_key: str | None = None  # None: any, or none
    models: tuple[str, ...] = ()  # empty: any
    labels: tuple[str, ...] = ()  # used where a prompt lists none
    tongue: str = ""  # a key of TONGUES: speaks as that provider does

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_faults()
        if self.tongue and self.tongue not in TONGUES:
            raise SettingError(f"unknown provider {self.tongue!r}: one of {', '.join(TONGUES)}")
        if self.poison is not None:
            Pattern("poison", self.poison, any_case=False)

    def _check_numbers(self) -> None:
        low, high = self.latency
        if not 0 <= low <= high:
            raise SettingError(f"latency {low:g}-{high:g}: give the shortest first, in seconds, such as 0.05-0.1")
        if not self.host.strip():
            raise SettingError("a blank host is no address: give one of this machine, or 0.0.0.0 for all of them")
        if not 0 <= self.port <= 65535:
            raise SettingError(f"port {self.port} is not between 0 and 65535")
        if self.rpm < 0 or self.tpm < 0:
            raise SettingError("rpm and tpm count requests and tokens per window: 0 or more, 0 is no limit")
        if not self.window_seconds > 0:
            raise SettingError(f"window {self.window_seconds:g}: give more than 0 seconds")

    def _check_faults(self) -> None:
        for kind in (*self.faults, self.poison_fault):
            if kind not in FAULTS:
                raise SettingError(f"unknown fault {kind!r}: one of {', '.join(FAULTS)}")
        if any(not 0 <= rate <= 1 for rate in self.faults.values()) or sum(self.faults.values()) > 1 + 1e-9:
            raise SettingError("the rates of the faults are shares of all requests: each 0 to 1, and 1 at most in sum")
