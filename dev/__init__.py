"""The local stack: PostgreSQL, Airflow and a made-up corpus on one machine, loopback only.

Nothing of the package imports this; it may use everything.
"""
