"""The run report: every state renders well-formed, nothing from the data becomes markup, the advice fits the facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import fsspec  # type: ignore[import-untyped]  # ships no types
import pytest

from data_platform.errors import ConfigurationError, TransientError
from data_platform.jobs.migration import charts
from data_platform.jobs.migration.next_steps import next_steps, verdict_of
from data_platform.jobs.migration.report import render_report, write_report
from data_platform.jobs.migration.report_model import (
    Account,
    Difference,
    IndexBuild,
    Metric,
    NullCount,
    Reject,
    Run,
    RunReport,
    SegmentRun,
    Validation,
)

BEGAN = datetime(2025, 12, 28, 6, 12, 44, tzinfo=UTC)
EVIL = "<script>alert('x')</script>\"onload=\"alert(1)"
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks nesting while it reads, and keeps elements and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())


def checked(report: RunReport) -> Page:
    """Render, and hold the page against what every page promises."""
    source = render_report(report)
    assert len(source.encode()) < 300_000
    page = Page(source)
    names = [tag for tag, _ in page.elements]
    assert not {"script", "iframe", "object", "embed", "link", "img", "form", "base"} & set(names)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.elements:
        assert not any(name.startswith("on") or name in {"style", "src"} for name in attrs), (tag, attrs)
        assert (attrs.get("href") or "#").startswith("#")
        if tag == "th":
            assert attrs.get("scope") in {"col", "row"}
        if attrs.get("role") in {"img", "region"}:
            assert attrs.get("aria-label")
        if tag == "a":
            assert str(attrs["href"]).removeprefix("#") in ids
    assert "url(" not in source
    assert "@import" not in source
    return page


def segment(no: int, start: float = 0.0, seconds: float = 10.0, **facts: Any) -> SegmentRun:
    begun = BEGAN + timedelta(seconds=start)
    given: dict[str, Any] = {"rows": 50, "seconds": seconds, "started_at": begun, "worker": f"w{no % 2}"} | facts
    return SegmentRun(no=no, finished_at=begun + timedelta(seconds=seconds), **given)


def make(**parts: Any) -> RunReport:
    """A perfect bulk run of 100 rows, unless told otherwise; unknown names go to run or account."""
    run: dict[str, Any] = {"id": 7, "source": "owner/set", "started_at": BEGAN, "finished_at": BEGAN, "seconds": 20.0}
    account: dict[str, Any] = {"read": 100, "loaded": 100}
    rest: dict[str, Any] = {
        "segments": (segment(1), segment(2, 5)),
        "rows_by_year": {2003: 1, 2024: 60, 2025: 39},
        "rows_by_agency": {"saude": 60, "mec": 40},
        "indexes": (IndexBuild(name="news_pkey", kind="constraint", seconds=0.2),),
        "validation": Validation(verdict="equal", source_rows=100, target_rows=100, equal=100),
    }
    for name, value in parts.items():
        target = run if name in Run.__annotations__ else account if name in Account.__annotations__ else rest
        target[name] = value
    return RunReport(run=Run(**run), account=Account(**account), **rest)


DIFFERENT = Validation(
    verdict="DIFFERENT",
    source_rows=100,
    target_rows=99,
    equal=96,
    different=2,
    only_in_source=2,
    unaccounted=2,
    only_in_target=1,
    differences=(
        Difference(unique_id="a1", column="title", source="Sa\N{LATIN SMALL LETTER U WITH ACUTE}de", target="Saude"),
        Difference(unique_id="a2", column="tags", source=["SUS"], target=None),
    ),
    per_column_nulls=(NullCount(column="title", source=0, target=0), NullCount(column="tags", source=0, target=1)),
    metrics=(Metric(name="theme level 1", source=0.9712, target=0.5, expected="as the source", ok=False),),
)
REJECTED: dict[str, Any] = {"loaded": 99, "rejected": 1, "rejected_by_reason": {"published_at missing": 1}}
SAMPLE = (Reject(unique_id=None, file="data/a.parquet", row=1234, field="published_at", reason="missing"),)
STATES: dict[str, RunReport] = {
    "perfect": make(),
    "dry run": make(dry_run=True, validation=None, indexes=()),
    "within limit": make(**REJECTED, rejects_sample=SAMPLE),
    "over limit": make(loaded=90, rejected=10, rejected_by_reason={"title missing": 10}, max_reject_rate=0.05),
    "dry run over limit": make(loaded=90, rejected=10, dry_run=True, validation=None),
    "DIFFERENT": make(validation=DIFFERENT),
    "empty source": make(
        read=0, loaded=0, segments=(), rows_by_year={}, rows_by_agency={}, indexes=(), validation=None
    ),
    "not validated": make(validation=None),
    "unbalanced": make(loaded=98),
    "catch-up": make(mode="catch-up", loaded=1, updated=2, already_present=97, vanished=3, vanished_sample=("x1",)),
    "huge": make(
        read=10**12, loaded=10**12, seconds=1e6, rows_by_year={1: 10**12, 9999: 1}, rows_by_agency={"a": 10**12}
    ),
    "no time": make(seconds=0.0, segments=(segment(1, seconds=0.0), replace(segment(2), started_at=None))),
    "bare": RunReport(run=make().run, account=Account(read=1, loaded=1)),
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_renders_well_formed_and_self_contained(state: str) -> None:
    page = checked(STATES[state])
    assert "America/Sao_Paulo" in page.text
    assert "2025-12-28 03:12:44" in page.text


@pytest.mark.parametrize(
    ("state", "tone", "words"),
    [
        ("perfect", "go", "All 100 rows are in place and compared"),
        ("dry run", "look", "The real run may follow"),
        ("within limit", "act", "1 point to see to"),
        ("over limit", "stop", "Too many rejects: 10.00 %, and the limit is 5.00 %"),
        ("dry run over limit", "stop", "Too many rejects"),
        ("DIFFERENT", "stop", "Do not switch to dual_write"),
        ("empty source", "stop", "Check the source: it gave no rows"),
        ("not validated", "act", "1 point to see to"),
        ("unbalanced", "stop", "do not add up"),
        ("catch-up", "go", "All 100 rows are in place"),
    ],
)
def test_verdict_is_as_bad_as_the_worst_fact_and_says_so_in_words(state: str, tone: str, words: str) -> None:
    assert verdict_of(STATES[state]).tone == tone
    assert words in checked(STATES[state]).text


@pytest.mark.parametrize(
    ("report", "title", "command"),
    [
        (STATES["dry run"], "Run again with dry_run off", "migrate --source owner/set"),
        (STATES["within limit"], "Look at what was rejected: 1 row", "rejects list"),
        (STATES["over limit"], "Too many rejects", "rejects list"),
        (STATES["dry run over limit"], "Too many rejects", "migrate --source owner/set --dry-run"),
        (STATES["DIFFERENT"], "Do not switch", "validate --source owner/set"),
        (STATES["DIFFERENT"], "Explain the measures that are off (1)", ""),
        (STATES["not validated"], "Compare the table", "validate --source owner/set"),
        (make(unknown_theme_codes={"26": 3}), "Load the full theme tree", "populate-themes --source themes_tree.yaml"),
        (make(stub_agencies={"pt-br": 4}), "Add the unknown agencies", "populate-agencies --source agencies.yaml"),
        (make(indexes=(IndexBuild(name="i", state="off"),)), "Build the missing indexes", "migrate --source owner/set"),
        (make(duplicates=1, loaded=99, duplicates_by_kind={"other_content": 1}), "Duplicates with other content", ""),
        (STATES["catch-up"], "In the table but no longer in the source: 3 rows", ""),
        (STATES["perfect"], "Run the catch-up, then switch to dual_write", "migrate --source owner/set"),
        (STATES["catch-up"], "Switch to dual_write at once", "migrate"),
        (make(source="my set; rm -rf /"), "Run the catch-up", "migrate --source 'my set; rm -rf /'"),
    ],
)
def test_next_steps_follow_from_the_facts(report: RunReport, title: str, command: str) -> None:
    step = next(step for step in next_steps(report) if step.title.startswith(title))
    assert not command or any(line.endswith(command) or command in line for line in step.commands)


def test_no_way_forward_while_something_forbids_it() -> None:
    for state in ("over limit", "DIFFERENT", "empty source", "unbalanced"):
        assert "go" not in {step.tone for step in next_steps(STATES[state])}
    assert [step.tone for step in next_steps(STATES["perfect"])] == ["go"]
    assert next_steps(STATES["within limit"])[-1].title.startswith("After the points above: ")


def test_verdict_contradicted_by_its_numbers_is_not_believed() -> None:
    lying = Validation(verdict="equal", source_rows=100, target_rows=99, equal=99, unaccounted=1)
    assert verdict_of(make(validation=lying)).tone == "stop"
    assert verdict_of(make(balanced=False)).tone == "stop"


def test_account_is_an_equation_and_its_failure_shows() -> None:
    report = make(read=309193, loaded=309007, duplicates=43, rejected=143)
    words = "309,193 read = 309,007 loaded + 0 updated + 0 already there + 43 duplicate + 143 rejected"
    assert words in checked(report).text
    text = checked(STATES["unbalanced"]).text
    assert "100 read ≠ 98 loaded" in text
    assert "2 rows have no outcome" in text


def test_empty_states_are_said_in_words() -> None:
    text = checked(STATES["empty source"]).text
    assert "No rows with a date. " in text
    for words in ("No row was rejected.", "No value was changed.", "This run built none.", "No rows, so no agencies."):
        assert words in text
    for words in ("there is no rate to draw", "The run read no segment.", "Not compared"):
        assert words in text


def test_nothing_from_the_data_becomes_markup() -> None:
    counts = {EVIL: 1}
    report = make(
        source=EVIL, revision=EVIL, started_by=EVIL, server_version=EVIL, package_version=EVIL,
        loaded=99, rejected=1, duplicates_by_kind=counts, rejected_by_reason=counts, observations=counts,
        cleanings={f"{EVIL}:{EVIL}": 1}, stub_agencies=counts, unknown_theme_codes=counts, vanished=1,
        vanished_sample=(EVIL,), rows_by_agency=counts, segments=(segment(1, worker=EVIL, label=EVIL),),
        rejects_sample=(Reject(unique_id=EVIL, file=EVIL, field=EVIL, reason=EVIL, detail=EVIL, excerpt=EVIL),),
        indexes=(IndexBuild(name=EVIL, state=EVIL),),
        validation=replace(
            DIFFERENT, explained=counts,
            differences=(Difference(unique_id=EVIL, column=EVIL, source=EVIL, target=EVIL + "."),),
            per_column_nulls=(NullCount(column=EVIL, source=0, target=1),),
            metrics=(Metric(name=EVIL, source=EVIL, target=EVIL, expected=EVIL, ok=False),),
        ),
    )  # fmt: skip
    page = checked(report)
    assert "<script" not in render_report(report)
    assert page.text.count("<script>alert('x')</script>") > 20


def test_characters_that_html_forbids_or_that_turn_lines_around_are_replaced() -> None:
    page = render_report(make(source="a\x00b\ud800c\u202ed", started_by="\x1b[31m"))
    page.encode()
    assert not set("\x00\x1b\u202e") & set(page)
    assert "a\ufffdb\ufffdc\ufffdd" in page


def test_page_of_a_run_full_of_everything_stays_small() -> None:
    many = range(3000)
    text = "Ministério da Saúde & <b>outros</b> " * 400
    report = make(
        segments=tuple(segment(i, i * 2, worker=f"pod-{i}", rejected=1, label=text) for i in many),
        rows_by_agency={f"orgao-{i}": i for i in many},
        rows_by_year=dict.fromkeys(range(1900, 2100), 5),
        cleanings={f"k{i}:c": i for i in many}, observations={f"{text}{i}": i for i in many},
        stub_agencies={f"{text}{i}": i for i in many}, unknown_theme_codes={f"{text}{i}": i for i in many},
        rejected_by_reason={f"{text}{i}": i for i in many}, vanished=9, vanished_sample=(text,) * 3000,
        rejects_sample=(Reject(unique_id=text, reason=text, detail=text, excerpt=text),) * 3000,
        validation=replace(DIFFERENT, differences=(
            Difference(unique_id=text, column=text, source=text + "a" + text, target=text + "b" + text),) * 3000,
            metrics=(Metric(name="m", source=1, target=1),) * 3000),
    )  # fmt: skip
    checked(report)


def test_difference_marks_the_character_and_names_the_invisible() -> None:
    pair = charts.mark_difference("x" * 4162 + " fim", "x" * 4162 + "\N{NO-BREAK SPACE}fim")
    assert "character 4,163" in pair.where
    assert "4,122 characters alike" in pair.source
    assert '<mark><i class="sign">space</i></mark>fim' in pair.source
    assert '<mark><i class="sign">U+00A0 no-break space</i></mark>fim' in pair.target
    assert len(pair.source) < 400
    composed = charts.mark_difference("é", "e\N{COMBINING ACUTE ACCENT}")
    assert "U+0301 combining acute accent" in composed.target
    assert "null" in charts.mark_difference(None, "").source
    assert "empty text" in charts.mark_difference(None, "").target
    assert "look the same" in charts.mark_difference("a", "a").where
    assert "nothing" in charts.mark_difference("abc", "abcd").source


def test_nulls_that_differ_are_said_not_only_coloured() -> None:
    text = checked(STATES["DIFFERENT"]).text
    assert "tags 0 1 ▲ +1" in text
    assert "✕ off" in text


def test_row_with_two_cleanings_counts_once_in_the_equation() -> None:
    two = {"a:title": 10, "b:title": 10}
    facts: dict[str, Any] = {
        "verdict": "equal after counted cleanings",
        "source_rows": 100,
        "target_rows": 100,
        "equal": 90,
    }
    report = make(validation=Validation(explained=two, explained_rows=10, **facts))
    assert "100 rows in the source = 90 equal + 10 equal after a cleaning" in checked(report).text


def test_charts_are_well_formed_and_survive_zero_and_huge() -> None:
    spans = [charts.Span(str(i), f"w{i % 3}", i, i + 1.5, 10**9, i % 2) for i in range(600)]
    drawn = [
        charts.stacked_bar([charts.Part("a", 1, "loaded"), charts.Part("b", 10**12, "present")], label="x"),
        charts.year_columns({2000: 1, 2003: 0, 2150: 10**12}, label="x"),
        charts.year_columns({2000: 0}, label="x"),
        charts.rate_area(spans, label="x"),
        charts.segment_strip(spans, label="x"),
    ]
    for svg in drawn:
        ET.fromstring(svg)
    assert drawn[-1].count("<rect") < 600
    for words in (
        charts.stacked_bar([], label="x"),
        charts.year_columns({}, label="x"),
        charts.rate_area([], label="x"),
    ):
        assert words.startswith('<p class="empty">')


def test_rates_keep_every_row() -> None:
    spans = [
        charts.Span("1", "w", 0, 10, 700, 0),
        charts.Span("2", "v", 3.3, 9.1, 55, 0),
        charts.Span("3", "v", 10, 10, 7, 0),
    ]
    assert sum(charts.rates(spans, 13)) * 10 / 13 == pytest.approx(762)


def test_words_for_numbers() -> None:
    assert charts.thousands(309193) == "309,193"
    assert charts.thousands(12345678.0) == "12,345,678"
    assert charts.thousands(0.97123) == "0.9712"
    plain = [charts.percent(x).replace("\N{NO-BREAK SPACE}", " ") for x in (0, 1e-7, 0.0005, 0.999999, 1)]
    assert plain == ["0 %", "< 0.01 %", "0.05 %", "99.99 %", "100.00 %"]
    spans = [charts.duration(x).replace("\N{NO-BREAK SPACE}", " ") for x in (0.04, 59.6, 171, 3600, 90000)]
    assert spans == ["0.0 s", "1 min", "2 min 51 s", "1 h", "1 d 1 h"]


def test_instant_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        render_report(make(started_at=datetime(2025, 1, 1), segments=()))  # noqa: DTZ001 - the fault under test


def test_written_once_under_a_name_of_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    first = write_report(STATES["perfect"], reports_uri=str(folder))
    assert first == str(folder / "migration-7-20251228-031244.html")
    before = Path(first).read_bytes()
    assert write_report(STATES["perfect"], reports_uri=f"file://{folder}") == first
    assert Path(first).read_bytes() == before
    assert [path.name for path in folder.iterdir()] == [Path(first).name]


def test_written_to_object_storage_without_making_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    monkeypatch.setattr(type(memory), "makedirs", lambda *_, **__: pytest.fail("made a folder or bucket"))
    place = write_report(STATES["perfect"], reports_uri="memory://bucket/reports/")
    assert place == "memory://bucket/reports/migration-7-20251228-031244.html"
    assert memory.cat(place).decode() == render_report(STATES["perfect"])


def test_place_that_cannot_be_used_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for uri in (str(tmp_path / "file"), "nosuchkind://bucket/x"):
        with pytest.raises(ConfigurationError, match="REPORTS_URI"):
            write_report(STATES["perfect"], reports_uri=uri)

    def broken(*_: object, **__: object) -> None:
        raise ConnectionResetError("gone")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "_open", broken)
    with pytest.raises(TransientError, match="gone"):
        write_report(STATES["perfect"], reports_uri="memory://bucket")
