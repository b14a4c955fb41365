"""The local stack left running, to click through: `make up`, until Ctrl-C.

PostgreSQL (embedded, unless DATABASE_URL names another one), Airflow on loopback with its UI, and a
made-up corpus to migrate. What is in the database and in Airflow stays for the next time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from data_platform.settings import redact_url
from dev.airflow_local import AirflowLocal
from dev.demo import DAG_ID, corpus_environment, ended_by_signals
from dev.embedded_postgres import EmbeddedPostgres
from dev.local_hub import local_hub
from dev.local_search import local_search
from dev.local_web import local_web
from dev.sample_data import write_corpus
from dev.state import LocalStackError, state_path

__all__ = ["main"]

_DATABASE = "govbrnews"
_ROWS = 3000
_UI_PORT = 8080


def main() -> int:
    """Start the stack and keep it until it is interrupted; 2 if it cannot run or a part of it ends by itself."""
    try:
        with ended_by_signals(), ExitStack() as stack:
            airflow = _start(stack)
            while airflow.is_running():
                time.sleep(1)
            print(
                "Airflow ended by itself; the end of its log:", *airflow.telling_log_lines(), sep="\n", file=sys.stderr
            )
    except LocalStackError as error:
        print(f"the local stack cannot run: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nstopped")
        return 0
    return 2


def _start(stack: ExitStack) -> AirflowLocal:
    folder = state_path("up")
    corpus = folder / "corpus"
    if not (corpus / "planted.json").exists():  # written last: a corpus that has it is whole
        write_corpus(corpus, _ROWS, dirty=True)
    database_url = os.environ.get("DATABASE_URL", "").strip()
    environment = {}  # a database that was chosen on purpose gets neither made-up themes nor other settings
    if not database_url:
        database_url = stack.enter_context(EmbeddedPostgres(bound=True)).create_database(_DATABASE)
        hub = stack.enter_context(local_hub(folder / "hub", corpus))
        web, search = stack.enter_context(local_web()), stack.enter_context(local_search())
        environment = {**corpus_environment(corpus, database_url), **hub, **web, **search}
    print("starting Airflow (half a minute, more on a busy machine) …", flush=True)
    airflow = stack.enter_context(AirflowLocal(folder / "airflow", port=_UI_PORT, environment=environment))
    print(_invitation(airflow.client.base_url, environment, corpus, database_url), flush=True)
    return airflow


def _invitation(base_url: str, environment: Mapping[str, str], corpus: Path, database_url: str) -> str:
    source = environment.get("HF_DATASET", str(corpus))
    served = f"{source} on {environment['HF_ENDPOINT']}" if environment else corpus
    shown = database_url if "127.0.0.1" in database_url else redact_url(database_url)
    sites = "; its sites are a stand-in" if environment else ", and asks the real sites then"
    return f"""
  UI         {base_url}   (no password; only this machine reaches it)
  database   {shown}
  corpus     {served}

  To migrate the corpus: open {base_url}/dags/{DAG_ID}, press Trigger, and put into the form
      source    {source}
      dry run   off
  Then open the run: the graph shows each step, the task `report` says where the report lies.
  Trigger it again and nothing changes. `reindex_consumers` fills the indexes of search with kind full, dry run no;
  until then its schedule is red. `daily_pipeline` waits to be unpaused{sites}.
  Press Ctrl-C here to stop."""


if __name__ == "__main__":
    sys.exit(main())
