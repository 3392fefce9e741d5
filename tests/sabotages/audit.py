"""Edits that remove the protections of `app/security/audit`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("audit/__init__", "audit/test_audit_unavailable", ' if row["id"] not in written', ""),
    Sabotage("audit/__init__", "audit/test_audit_log", "        raise NotRecorded from error\n", ""),
    Sabotage("audit/__init__", "audit/test_audit_log_details", "MAX_WAITING // 2 if", "MAX_WAITING if"),
    Sabotage("audit/__init__", "audit/test_audit_log", "not event.startswith(NEVER_WAITING)", "True"),
    Sabotage(
        "audit/__init__", "audit/test_audit_log_details", "while self._waiting and await self.write():", "while False:"
    ),
    Sabotage("audit/chain", "audit/test_audit_tampering", "before + text.encode()", "text.encode()"),
    Sabotage(
        "audit/chain", "audit/test_audit_tampering", 'if value is not None and name != "hash"', 'if name == "seq"'
    ),
    Sabotage("audit/chain", "audit/test_audit_chain", "if seq < (last :=", "if 0 > (last :="),
    Sabotage(
        "audit/chain", "audit/test_audit_log_details", "Event.AUDIT_CHECKPOINT, subject=str(head)", "Event.STARTUP"
    ),
    Sabotage("audit/chain", "audit/test_audit_tampering", "hmac.compare_digest(head.mac(secret), row.mac)", "True"),
    Sabotage("audit/chain", "audit/test_audit_chain", "if row.hash != row_hash(", "if False and row_hash("),
    Sabotage(
        "audit/chain", "audit/test_audit_chain_details", "if here.seq < max(head.seq, checkpoint.seq):", "if False:"
    ),
    Sabotage("audit/chain", "audit/test_audit_chain", "and checkpoint.hash != row.hash:", "and False:"),
    Sabotage("audit/chain", "audit/test_audit_tampering", "if here != head or", "if here.seq != head.seq or"),
    Sabotage("audit/chain", "audit/test_audit_tampering", "if start.seq >= row.seq:", "if False:"),
    Sabotage("audit/chain", "audit/test_audit_unavailable", "select(exists(select(EVENTS.c.seq)))", "select(False)"),
    Sabotage("audit/chain", "audit/test_audit_keys", "if not (roots and settings.in_production()):", "if True:"),
    Sabotage("audit/chain", "audit/test_audit_keys", "if key_age > age:", "if False:"),
    Sabotage("audit/chain", "audit/test_audit_keys", " or list(keys).index(signer) > age:", ":"),
    Sabotage("audit/chain", "audit/test_audit_keys", "if not set(self.roots()).isdisjoint(", "if False and ("),
    Sabotage("audit/chain", "audit/test_audit_restart", "(?:, [0-9]+ rows)?", ""),
    Sabotage("audit/commands", "audit/test_audit_commands", "    listen(keep)\n", ""),
    Sabotage("audit/commands", "audit/test_audit_commands", "    _run(chain.verify)\n", ""),
    Sabotage("audit/retention", "audit/test_audit_restart", "if last.seq > start.seq:", "if True:"),
    Sabotage("audit/commands", "audit/test_audit_restart", "EVENTS.c.seq > PLAUSIBLE", "EVENTS.c.seq > 2**63 - 1"),
    Sabotage("audit/commands", "audit/test_audit_commands", "    await chain.write_head(db, start)\n", ""),
    Sabotage(
        "audit/routes",
        "audit/test_audit_routes",
        "    record_change(db, Event.AUDIT_READ, actor=caller.id, subject=read)\n",
        "",
    ),
]
