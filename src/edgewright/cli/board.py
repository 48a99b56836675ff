"""The state of a running job: its variants, the running stages and the time left."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgewright.core.store import MANIFEST, default_root
from edgewright.pipeline.stages.runner import Row

FROM_STORE = "from the store"
NEWEST = 8
"""How many stored results of a stage give its mean time."""
ENOUGH = 0.1
"""From this share of a stage on, its own progress gives the time left."""


@dataclass
class Work:
    """A stage that has been running since `begin` (seconds), with `done` of `total` steps (0: unknown)."""

    stage: str
    what: str
    begin: float
    done: int = 0
    total: int = 0
    step: str = ""

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1; None if unknown."""
        return min(self.done / self.total, 1.0) if self.total > 0 else None

    def left_s(self, now: float) -> float | None:
        """Seconds left by its own progress; None if it is too early to say."""
        share = self.share
        return (now - self.begin) * (1 - share) / share if share is not None and share >= ENOUGH else None


class Left(NamedTuple):
    """Seconds left; `at_least`: more work may follow."""

    seconds: float
    at_least: bool


@dataclass
class Board:
    """Rows by id, running stages, and how long stages take. Times are in seconds of one clock.

    `before`: the seconds that a stage took in earlier runs; None if unknown. `within_s`: the time limit of the run.
    """

    begin: float
    before: Callable[[str], float | None]
    within_s: float | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    works: dict[tuple[str, str], Work] = field(default_factory=dict)
    stored: int = 0
    """Stages whose results were in the store."""
    _seconds: dict[str, list[float]] = field(default_factory=dict)
    _over: set[tuple[str, str]] = field(default_factory=set)
    _busy: float = 0.0
    _wall: float = 0.0
    _since: float = 0.0

    @property
    def finished(self) -> int:
        """Finished stages, including those from the store."""
        return self.stored + sum(map(len, self._seconds.values()))

    def step(self, stage: str, what: str, done: int, total: int, step: str, now: float) -> Work:
        """Record a step and return its work, which is removed when it is finished."""
        key = (stage, what)
        if not self.works:
            self._since = now
        work = self.works.setdefault(key, Work(stage, what, now))
        work.done, work.total, work.step = done, total, step
        if total > 0 and done >= total:
            del self.works[key]
            self._over.add(key)
            self._busy += now - work.begin
            if not self.works:
                self._wall += now - self._since
            if step.startswith(FROM_STORE):
                self.stored += 1
            else:
                self._seconds.setdefault(stage, []).append(now - work.begin)
        return work

    def row(self, row: Row) -> None:
        """Record a row; a latency from screening stays until there is another."""
        known = self.rows.get(row.id)
        if known is None and row.state not in ("waiting", "reference", "skipped"):
            return  # from a nested job that builds a variant of its own
        if known and row.p50_ms is None:
            row = msgspec.structs.replace(row, p50_ms=known.p50_ms)
        self.rows[row.id] = row

    def at_work(self, row: Row) -> Work | None:
        """The stage that is running for a variant now."""
        works = [self.works[key] for key in ((stage, row.id) for stage, _ in self.works) if key in self.works]
        works += [self.works[key] for key in row.ahead[:1] if key in self.works]  # its model, which variants share
        return works[0] if works else None

    def left_s(self, now: float) -> Left | None:
        """The time until all known work is done; None if nothing is known."""
        ahead = {key for row in self.rows.values() for key in row.ahead if not self._is_over(key)}
        known = [work.left_s(now) or self._rest(work, now) for work in self.works.values()]
        known += [self._expected(stage) for stage, _ in ahead]
        times = [seconds for seconds in known if seconds is not None]
        if not times:
            return None
        seconds = sum(times) / self._side_by_side(now)
        if self.within_s is not None and seconds > (most := max(self.begin + self.within_s - now, 0.0)):
            return Left(most, False)
        return Left(seconds, not self.rows or ("latency", "") in ahead or len(times) < len(known))

    def _is_over(self, key: tuple[str, str]) -> bool:
        """Whether a stage is finished or running; a key without a name matches any work of that stage."""
        stage, what = key
        known = {*self._over, *self.works}
        return key in known or (not what and any(stage == other for other, _ in known))

    def _rest(self, work: Work, now: float) -> float | None:
        expected = self._expected(work.stage)
        return None if expected is None else max(expected - (now - work.begin), 0.1 * expected)

    def _expected(self, stage: str) -> float | None:
        """Seconds that a stage takes, from this run or earlier ones; less if many results came from the store."""
        own = self._seconds.get(stage)
        seconds = statistics.fmean(own) if own else self.before(stage)
        if seconds is None or self.finished < 3:
            return seconds
        return seconds * (1 - self.stored / self.finished)

    def _side_by_side(self, now: float) -> float:
        """How many stages ran at the same time, on average."""
        busy = self._busy + sum(now - work.begin for work in self.works.values())
        wall = self._wall + (now - self._since if self.works else 0.0)
        return max(busy / wall, 1.0) if wall > 0 else 1.0


class _Took(msgspec.Struct):
    seconds: float


def took_before(stage: str, root: Path | None = None) -> float | None:
    """Mean seconds of the newest results of `stage` in the store; None if it has none."""
    if not re.fullmatch(r"[\w-]+", stage):
        return None
    try:
        found = sorted((root or default_root()).glob(f"{stage}/*/{MANIFEST}"), key=lambda path: -path.stat().st_mtime)
        times = [msgspec.json.decode(path.read_bytes(), type=_Took).seconds for path in found[:NEWEST]]
    except (OSError, msgspec.MsgspecError):
        return None
    return statistics.fmean(times) if times else None
