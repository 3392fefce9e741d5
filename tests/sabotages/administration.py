"""Edits that remove the protections of `app/security/administration`, and those of granting power."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage(
        "authentication/sessions",
        "administration/test_people_details",
        "    await withdraw_invitations(db, session.account_id)\n",
        "",
    ),
    Sabotage(
        "authentication/routes",
        "administration/test_people_details",
        "        raise Problem(404)\n    await accounts.withdraw_invitations(db, caller.id)\n",
        "        raise Problem(404)\n",
    ),
    Sabotage(
        "authentication/recent_login",
        "keys/test_key_routes",
        "datetime.now(UTC) - authenticated_at <= RECENT",
        "True",
    ),
    Sabotage(
        "authentication/recent_login",
        "administration/test_grants",
        'raise invalid(connection, "session_ended")',
        "pass",
    ),
    Sabotage(
        "authentication/recent_login",
        "administration/test_grants",
        "account.token_version == caller.credential.version",
        "account is not None",
    ),
    Sabotage("authentication/recent_login", "administration/test_grants", "session.ended_at is not None or ", ""),
    Sabotage(
        "authentication/__init__",
        "administration/test_grants",
        "hooks_of(app).checks.append(recent_login.unconfirmed)",
        "pass",
    ),
    Sabotage(
        "administration/pruning",
        "administration/test_pruning",
        "        (KnownAddress.address_hash, KnownAddress.last_login_at < now - throttle.KNOWN_ADDRESS_LIFE),\n",
        "",
    ),
    Sabotage(
        "administration/pruning",
        "administration/test_pruning",
        "        await asyncio.sleep(EVERY.total_seconds())\n",
        "        break\n",
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
        "administration/commands",
        "administration/test_user_commands_details",
        "        await hasher.check_strength(password, name)\n",
        "",
    ),
    Sabotage(
        "administration/people",
        "administration/test_people",
        "if not await db.scalar(select(exists().where(*able))):",
        "if False:",
    ),
    Sabotage(
        "administration/people",
        "administration/test_people",
        "if ADMIN in await accounts.roles_of(db, account.id):",
        "if False:",
    ),
    Sabotage(
        "administration/people",
        "administration/test_people_details",
        '@router.patch("/{person_id:uuid}"',
        '@router.patch("/{person_id}"',
    ),
    Sabotage(
        "administration/self_service",
        "administration/test_people",
        "issuer.is_active & (issuer.token_version == OneTimeToken.issuer_version)",
        "issuer.is_active",
    ),
    Sabotage(
        "administration/self_service",
        "administration/test_invitations_details",
        "    await accounts.withdraw_invitations(db, account.id)\n    issued",
        "    issued",
    ),
    Sabotage(
        "administration/self_service",
        "administration/test_invitations",
        "        OneTimeToken.expires_at > utc_now(),\n",
        "",
    ),
    Sabotage(
        "administration/people",
        "administration/test_people",
        "    if ADMIN in await accounts.roles_of(db, account.id):\n        record(",
        "    if False:\n        record(",
    ),
    Sabotage("access/accounts", "administration/test_people_details", "    if granted:\n", "    if False:\n"),
    Sabotage(
        "authentication/login",
        "administration/test_users_details",
        '                record(Event.LOGIN_FAIL, outcome="failure", subject=account.id)\n',
        "",
    ),
    Sabotage(
        "access/roles",
        "administration/test_people",
        "    await db.execute(delete(OneTimeToken).where(concerned))\n    change",
        "    change",
    ),
    Sabotage(
        "access/accounts",
        "administration/test_people",
        "    await db.execute(delete(OneTimeToken).where(OneTimeToken.issuer_id == account))\n",
        "",
    ),
    Sabotage(
        "access/accounts",
        "administration/test_people_details",
        "        await withdraw_invitations(db, account.id)\n",
        "",
    ),
    Sabotage(
        "administration/people",
        "administration/test_deletion_by_administrators",
        "    if account.id == caller.id:\n        record(",
        "    if False:\n        record(",
    ),
    Sabotage(
        "administration/people",
        "administration/test_deletion_by_administrators",
        "    await delete_account(db, account)\n    await _keep_an_administrator(db)\n",
        "    await delete_account(db, account)\n",
    ),
    Sabotage(
        "administration/self_service",
        "administration/test_deletion_by_administrators",
        "if accounts.ADMINISTRATOR in await accounts.roles_of(db, caller.id):",
        "if False:",
    ),
    Sabotage(
        "administration/self_service",
        "administration/test_deletion",
        "context.app.state.credentials.cache.forget(person)",
        "None",
    ),
    Sabotage("accounts", "administration/test_accounts", "PasswordReset(account.name, ", "PasswordReset(name, "),
    Sabotage(
        "accounts",
        "administration/test_accounts_details",
        "not account.is_active or account.password",
        "account.password",
    ),
    Sabotage("accounts", "administration/test_accounts_details", "in (None, EXTERNAL_LOGIN)", "is None"),
    Sabotage("accounts", "administration/test_accounts_details", " > utc_now() - RESET_PAUSE", " > utc_now()"),
    Sabotage(
        "accounts", "administration/test_accounts_details", "await passwords.check_strength(password, name)", "pass"
    ),
    Sabotage(
        "accounts",
        "administration/test_resets_of_administrators",
        "if accounts.ADMINISTRATOR in await accounts.roles_of(db, account.id):",
        "if False:",
    ),
    Sabotage(
        "authentication/routes",
        "administration/test_accounts_details",
        'Account.id == account, Account.is_active, Account.kind == "person"',
        "Account.id == account",
    ),
    Sabotage(
        "administration/commands",
        "administration/test_user_commands_details",
        "    for work in (invite, disable, enable, unlock, end_sessions, withdraw_invitations):",
        "    for work in (invite, disable, enable, unlock, end_sessions):",
    ),
]
