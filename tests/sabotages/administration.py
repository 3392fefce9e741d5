"""Edits that remove the protections of `app/security/administration`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage(
        "administration/pruning",
        "administration/test_pruning",
        "        (KnownAddress.address_hash, KnownAddress.last_login_at < now - KNOWN_FOR),\n",
        "",
    ),
    Sabotage(
        "administration/self_service",
        "administration/test_users",
        "await accounts.end_sessions(db, caller.id, keep=caller.credential.id)",
        "pass",
    ),
    Sabotage(
        "administration/self_service",
        "administration/test_users",
        "if not await login.check(account, change.current_password, client):",
        "if False:",
    ),
    Sabotage(
        "administration/invitations",
        "administration/test_invitations",
        "    await db.execute(delete(OneTimeToken).where(OneTimeToken.account_id == account.id))\n",
        "",
    ),
    Sabotage(
        "administration/commands",
        "administration/test_user_commands",
        "        await hasher.judge(password, name)\n",
        "",
    ),
    Sabotage("administration/people", "administration/test_people", "if not await _administrators(db):", "if False:"),
    Sabotage(
        "administration/people",
        "administration/test_people",
        '@router.patch("/{person_id:uuid}", dependencies=[recent_login])',
        '@router.patch("/{person_id:uuid}")',
    ),
    Sabotage("administration/people", "administration/test_people", '"/{person_id:uuid}", d', '"/{person_id}", d'),
    Sabotage("administration/invitations", "administration/test_invitations", ', Account.kind == "person")', ",)"),
]
