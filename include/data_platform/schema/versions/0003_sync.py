"""The heir of an article is held while it is promoted; rejects are found by id.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op

from data_platform.schema import read_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index, replace the trigger's function."""
    op.get_bind().exec_driver_sql(read_script("0003_up.sql"))


def downgrade() -> None:
    """Go back to the first function."""
    op.get_bind().exec_driver_sql(read_script("0003_down.sql"))
