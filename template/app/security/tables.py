"""The tables of the protections. Importing this module registers them, so that yours can reference them."""

from app.security.core.tables import Account as Account
from app.security.core.tables import utc_now as utc_now
