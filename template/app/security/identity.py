"""Who may call a route: `Caller`, `require_scope("notes:read")`, `public`."""

# {% if features.jwt.enabled %}
# isort: off
from app.security.authentication.recent_login import GrantingSession as GrantingSession
from app.security.authentication.recent_login import recent_login as recent_login
# isort: on

# {% endif %}
from app.security.access.identity import Caller as Caller
from app.security.access.identity import authenticate as authenticate
from app.security.access.identity import public as public
from app.security.access.identity import require_scope as require_scope
