"""Columns of files on the Hub, read by ranges; their keys, kept by content."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_platform.errors import StoreError, StoreUnavailableError
from data_platform.managers.hub.key_cache import KEY_SCHEMA, KeyCache, read_keys
from data_platform.managers.hub.layout import write_partition
from data_platform.managers.hub.remote_parquet import RemoteParquet, RemoteReader, concurrently
from data_platform.managers.hub.repository import HubRepository, RemoteFile
from data_platform.models.columns import NORMAL_SCHEMA, PUBLISHED_SCHEMA
from data_platform.models.publication import normal_rows
from dev.hub_server import Fault
from tests.support.hub import DATASET, QUICK, Hub, parquet_bytes
from tests.support.sources import article, articles

PATH = "data/train-2024-03.parquet"
BIG = "data/train-2024-04.parquet"
KEYS = list(KEY_SCHEMA.names)


def big_file(rows: int = 800) -> bytes:
    """Return a file of some megabytes, as we write it."""
    whole = pa.Table.from_pylist(
        [row | {"content": f"{row['unique_id']} " * 120, "summary": row["title"] * 20} for row in articles(rows)],
        PUBLISHED_SCHEMA,
    )
    buffer = io.BytesIO()
    pq.write_table(
        whole, buffer, compression="none", use_dictionary=False, row_group_size=500, write_statistics=["unique_id"]
    )
    return buffer.getvalue()


@pytest.fixture(scope="module")
def big() -> bytes:
    return big_file()


@pytest.fixture
def reader(hub: Hub, big: bytes) -> RemoteReader:
    hub.put({PATH: parquet_bytes(articles(20)), BIG: big})
    return RemoteReader(HubRepository(DATASET, hub.settings, backoff=QUICK, timeout_s=2), hub.head())


def opened(reader: RemoteReader, path: str) -> RemoteParquet:
    return reader.open(reader.repository.files(reader.commit)[path])


def columns(reader: RemoteReader, path: str, names: list[str]) -> pa.Table:
    file = opened(reader, path)
    file.fetch(range(file.metadata.num_row_groups), names)
    return file.decode()


def fetched(hub: Hub) -> list[str]:
    return [request for request in hub.server.requests if "/resolve/" in request or "/blobs/" in request]


def test_columns_are_those_of_the_file(reader: RemoteReader, big: bytes) -> None:
    for path, content in ((PATH, parquet_bytes(articles(20))), (BIG, big)):
        whole = pq.read_table(io.BytesIO(content))
        for names in (KEYS, ["content"], ["tags", "summary"], list(PUBLISHED_SCHEMA.names)):
            assert columns(reader, path, names).to_pydict() == whole.select(names).to_pydict()


def test_a_small_file_takes_one_request_and_its_redirect(reader: RemoteReader, hub: Hub) -> None:
    columns(reader, PATH, KEYS)
    assert len(fetched(hub)) == 2


def ranges_asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list that the ranges asked for from now on go to."""
    asked: list[tuple[int, int]] = []
    ask = RemoteReader._get

    def watch(self: RemoteReader, file: RemoteFile, start: int, stop: int, keep: Any) -> None:
        asked.append((start, stop))
        ask(self, file, start, stop, keep)

    monkeypatch.setattr(RemoteReader, "_get", watch)
    return asked


