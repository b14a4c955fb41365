"""A role that may read what is published and nothing else.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import logging

from alembic import op

from data_platform.schema import read_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LOG = logging.getLogger(__name__)


def upgrade() -> None:
    """Make the role, if that is allowed, and grant it the view and the master data."""
    connection = op.get_bind()
    connection.exec_driver_sql(read_script("0005_up.sql"))
    if connection.exec_driver_sql("SELECT to_regrole('govbrnews_reader') IS NULL").scalar():
        _LOG.warning(
            "the role govbrnews_reader was not made: this user may not make roles; docs/database.md says what to run"
            " as one who may"
        )


def downgrade() -> None:
    """Take the rights back; drop the role if it was made here and has rights nowhere else."""
    op.get_bind().exec_driver_sql(read_script("0005_down.sql"))
