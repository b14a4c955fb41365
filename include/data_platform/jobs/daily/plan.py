"""What one run of the daily pipeline is to do: for which day, over which days, at which sites, into which stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any, Self

from data_platform.errors import ConfigurationError
from data_platform.managers.storage_mode import StorageMode
from data_platform.models.days import Days, day_of, utc_now

__all__ = ["DayOptions", "DayPlan", "plan_day"]

_SUNDAY = 6
#: What one site may take, in seconds: at least, for each day of the window, and at most.
_SITE_S, _SITE_S_A_DAY, _MOST_SITE_S = 600.0, 50.0, 1500.0


@dataclass(frozen=True, kw_only=True)
class DayOptions:
    """What a run may be asked for; what is left out is as every day.

    Attributes:
        first: first São Paulo day that is collected, ISO; "" for as every day.
        last: last one; "" for the run date.
        sites: keys of sites, inactive ones too; none for every active one.
        skip_enrichment: whether nobody is asked for themes and summaries.
        overlap_days: days before the run date that are collected again: what was published late in the evening, or
            corrected, is met there.
        wide_days: the same on Sundays, for articles that were dated back.
        late_days: days before, whose rows without theme or summary are enriched too.
        groups: parts that the sites are divided into, one task each.
        min_coverage: share of sites that must have been read, 0 to 1; below, the run fails.
        deadline_s: how long themes and summaries are waited for, in seconds.

    Raises:
        ConfigurationError: a value is none of those allowed.
    """

    first: str = ""
    last: str = ""
    sites: Sequence[str] = ()
    skip_enrichment: bool = False
    overlap_days: int = 2
    wide_days: int = 30
    late_days: int = 14
    groups: int = 8
    min_coverage: float = 0.8
    deadline_s: float = 1200.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_coverage <= 1:
            raise ConfigurationError(f"min_coverage is {self.min_coverage}", hint="give a share from 0 to 1")
        if min(self.overlap_days, self.wide_days, self.late_days) < 0 or self.groups < 1:
            raise ConfigurationError("days and groups are counted from 0 and 1", hint="look at the form again")


@dataclass(frozen=True, kw_only=True)
class DayPlan:
    """What a run does, resolved once, in its first task.

    Attributes:
        run_date: the São Paulo day that it is for.
        first: first day that is collected.
        last: last one.
        mode: which stores are written and read.
        groups: keys of the sites of each scraping task.
        options: what was asked for.
    """

    run_date: date
    first: date
    last: date
    mode: StorageMode
    groups: Sequence[Sequence[str]]
    options: DayOptions = field(default_factory=DayOptions)

    @property
    def window(self) -> Days:
        """The days that are collected."""
        return Days.of(self.first.isoformat(), self.last.isoformat())

    @property
    def sites(self) -> int:
        """How many sites are collected."""
        return sum(map(len, self.groups))

    @property
    def part(self) -> str:
        """Of what part of the day's news this is, in words; "" if it is of all of it, as a reader waits for it."""
        if self.options.sites:
            return f"only {', '.join(self.options.sites)}"
        return "" if self.first <= self.run_date <= self.last else f"only {self.first} to {self.last}"

    @property
    def site_seconds(self) -> float:
        """How long one site may take: a wide window has many more articles, all at the same pace.

        Sixteen sites of twenty are read at once, so a group takes twice that at most, and ends before its task's hour.
        """
        days = (self.last - self.first).days + 1
        return min(_MOST_SITE_S, max(_SITE_S, _SITE_S_A_DAY * days))

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return {
            "run_date": self.run_date.isoformat(),
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "mode": self.mode.to_dict(),
            "groups": [list(group) for group in self.groups],
            "options": asdict(self.options) | {"sites": list(self.options.sites)},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(
            run_date=date.fromisoformat(values["run_date"]),
            first=date.fromisoformat(values["first"]),
            last=date.fromisoformat(values["last"]),
            mode=StorageMode.from_dict(values["mode"]),
            groups=tuple(tuple(group) for group in values["groups"]),
            options=DayOptions(**{**values["options"], "sites": tuple(values["options"]["sites"])}),
        )


def plan_day(run_date: date, mode: StorageMode, options: DayOptions, *, sites_source: str = "") -> DayPlan:
    """Plan a run.

    Args:
        run_date: the São Paulo day that it is for.
        mode: which stores are written and read.
        options: what was asked for.
        sites_source: path or URL of site_urls.yaml; "" for the shipped one.

    Raises:
        ConfigurationError: a day is none or the run date lies ahead, the days are in the wrong order, or there is no
            such site.
        SourceError, SourceUnavailableError: the list of sites cannot be used.
    """
    from data_platform.jobs.scraper.catalogue import choose_sites, load_sites

    if run_date > (today := day_of(utc_now())):
        raise ConfigurationError(
            f"the run date {run_date} lies ahead: today is {today} in São Paulo", hint="give a day up to today"
        )
    back = options.wide_days if run_date.weekday() == _SUNDAY else options.overlap_days
    last = _day(options.last, "last") or run_date
    first = _day(options.first, "first") or min(last, run_date - timedelta(days=back))
    if first > last:
        raise ConfigurationError(f"the first day, {first}, is after the last, {last}", hint="swap them")
    keys = [site.key for site in choose_sites(load_sites(sites_source), options.sites)]
    # Dealt out in turn, so that no task gets all the large ones that stand together.
    count = min(options.groups, len(keys)) or 1
    groups = tuple(tuple(keys[number::count]) for number in range(count))
    return DayPlan(run_date=run_date, first=first, last=last, mode=mode, groups=groups, options=options)


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{name} is {text!r}, which is no day", hint="write it as YYYY-MM-DD") from None
