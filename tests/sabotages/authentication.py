"""Edits that remove the protections of `app/security/authentication`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage(
        "authentication/sessions",
        "keys/test_key_routes_details",
        "        await _reused(db, used, session, client, now)\n    else:\n        await end(",
        "        pass\n    else:\n        await end(",
    ),
    Sabotage("authentication/sessions", "keys/test_key_routes_details", ", made, actor=session.account_id)", ", made)"),
    Sabotage(
        "authentication/sessions",
        "keys/test_key_routes_details",
        "await revoke_keys(db, session.account_id, made, actor=session.account_id)",
        "pass",
    ),
    Sabotage(
        "authentication/sessions",
        "keys/test_key_routes_details",
        "if used.used_at is not None and not _just_now(used, client, now):  # also",
        "if False:  # also",
    ),
    Sabotage(
        "authentication/sessions",
        "keys/test_key_routes_details",
        "ApiKey.created_at.between(session.created_at, session.ended_at)",
        "ApiKey.created_at >= session.created_at",
    ),
    Sabotage(
        "authentication/routes",
        "access/test_misused_requirements",
        "scopes if narrowed else frozenset()",
        "scopes",
    ),
    Sabotage(
        "authentication/tokens",
        "authentication/test_sessions",
        "        context.actor, context.credential = str(claims.sub), claims.sid",
        "        context",
    ),
    Sabotage("authentication/tokens", "authentication/test_identity", "[ALGORITHM])\n", "[ALGORITHM], verify=False)\n"),
    Sabotage("authentication/tokens", "authentication/test_identity", "if (claims.iss, claims.aud) !=", "if None and"),
    Sabotage("authentication/tokens", "authentication/test_identity", "claims.exp <= now - LEEWAY_SECONDS", "False"),
    Sabotage(
        "authentication/routes",
        "authentication/test_exempt_credentials",
        '"token": {"format": "password", "writeOnly": True},',
        '"token": {"format": "password"},',
    ),
    Sabotage("authentication/tokens", "authentication/test_tokens", "if claims.encoded() != payload:", "if False:"),
    Sabotage(
        "authentication/tokens", "authentication/test_tokens", "claims.exp - claims.iat > LONGEST_LIFE_SECONDS", "False"
    ),
    Sabotage("authentication/tokens", "authentication/test_tokens", "rows[0].token_version != claims.ver", "False"),
    Sabotage(
        "authentication/tokens",
        "authentication/test_identity",
        "Account.is_active, Session.ended_at.is_(None)",
        "Account.is_active",
    ),
    Sabotage(
        "authentication/routes",
        "authentication/test_login_throttle_details",
        '"token")\n    await throttle.count_source(request.state.database, client, "refresh")',
        '"token")',
    ),
    Sabotage(
        "authentication/routes",
        "authentication/test_token_endpoint_details",
        "if len({name for name, _ in pairs}) != len(pairs)",
        "if False",
    ),
    Sabotage(
        "authentication/routes",
        "authentication/test_token_endpoint",
        "text = (await request.body()).decode()",
        "text = (await request.body()).decode() or request.url.query",
    ),
    Sabotage(
        "authentication/routes",
        "authentication/test_narrowed_login_details",
        "narrowed = granted is not None or requested is not None",
        "narrowed = granted is not None",
    ),
    Sabotage(
        "authentication/routes",
        "administration/test_own_sessions",
        "await sessions.end(db, claims.sub, claims.sid)",
        "pass",
    ),
    Sabotage(
        "authentication/login",
        "authentication/test_login",
        "await self._passwords.verify(password, account.password_hash if account else None)",
        "account and await self._passwords.verify(password, account.password_hash)",
    ),
    Sabotage(
        "authentication/passwords",
        "authentication/test_login",
        "right, renewed = self._passlib.verify_and_update(password, None)",
        "right, renewed = False, None",
    ),
    Sabotage(
        "authentication/login",
        "authentication/test_log_safety",
        "    return hmac.digest(",
        "    return login or hmac.digest(",
    ),
    Sabotage(
        "authentication/login",
        "administration/test_users_details",
        "Account.password_hash == account.password_hash, ",
        "",
    ),
    Sabotage(
        "authentication/throttle",
        "authentication/test_login_throttle",
        "    if not known:\n        found",
        "    if True:\n        found",
    ),
    Sabotage(
        "authentication/throttle",
        "authentication/test_login_throttle_details",
        'in keys_for("throttle")]',
        'in keys_for("throttle")[:1]]',
    ),
    Sabotage(
        "authentication/throttle",
        "administration/test_own_sessions",
        'refunded = _keys("account", login) if not known else []',
        "refunded: list[bytes] = []",
    ),
    Sabotage(
        "authentication/throttle",
        "authentication/test_throttle_buckets",
        ".offset(MAX_ANONYMOUS_BUCKETS)",
        ".offset(10**9)",
    ),
    Sabotage(
        "authentication/throttle",
        "authentication/test_login_throttle",
        "Limit(1, HOUR, after_failures=100)",
        "Limit(100, HOUR, after_failures=100)",
    ),
    Sabotage(
        "authentication/sessions", "authentication/test_refresh_tokens", "RefreshToken.used_at.is_(None))", "True)"
    ),
    Sabotage(
        "authentication/sessions",
        "administration/test_own_sessions",
        "    await _consume(db, client, RefreshToken.session_id == session)\n",
        "",
    ),
    Sabotage(
        "authentication/sessions",
        "administration/test_own_sessions_details",
        "        session.reuse_refusals = 0",
        "        pass",
    ),
    Sabotage(
        "authentication/sessions",
        "authentication/test_refresh_tokens",
        "min(session.expires_at, _idle_end(session)) <= now",
        "session.expires_at <= now",
    ),
    Sabotage(
        "authentication/sessions",
        "authentication/test_sessions",
        "own = (Session.id == session, Session.account_id == account, ",
        "own = (Session.id == session, ",
    ),
    Sabotage("authentication/sessions", "authentication/test_sessions_details", "if _idle_end(session) > now]", "]"),
    Sabotage(
        "authentication/passwords",
        "authentication/test_passwords_details",
        "if self._jobs >= self._threads + QUEUE",
        "if False",
    ),
    Sabotage(
        "authentication/passwords",
        "authentication/test_passwords",
        "MINIMUM_SCORE = 3",
        "MINIMUM_SCORE = 0",
    ),
    Sabotage(
        "authentication/passwords",
        "authentication/test_passwords",
        'text = rest = re.sub(SIGNS, "", normalise_login(password))',
        "text = rest = password",
    ),
    Sabotage(
        "authentication/login",
        "authentication/test_login_throttle_details",
        "            self._locks_reported.record(subject or client.prefix, Event.LOGIN_LOCK, subject=subject)\n",
        "",
    ),
    Sabotage(
        "authentication/login",
        "authentication/test_login_throttle_details",
        "None if refusal.of_source and account is None else ",
        "",
    ),
]
