"""The job over a store in memory: what is picked, how long is waited, what is written, and the account of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from data_platform.errors import ConfigurationError, IntegrityError
from data_platform.jobs.enrichment.embedded import EmbeddedEnricher
from data_platform.jobs.enrichment.interface import Enrichment, Failure, Progress, Row, Ticket, ticket_of
from data_platform.jobs.enrichment.job import EnrichmentJob
from data_platform.jobs.enrichment.problems import EnricherUnavailableError
from data_platform.jobs.enrichment.provenance import ENRICHMENT, Provenance
from data_platform.jobs.enrichment.records import EnrichmentAccount, EnrichmentOutcome, Picked, Window
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.storage_mode import ReadSource
from data_platform.models.columns import COLUMN_NAMES
from data_platform.models.theme_cells import ThemeIndex
from data_platform.settings import Settings
from dev.cogfy_server import Answer
from tests.support.enrichment import ANSWER, CODES, TREE, cogfy, row
from tests.support.memory_store import MemoryStore

HERE = Settings(database_url="postgresql://u@127.0.0.1/d", hf_endpoint="http://127.0.0.1:1")
SIDES = (ReadSource.POSTGRES,)
WINDOW = Window(first=date(2026, 2, 10), last=date(2026, 2, 10), late_days=3)


@dataclass
class Scripted:
    """An enricher that does what a test says.

    Attributes:
        answers: unique_id -> (theme code, summary), or the word for a failure.
        looks: how often a row is asked for until it is ready.
        down: looks at which the service does not answer.
    """

    answers: Mapping[str, tuple[str | None, str | None] | str] = field(default_factory=dict)
    looks: Mapping[str, int] = field(default_factory=dict)
    down: set[int] = field(default_factory=set)
    approximate: bool = False
    name: str = "scripted"
    version: str = "1"
    waits: bool = True
    submitted: list[str] = field(default_factory=list)
    looked: int = 0
    finals: list[bool] = field(default_factory=list)

    def submit(self, rows: Sequence[Row]) -> Progress:
        self.submitted += [one["unique_id"] for one in rows]
        return self._say([ticket_of(one) for one in rows])

    def collect(self, tickets: Sequence[Ticket], *, final: bool = False) -> Progress:
        self.looked += 1
        self.finals.append(final)
        if self.looked in self.down:
            raise EnricherUnavailableError(f"down at look {self.looked}")
        return self._say(tickets)

    def close(self) -> None:
        pass

    def _say(self, tickets: Sequence[Ticket]) -> Progress:
        ready, pending, failed = [], [], []
        for ticket in tickets:
            said = self.answers.get(ticket.unique_id, ("01.01", "Um resumo."))
            if self.looked < self.looks.get(ticket.unique_id, 0):
                pending.append(ticket)
            elif isinstance(said, str):
                failed.append(Failure(ticket.unique_id, said))
            else:
                ready.append(
                    Enrichment(
                        unique_id=ticket.unique_id,
                        theme_code=said[0],
                        summary=said[1],
                        enricher=self.name,
                        version=self.version,
                        approximate=self.approximate,
                    )
                )
        return Progress(ready=tuple(ready), pending=tuple(pending), failed=tuple(failed))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore("memory")
    made.themes = ThemeIndex.of((n, t.code, t.label) for n, t in enumerate(TREE.by_code.values()))
    return made


@pytest.fixture
def provenance(tmp_path: Path) -> Provenance:
    return Provenance(RunLedger(str(tmp_path / "state")), run_date=date(2026, 2, 10))


Make = Callable[..., EnrichmentJob]


@pytest.fixture
def job(store: MemoryStore, provenance: Provenance) -> Make:
    clock = Clock()

    def make(enricher: Any, **options: Any) -> EnrichmentJob:
        return EnrichmentJob(
            enricher, store, CODES, **{"provenance": provenance, "clock": clock, "sleep": clock.sleep, **options}
        )

    return make


def columns(*given: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [one[name] for one in given] for name in COLUMN_NAMES}


def write(job: EnrichmentJob, outcome: EnrichmentOutcome, store: MemoryStore) -> int:
    return sum(done.updated for done in job.write_late(outcome, store, HERE, SIDES))


def test_rows_without_theme_or_summary_are_enriched_and_the_account_adds_up(job: Make, store: MemoryStore) -> None:
    whole = {"theme_1_level_1": "02 - Educação", "summary": "Pronto."}
    store.put(
        row("a"), row("b", summary="Meu resumo."), row("whole", **whole), row("early", days=-9), row("f"), row("n")
    )
    enricher = Scripted({"f": "no_valid_theme", "n": (None, None)})
    made = job(enricher)
    outcome = made.run(WINDOW)
    assert sorted(enricher.submitted) == ["a", "b", "f", "n"]
    assert outcome.account == EnrichmentAccount(
        enricher="scripted",
        picked=4,
        enriched=2,
        pending=0,
        failed=1,
        skipped=1,
        failed_by_reason={"no_valid_theme": 1},
        skipped_by_reason={"nothing_better": 1},
    )
    before = store.rows
    assert write(made, outcome, store) == 2
    after = store.rows
    assert after["a"]["theme_1_level_1"] == "01 - Economia e Finanças"
    assert after["a"]["most_specific_theme_code"] == "01.01"
    assert after["a"]["summary"] == "Um resumo."
    assert after["b"]["summary"] == "Meu resumo."
    assert {uid for uid in after if after[uid] != before[uid]} == {"a", "b"}
    again = made.run(WINDOW)
    assert again.account.enriched == 0
    assert write(made, again, store) == 0
    json.dumps(outcome.account.to_dict())


def test_an_account_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(IntegrityError, match="do not add up"):
        EnrichmentAccount(enricher="x", picked=3, enriched=1, pending=0, failed=1, skipped=0).checked()
    progress = Progress(pending=(ticket_of(row("a")),), failed=(Failure("a", "x"),))
    with pytest.raises(IntegrityError, match="given 1 rows and tells of 2"):
        progress.checked(["a"])


def test_rows_are_waited_for_until_the_deadline_and_the_late_ones_picked_up_on_later_days(
    job: Make, store: MemoryStore
) -> None:
    """Fault 39."""
    store.put(row("now"), row("soon"), row("late"))
    enricher = Scripted(looks={"soon": 2, "late": 99})
    outcome = job(enricher).run(WINDOW, deadline_s=100, poll_s=30)
    assert enricher.finals == [False, False, False, True]
    assert [t.unique_id for t in outcome.pending] == ["late"]
    assert (outcome.account.enriched, outcome.account.pending) == (2, 1)
    write(job(enricher), outcome, store)

    next_day = Scripted()
    later = Window(first=date(2026, 2, 12), last=date(2026, 2, 12), late_days=3)
    outcome = job(next_day).run(later)
    assert next_day.submitted == ["late"], "not only yesterday's"
    assert outcome.account.enriched == 1


def test_nobody_waits_for_an_enricher_that_does_not_get_ready_by_waiting(job: Make, store: MemoryStore) -> None:
    store.put(row("a"))
    enricher = Scripted(looks={"a": 1}, waits=False)
    outcome = job(enricher).run(WINDOW)
    assert enricher.looked == 0
    assert outcome.account.pending == 1


def test_a_service_that_is_down_while_it_is_asked_again_costs_nothing_that_is_ready(
    job: Make, store: MemoryStore
) -> None:
    """Fault 40."""
    store.put(row("a"), row("b"))
    enricher = Scripted(looks={"b": 3}, down={1, 4})
    outcome = job(enricher).run(WINDOW, deadline_s=100, poll_s=30)
    assert outcome.account.enriched == 2
    assert outcome.account.problems == ("down at look 1",)


def test_fresh_rows_go_with_the_insert_and_rows_that_are_there_with_an_update(job: Make, store: MemoryStore) -> None:
    store.put(row("there", theme_1_level_1="02 - Educação"))
    fresh = columns(row("new"), row("there", title="Outro título"), row("bad", title=None), row("new", title="Depois"))
    made = job(Scripted({"new": ("09.05", "Novo."), "there": ("01", "Resumo do que havia.")}))
    outcome = made.run(WINDOW, fresh=fresh)
    assert [cells.enrichment.unique_id for cells in outcome.fresh] == ["new"]
    assert [(cells.enrichment.unique_id, cells.parts) for cells in outcome.late] == [("there", {"summary"})]
    added = outcome.columns_for(fresh["unique_id"])
    assert added["theme_1_level_2_code"] == ["09.05", None, None, "09.05"]
    assert added["summary"] == ["Novo.", None, None, "Novo."]
    store.insert_rows(fresh | added)
    write(made, outcome, store)
    assert store.rows["new"]["theme_1_level_1"] == "09 - Esportes e Lazer"
    assert store.rows["there"]["theme_1_level_1"] == "02 - Educação"
    assert store.rows["there"]["summary"] == "Resumo do que havia."


def test_a_fresh_row_that_has_its_theme_in_the_store_is_not_picked(job: Make, store: MemoryStore) -> None:
    whole = {"theme_1_level_1": "02 - Educação", "summary": "Pronto."}
    store.put(row("there", **whole))
    assert job(Scripted()).pick(WINDOW, fresh=columns(row("there"))).rows == ()


def test_approximate_values_are_replaced_by_real_ones_and_real_ones_by_nothing(
    job: Make, store: MemoryStore, provenance: Provenance
) -> None:
    store.put(row("a", title="Esportes"), row("b"))
    rough = Scripted({"a": ("09", "Início."), "b": (None, "Início.")}, approximate=True, name="embedded")
    made = job(rough)
    write(made, made.run(WINDOW), store)
    assert store.rows["a"]["theme_1_level_1_code"] == "09"
    assert job(rough).pick(WINDOW).unique_ids == ["b"], "what is approximate is enough for the approximate one"

    real = Scripted({"a": ("01.01", "Resumo."), "b": ("02", "Resumo.")}, name="cogfy")
    made = job(real)
    outcome = made.run(WINDOW)
    assert outcome.account.enriched == 2
    write(made, outcome, store)
    assert store.rows["a"]["most_specific_theme_code"] == "01.01"
    assert store.rows["a"]["summary"] == "Resumo."

    for enricher in (Scripted({"a": ("02", "Outro.")}), rough):
        made = job(enricher)
        assert made.run(WINDOW).account.picked == 0
    entries = list(provenance.ledger.entries(ENRICHMENT))
    told = [(e.facts["enricher"], e.facts["approximate"], e.operation, sorted(e.ids.here)) for e in entries]
    assert sorted(told) == [
        ("cogfy", False, "theme+summary", ["a", "b"]),
        ("embedded", True, "summary", ["b"]),
        ("embedded", True, "theme+summary", ["a"]),
    ]


def test_whatever_ends_the_process_an_approximate_value_is_never_taken_for_a_real_one(
    job: Make, store: MemoryStore
) -> None:
    """Approximate values are recorded before they are written, real ones after."""

    def die() -> None:
        raise KeyboardInterrupt

    store.put(row("a"))
    rough = job(Scripted({"a": ("09", "Início.")}, approximate=True))
    outcome = rough.run(WINDOW)
    store.after = die
    with pytest.raises(KeyboardInterrupt):
        write(rough, outcome, store)
    store.after = None
    assert store.rows["a"]["summary"] == "Início.", "it was written"
    real = job(Scripted())
    assert real.pick(WINDOW).unique_ids == ["a"]

    outcome = real.run(WINDOW)
    store.before = die
    with pytest.raises(KeyboardInterrupt):
        write(real, outcome, store)
    store.before = None
    assert job(Scripted()).pick(WINDOW).unique_ids == ["a"], "it was not written, and is not taken for written"


def test_approximate_values_are_refused_before_anything_is_written_or_recorded(
    job: Make, store: MemoryStore, provenance: Provenance
) -> None:
    store.put(row("a", title="Esportes"))
    made = job(EmbeddedEnricher(CODES))
    outcome = made.run(WINDOW)
    outside = Settings(database_url="postgresql://u@10.0.0.1/d")
    with pytest.raises(ConfigurationError, match=r"not written to the database on 10\.0\.0\.1"):
        made.write_late(outcome, store, outside, SIDES)
    assert store.rows["a"]["summary"] is None
    assert provenance.ledger.count(ENRICHMENT) == 0
    assert write(made, outcome, store) == 1


def test_what_somebody_wrote_in_the_meantime_stays(job: Make, store: MemoryStore) -> None:
    store.put(row("a"))
    made = job(Scripted())
    picked = made.pick(WINDOW)
    progress = made.submit(picked)
    store.put(row("a", theme_1_level_1="02 - Educação", summary="Deles."))
    outcome = made.finish(WINDOW, picked, progress)
    assert outcome.account.skipped_by_reason == {"nothing_better": 1}
    assert outcome.frames() == []


def test_the_steps_may_be_done_by_different_processes(job: Make, store: MemoryStore) -> None:
    store.put(row("a"), row("b"))
    first = job(Scripted(looks={"b": 1}), most_rows=5)
    picked = first.pick(WINDOW)
    told = json.dumps({"picked": picked.to_dict(), "progress": first.submit(picked).to_dict()})

    read = json.loads(told)
    second = job(Scripted())
    progress = second.collect(Progress.from_dict(read["progress"]))
    outcome = second.finish(WINDOW, Picked.from_dict(read["picked"]), progress)
    assert sorted(cells.enrichment.unique_id for cells in outcome.late) == ["a", "b"]
    assert outcome == first.run(WINDOW)


def test_no_enricher_and_a_limit_leave_rows_that_are_counted(job: Make, store: MemoryStore) -> None:
    store.put(row("new", days=0), row("old", days=-1))
    outcome = job(None).run(WINDOW)
    assert outcome.account.skipped_by_reason == {"no_enricher": 2}
    limited = Scripted()
    outcome = job(limited, most_rows=1).run(WINDOW)
    assert limited.submitted == ["new"], "the newest first"
    assert outcome.account.skipped_by_reason == {"over_the_limit": 1}
    assert outcome.account.picked == 2


def test_a_window_is_read_in_parts_without_gaps(job: Make, store: MemoryStore) -> None:
    store.put(*(row(f"d{day}", days=-day) for day in range(25)))
    enricher = Scripted()
    window = Window(first=date(2026, 2, 9), last=date(2026, 2, 10), late_days=20)
    job(enricher).run(window)
    assert enricher.submitted == [f"d{day}" for day in range(22)]


def test_an_article_whose_text_could_not_be_had_waits_for_it(job: Make, store: MemoryStore) -> None:
    """Fault 33. Made of the title alone, theme and summary would stay when the text is there."""
    store.put(row("bare", content=None), row("a"))
    fresh = columns(row("new", content="Error retrieving content"), row("later"))
    enricher = Scripted()
    made = job(enricher)
    outcome = made.run(WINDOW, fresh=fresh)
    assert sorted(enricher.submitted) == ["a", "later"]
    assert outcome.account.skipped_by_reason == {"without_text": 2}
    store.put(row("bare"))
    assert sorted(job(Scripted()).pick(WINDOW).unique_ids) == ["a", "bare"]


def test_a_text_that_could_not_be_had_again_is_the_one_that_the_store_has(job: Make, store: MemoryStore) -> None:
    store.put(row("there", content="O texto."))
    picked = job(Scripted()).pick(WINDOW, fresh=columns(row("there", content="Error retrieving content")))
    assert [one["content"] for one in picked.rows] == ["O texto."]


def test_levels_that_come_after_the_deadline_are_asked_for_again(job: Make, store: MemoryStore) -> None:
    """At the deadline Cogfy has the first level and the summary; the rest is there an hour later."""
    store.put(row("a"))
    later = Window(first=date(2026, 2, 11), last=date(2026, 2, 11), late_days=3)
    with cogfy() as there:
        there.answers["a"] = Answer(level_1=ANSWER.level_1, summary=ANSWER.summary)
        made = job(there.enricher())
        write(made, made.run(WINDOW, deadline_s=60, poll_s=30), store)
        assert store.rows["a"]["theme_1_level_2_code"] is None
        assert store.rows["a"]["summary"]
    with cogfy() as there:
        made = job(there.enricher())
        outcome = made.run(later, deadline_s=60, poll_s=30)
        assert outcome.account.enriched == 1
        write(made, outcome, store)
        assert store.rows["a"]["most_specific_theme_code"] == "01.01.02"
        assert job(there.enricher()).pick(later).rows == (), "it is whole"


def test_rows_of_the_last_day_that_is_looked_at_are_counted_if_they_get_nothing(job: Make, store: MemoryStore) -> None:
    """The next run does not look at them any more."""
    store.put(row("young"), row("old", days=-3), row("odd", days=-3), row("got", days=-3))
    made = job(Scripted({"odd": "no_valid_theme"}, looks={"young": 99, "old": 99}))
    picked = made.pick(WINDOW)
    told = Picked.from_dict(json.loads(json.dumps(picked.to_dict())))
    outcome = made.finish(WINDOW, told, made.submit(picked))
    assert (outcome.account.pending, outcome.account.failed, outcome.account.enriched) == (2, 1, 1)
    assert outcome.account.leaving == 2
