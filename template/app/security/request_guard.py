"""What one route allows beyond the general bounds: `accepts("multipart/form-data", max_bytes=…)`, `deadline(120)`.

`internal` is for a scraper: no host name and no TLS, but only from INTERNAL_NETWORKS.
`FreeText()` marks prose, which a web application firewall would take for an attack.
"""

from app.security.admission.request_body import FreeText as FreeText
from app.security.admission.request_guard import accepts as accepts
from app.security.admission.request_guard import content_security_policy as content_security_policy
from app.security.admission.request_guard import deadline as deadline
from app.security.admission.request_guard import internal as internal
