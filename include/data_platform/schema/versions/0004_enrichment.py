"""Which enricher wrote the theme and the summary of a row.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

from data_platform.schema import read_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.get_bind().exec_driver_sql(read_script("0004_up.sql"))


def downgrade() -> None:
    """Drop the table; what was written into news stays."""
    op.get_bind().exec_driver_sql(read_script("0004_down.sql"))
