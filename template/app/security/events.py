"""Security events of your own, typed and audited like the others, and a call after every response, for metrics.

`record(Mine.EXPORTED, subject=note.id)` writes at once, `record_change(db, …)` with the transaction that it belongs to.
"""

from app.security.core.events import OnceAMinute as OnceAMinute
from app.security.core.events import record as record
from app.security.core.events import record_change as record_change
from app.security.http.request_log import Responded as Responded
from app.security.http.request_log import on_response as on_response
