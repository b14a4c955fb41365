"""Hooks: the managers of data_platform with Airflow's connections, and a test for each (docs/connections.md)."""
