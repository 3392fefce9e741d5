"""Who issued an invitation."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No foreign key: SQLite cannot add one to a table. An issuer that is gone makes the invitation invalid.
    op.add_column("one_time_tokens", sa.Column("issuer_id", sa.Uuid(), nullable=True))
    op.add_column("one_time_tokens", sa.Column("issuer_version", sa.Integer(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("the security tables only ever grow: restore a backup instead")
