"""What tests of scraping over HTTP share: a listing, its last day, the hosts, and bounds without long pauses."""

from __future__ import annotations

from datetime import date

from data_platform.jobs.scraper.fetch import FetchLimits

__all__ = ["HOSTS", "LAST", "LISTING", "QUICK"]

LISTING = "https://www.gov.br/aeb/pt-br/assuntos/noticias"
LAST = date(2026, 2, 5)
HOSTS = ("www.gov.br", "agenciabrasil.ebc.com.br", "tvbrasil.ebc.com.br")
QUICK = FetchLimits(connect_s=2, silence_s=0.5, request_s=1.5, first_s=0.01, most_s=0.05, longest_retry_after_s=2)