def test_of_a_large_file_only_the_asked_columns_are_fetched(
    reader: RemoteReader, hub: Hub, big: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ranges_asked(monkeypatch)
    columns(reader, BIG, ["unique_id", "agency", "published_at"])
    assert len(asked) == 3  # the end, and the columns of two row groups
    assert sum(stop - start for start, stop in asked) < len(big) / 10
    # The address was resolved once; the ranges came from where it led to.
    assert [re.sub("[0-9a-f]{40,}", "x", request) for request in fetched(hub)] == [
        "GET /datasets/owner/govbrnews/resolve/x/data/train-2024-04.parquet",
        *["GET /blobs/x"] * 3,
    ]


def test_chosen_row_groups_are_read_alone(reader: RemoteReader) -> None:
    file = opened(reader, BIG)
    file.fetch([1], ["title"])
    assert file.decode().num_rows == 300
    file.fetch([0], ["title"])
    assert file.decode().num_rows == 500


def test_other_hosts_get_no_token(reader: RemoteReader, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    sent: list[tuple[str, bool]] = []
    send = httpx.Client._send_single_request

    def watch(self: httpx.Client, request: httpx.Request) -> httpx.Response:
        sent.append((request.url.host, "authorization" in request.headers))
        return send(self, request)

    monkeypatch.setattr(httpx.Client, "_send_single_request", watch)
    columns(reader, BIG, KEYS)
    assert {token for host, token in sent if host == "127.0.0.1"} == {True}
    assert {token for host, token in sent if host == "localhost"} == {False}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET .*/resolve/", 503, times=2),
        Fault("GET /blobs/", 500, times=2),
        Fault("GET /blobs/", 429, times=1, headers={"Retry-After": "0"}),
        Fault("GET /blobs/", times=2, drop=True),
        Fault("GET /blobs/", times=1, cut=100),
        Fault("GET /blobs/", times=1, delay=3),
        Fault("GET /blobs/", 403, times=1, skip=1),
    ],
    ids=["503", "500", "429", "connection lost", "cut off", "slow", "address expired"],
)
def test_a_break_is_overcome(fault: Fault, reader: RemoteReader, hub: Hub, big: bytes, tmp_path: Path) -> None:
    hub.server.faults.append(fault)
    assert columns(reader, BIG, KEYS).num_rows == 800
    fault.times = 1
    file = reader.repository.files(reader.commit)[BIG]
    assert reader.download(file, tmp_path / "file").read_bytes() == big


def test_addresses_that_serve_one_range_only_are_given_up(reader: RemoteReader, hub: Hub) -> None:
    """A CDN of the Hub answered 403 "invalid range" to ranges other than the one that an address was signed for."""
    for _ in range(3):
        hub.server.faults[:] = [Fault("GET /blobs/", 403, times=1, skip=1)]
        assert columns(reader, BIG, KEYS).num_rows == 800
    hub.server.faults.clear()
    hub.server.requests.clear()
    columns(reader, BIG, KEYS)
    asked = fetched(hub)
    assert len([request for request in asked if "/resolve/" in request]) == len(asked) / 2


