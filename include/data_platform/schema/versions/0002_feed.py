"""What readers of the change feed need: a cheaper trigger, positions inside a window, marks of the HuggingFace sync.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

from data_platform.schema import read_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the trigger's function, widen the positions, add the marks."""
    op.get_bind().exec_driver_sql(read_script("0002_up.sql"))


def downgrade() -> None:
    """Go back to the first trigger; what readers know of their windows and marks is dropped."""
    op.get_bind().exec_driver_sql(read_script("0002_down.sql"))
