"""Edits that remove the protections of `app/security/audit`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("audit/audit_log", "audit/test_audit_log", "        raise NotRecorded from error\n", ""),
    Sabotage("audit/audit_writer", "audit/test_audit_log", "WAITING_AT_MOST // 2 if", "WAITING_AT_MOST if"),
    Sabotage("audit/chain", "audit/test_audit_chain", 'if value is not None and name != "hash"', 'if name == "seq"'),
    Sabotage("audit/chain", "audit/test_audit_seen", "    await _compare_with_seen(db, head)\n", ""),
    Sabotage("audit/audit_marks", "audit/test_audit_chain", "if hmac.compare_digest(key.sign(*parts), mac)", "if True"),
    Sabotage("audit/audit_check", "audit/test_audit_chain", "if row.hash != expected:", "if False:"),
    Sabotage("audit/commands", "audit/test_audit_commands", "    events.listen(audit_log.keep)\n", ""),
    Sabotage(
        "audit/audit_key",
        "audit/test_audit_keys",
        "roots = settings.roots() if alone else",
        "roots = settings.roots() if False else",
    ),
    Sabotage("audit/audit_restart", "audit/test_audit_restart", "os.O_CREAT | os.O_EXCL", "os.O_CREAT"),
    Sabotage(
        "audit/routes",
        "audit/test_audit_routes",
        "    events.record_change(db, Event.AUDIT_READ, actor=caller.id, subject=read)\n",
        "",
    ),
]