def test_a_download_goes_on_where_it_broke_off(
    reader: RemoteReader, hub: Hub, big: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = ranges_asked(monkeypatch)
    hub.server.faults.append(Fault("GET /blobs/", times=1, cut=1 << 20))
    file = reader.repository.files(reader.commit)[BIG]
    reader.download(file, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == big
    assert [start > 0 for start, _ in starts] == [False, True]


def test_a_file_that_changed_on_its_way_is_refused(
    reader: RemoteReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = RemoteReader._get

    def garble(self: RemoteReader, file: RemoteFile, start: int, stop: int, keep: Any) -> None:
        ask(self, file, start, stop, lambda piece: keep(bytes([piece[0] ^ 1]) + piece[1:]))

    monkeypatch.setattr(RemoteReader, "_get", garble)
    with pytest.raises(StoreError, match="changed on its way"):
        reader.download(reader.repository.files(reader.commit)[BIG], tmp_path / "file")


def test_an_answer_that_ends_early_is_asked_for_again(reader: RemoteReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose length was not announced: the client takes any end of it for the end."""
    import httpx

    short = [True]
    iterate = httpx.Response.iter_raw

    def cut(self: httpx.Response, size: int | None = None) -> Iterator[bytes]:
        for piece in iterate(self, size):
            yield piece[:100] if short and short.pop() else piece

    file = reader.repository.files(reader.commit)[PATH]
    monkeypatch.setattr(httpx.Response, "iter_raw", cut)
    found = reader.open(file)
    found.fetch([0], KEYS)
    assert found.decode().num_rows == 16
    assert not short


def test_a_hub_that_stays_down_is_told(reader: RemoteReader, hub: Hub) -> None:
    files = reader.repository.files(reader.commit)
    hub.server.faults.append(Fault("GET /blobs/", 503))
    with pytest.raises(StoreUnavailableError, match="2024-03"):
        reader.open(files[PATH])


@pytest.mark.parametrize("content", [b"no parquet at all", b"", b"PAR1" + b"x" * 300_000 + b"\x10\x00\x00\x00PAR1"])
def test_what_is_no_parquet_file_is_named(content: bytes, reader: RemoteReader, hub: Hub) -> None:
    hub.put({PATH: content})
    broken = RemoteReader(reader.repository, hub.head())
    with pytest.raises(StoreError, match=r"data/train-2024-03\.parquet"):
        opened(broken, PATH)


def test_work_is_done_in_order_and_its_errors_come_through() -> None:
    assert list(concurrently(range(50), lambda n: n * n, threads=4)) == [n * n for n in range(50)]

    def fail(n: int) -> int:
        if n == 7:
            raise StoreError("seven")
        return n

    seen: list[int] = []
    with pytest.raises(StoreError, match="seven"):
        seen.extend(concurrently(range(50), fail, threads=4))


# ------------------------------------------------------------------------------------------------ keys


@pytest.fixture
def monthly(hub: Hub, tmp_path: Path) -> RemoteReader:
    rows = [article(1, url="http://WWW.gov.br/mre/a/view?utm_source=x"), article(2, url=None)]
    table = pa.Table.from_pylist(rows, PUBLISHED_SCHEMA)
    normal = pa.Table.from_batches([normal_rows(batch) for batch in table.to_batches()], NORMAL_SCHEMA)
    write_partition(tmp_path / "month", normal)
    hub.put({PATH: (tmp_path / "month").read_bytes()})
    return RemoteReader(HubRepository(DATASET, hub.settings, backoff=QUICK), hub.head())


def keys(reader: RemoteReader, cache: KeyCache) -> dict[str, pa.Table]:
    files = reader.repository.files(reader.commit)
    return dict(read_keys(reader, [files[path] for path in files if path.endswith(".parquet")], cache))


def test_keys_have_the_canonical_address(monthly: RemoteReader) -> None:
    found = keys(monthly, KeyCache(None))[PATH]
    assert found.schema == KEY_SCHEMA
    assert found.column("url").to_pylist() == ["https://www.gov.br/mre/a", None]


def test_keys_of_a_known_content_need_no_request(monthly: RemoteReader, hub: Hub, tmp_path: Path) -> None:
    cache = KeyCache(tmp_path / "keys")
    first = keys(monthly, cache)
    hub.server.requests.clear()
    assert keys(monthly, cache) == first
    assert fetched(hub) == []


def test_a_damaged_cache_is_read_anew(monthly: RemoteReader, tmp_path: Path) -> None:
    cache = KeyCache(tmp_path / "keys")
    first = keys(monthly, cache)
    for path in (tmp_path / "keys").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert keys(monthly, cache) == first


def test_a_folder_that_cannot_be_written_is_no_error(monthly: RemoteReader, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert keys(monthly, KeyCache(tmp_path / "file/keys"))[PATH].num_rows == 2


def test_the_cache_stays_under_its_size(tmp_path: Path) -> None:
    table = pa.table({n: ["x" * 100] * 10 for n in ("unique_id", "agency", "url")}).add_column(
        2, KEY_SCHEMA.field("extracted_at"), pa.nulls(10, KEY_SCHEMA.field("extracted_at").type)
    )
    cache = KeyCache(tmp_path, most_bytes=20_000)
    for number in range(10):
        cache.put(f"{number}", table.cast(KEY_SCHEMA))
        cache.get("0")  # in use
        cache.prune()
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000
    assert "0" in kept
    assert "9" in kept


def test_a_file_of_other_types_is_named(monthly: RemoteReader, hub: Hub) -> None:
    schema = PUBLISHED_SCHEMA.set(2, pa.field("published_at", pa.string()))
    rows = [article(1) | {"published_at": "2024-03-05"}]
    hub.put({PATH: parquet_bytes(rows, schema=schema)})
    with pytest.raises(StoreError, match=r"train-2024-03.*published_at is string"):
        keys(RemoteReader(monthly.repository, hub.head()), KeyCache(None))
