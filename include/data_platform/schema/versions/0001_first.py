"""The first schema: agencies, themes, news with its change feed, and the records of a migration.

Revision ID: 0001
Revises: nothing
"""

from __future__ import annotations

from alembic import op

from data_platform.schema import read_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _run(script: str) -> None:
    """Run a script as it stands: several statements at once, no colon or percent sign special."""
    op.get_bind().exec_driver_sql(script)


def upgrade() -> None:
    """Create everything."""
    _run(read_script("0001_up.sql"))
    _run(read_script("0001_triggers.sql"))
    # lz4 makes loading about twice as fast as pglz at nearly the same size, where the server was built with it.
    _run(read_script("0001_lz4.sql"))


def downgrade() -> None:
    """Drop everything, rows included."""
    _run(read_script("0001_down.sql"))
