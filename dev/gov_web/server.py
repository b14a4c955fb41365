"""The HTTP server of the sites' stand-in: every host on one port of loopback, told apart by the Host header.

    web = plan_of(load_sites(), last=date(2026, 2, 5))
    with GovWebServer(web) as server:
        scrape_sites(sites, window, Settings(scraper_base_url=server.url))

By itself: python -m dev.gov_web.server [--port N] [--latency SECONDS] [--last YYYY-MM-DD]; it stops when its standard
input ends. HTTP/1.1; the server has no HTTP/2.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import date
from urllib.parse import unquote, urlsplit

from dev.gov_web.faults import WebFault
from dev.gov_web.site_plan import Answer, GovWeb, plan_of
from dev.http_faults import FaultPlan
from dev.loopback_server import LoopbackHandler, LoopbackServer

__all__ = ["GovWebServer", "Request"]


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    at: float
    host: str
    path: str
    query: str
    user_agent: str
    languages: str

    @property
    def address(self) -> str:
        """Host, decoded path and query."""
        return f"{self.host}{unquote(self.path)}" + (f"?{self.query}" if self.query else "")


class GovWebServer(LoopbackServer):
    """Serves made-up sites on 127.0.0.1 while it is used as a context manager.

    Attributes:
        web: what they show.
        url: where; the value for SCRAPER_BASE_URL.
        latency: seconds that every answer takes.
        faults: faults to play; change it at any time.
        requests: all requests, in order.
        most_at_once: by host, the most requests under way at one moment.
    """

    def __init__(self, web: GovWeb, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(_Handler, port=port)
        self.web = web
        self.latency = latency
        self.faults: list[WebFault] = []
        self.requests: list[Request] = []
        self.most_at_once: Counter[str] = Counter()
        self.fault_plan = FaultPlan()
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    def asked(self, part: str) -> list[Request]:
        """Return the requests in whose address a text is found."""
        return [request for request in self.requests if part in request.address]

    def begin(self, request: Request) -> None:
        """Count a request."""
        with self._lock:
            self.requests.append(request)
            self._under_way[request.host] += 1
            self.most_at_once[request.host] = max(self.most_at_once[request.host], self._under_way[request.host])

    def end(self, request: Request) -> None:
        """Count that it is answered."""
        with self._lock:
            self._under_way[request.host] -= 1


class _Handler(LoopbackHandler):
    stand_in: GovWebServer

    def serve(self) -> None:
        """Answer one request, or play the fault that strikes it."""
        split = urlsplit(self.path)
        host = (self.headers.get("Host") or "").partition(":")[0].lower()
        request = Request(
            time.monotonic(),
            host,
            split.path,
            split.query,
            self.headers.get("User-Agent") or "",
            self.headers.get("Accept-Language") or "",
        )
        self.stand_in.begin(request)
        try:
            fault = self.stand_in.fault_plan.strike(self.stand_in.faults, request.address)
            self.stand_in.closing.wait(self.stand_in.latency + (fault.delay if fault else 0.0))
            if fault is None:
                self._send(self.stand_in.web.answer(host, split.path, split.query))
            elif fault.drop or (fault.delay and self.stand_in.closing.is_set()):
                self.close_connection = True
            else:
                self._send_fault(fault, split.path, split.query, host)
        finally:
            self.stand_in.end(request)

    do_GET = serve  # noqa: N815 -- named by http.server

    def _send(self, answer: Answer) -> None:
        self.send_head(answer.status, {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body))})
        self.wfile.write(answer.body)

    def _send_fault(self, fault: WebFault, path: str, query: str, host: str) -> None:
        if fault.body is None:
            usual = self.stand_in.web.answer(host, path, query)
            body = usual.body.decode().encode(fault.encoding, "replace")
            if fault.encoding != "utf-8":
                body = body.replace(b'<meta charset="utf-8">', b"", 1)
            status, kind = (fault.status if fault.status != 200 else usual.status), usual.content_type  # noqa: PLR2004
        else:
            body, status, kind = fault.body, fault.status, "text/html"
        kind = kind.partition(";")[0] + (f"; charset={fault.says}" if fault.says else "")
        headers = {"Content-Type": kind, **fault.headers}
        if fault.endless:
            self.send_head(status, {**headers, "Connection": "close"})
            while not self.stand_in.closing.is_set():
                self.wfile.write(body)
            return
        self.send_head(status, {**headers, "Content-Length": str(len(body))})
        if fault.cut is not None:
            self.wfile.write(body[: fault.cut])
            self.close_connection = True
        elif fault.drip is not None:
            size, pause = fault.drip
            for start in range(0, len(body), size):
                self.wfile.write(body[start : start + size])
                self.wfile.flush()
                if self.stand_in.closing.wait(pause):
                    break
        else:
            self.wfile.write(body)


def main() -> int:
    """Serve the sites of the catalogue until standard input ends."""
    from data_platform.jobs.scraper.catalogue import choose_sites, load_sites
    from data_platform.models.days import day_of, utc_now

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, metavar="S", help="seconds that every answer takes")
    parser.add_argument("--last", type=date.fromisoformat, help="newest day of the news (default: today)")
    parser.add_argument("--days", type=int, default=3, help="days that listings reach back (default %(default)s)")
    parser.add_argument("--per-day", type=int, default=2, help="articles of a site a day (default %(default)s)")
    arguments = parser.parse_args()
    web = plan_of(
        choose_sites(load_sites()),
        arguments.last or day_of(utc_now()),
        days=arguments.days,
        per_day=arguments.per_day,
    )
    with GovWebServer(web, port=arguments.port, latency=arguments.latency) as server:
        print(server.url, flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
