"""Airflow's side of the data platform: settings from connections, errors as Airflow wants them, operators, links."""
