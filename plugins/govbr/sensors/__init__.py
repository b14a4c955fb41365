"""Sensors: what DAGs wait for before they begin (docs/hf_sync.md)."""
