# ruff: noqa: INP001 - a file to be copied, no package
"""A small Streamlit app over PostgreSQL: how many news of which agencies and themes in some days.

    pip install streamlit pandas sqlalchemy "psycopg[binary]"
    DATABASE_URL=postgresql://USER:PASSWORD@HOST/govbrnews streamlit run docs/consumers/streamlit_app.py

The user needs no more than the role `govbrnews_reader`. The view `news_published` has the 24 columns of the dataset;
`read_news` gives them in the dataset's own types, so that what worked on `load_dataset` works on it.
"""

from __future__ import annotations

import os
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytz
import sqlalchemy as sa
import streamlit as st

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
#: What `load_dataset(...).to_pandas()` has for the three columns that pandas would read otherwise.
DATASET_TYPES = {
    "published_at": "datetime64[us, UTC]",
    "updated_datetime": "datetime64[us, UTC]",
    "extracted_at": "datetime64[ns]",
}
DATASET_ZONE = pytz.FixedOffset(-180)
#: Days are those of São Paulo; the bounds are instants, so that the index of published_at serves.
OF_DAYS = sa.text("""
    SELECT * FROM news_published
     WHERE published_at >= CAST(:first AS timestamp) AT TIME ZONE 'America/Sao_Paulo'
       AND published_at < CAST(:after AS timestamp) AT TIME ZONE 'America/Sao_Paulo'
     ORDER BY published_at DESC, unique_id
""")


@st.cache_resource
def engine(url: str) -> sa.Engine:
    """Return the connections to a database, which can only read."""
    address = sa.make_url(url).set(drivername="postgresql+psycopg")
    return sa.create_engine(address, connect_args={"options": "-c default_transaction_read_only=on -c timezone=UTC"})


@st.cache_data(ttl=600)
def read_news(url: str, first: date, last: date) -> pd.DataFrame:
    """Return the news of some days, the newest first: the dataset's 24 columns in its types."""
    days = {"first": first, "after": last + timedelta(days=1)}
    news = pd.read_sql(OF_DAYS, engine(url), params=days, dtype=DATASET_TYPES)
    for column in ("published_at", "updated_datetime"):  # read_sql itself leaves them in UTC, whatever is asked for
        news[column] = news[column].dt.tz_convert(DATASET_ZONE)
    return news


def main() -> None:
    """Draw the page."""
    st.title("Panorama das notícias")
    today = pd.Timestamp.now(SAO_PAULO).date()
    chosen = st.sidebar.date_input("Dias", (today - timedelta(days=6), today), key="days")
    if not isinstance(chosen, tuple) or len(chosen) != 2:  # noqa: PLR2004 - the second day is still to be chosen
        st.stop()
    news = read_news(os.environ["DATABASE_URL"], *chosen)
    agencies = st.sidebar.multiselect("Órgãos", sorted(news["agency"].unique()), key="agencies")
    if agencies:
        news = news[news["agency"].isin(agencies)]
    theme = news["theme_1_level_1"].fillna("sem tema")
    day = news["published_at"].dt.tz_convert(SAO_PAULO).dt.date

    count, without = st.columns(2)
    count.metric("Notícias", len(news))
    without.metric("Sem tema", int(news["theme_1_level_1"].isna().sum()))
    if news.empty:
        st.info("Nenhuma notícia nesses dias.")
        st.stop()
    st.subheader("Por dia")
    st.bar_chart(day.value_counts().sort_index())
    st.subheader("Por tema e órgão")
    st.dataframe(pd.crosstab(theme, news["agency"], margins=True, margins_name="Total"))
    st.subheader("As mais recentes")
    st.dataframe(news[["published_at", "agency", "title", "url"]].head(20), hide_index=True)


if __name__ == "__main__":
    main()
