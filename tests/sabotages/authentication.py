"""Edits that remove the protections of `app/security/authentication`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("authentication/tokens", "authentication/test_tokens", 'if set(header) != {"alg", "typ", "kid"} or', "if"),
    Sabotage(
        "authentication/tokens",
        "authentication/test_tokens",
        "any(_encode(_decode(segment)) != segment for segment in segments)",
        "False",
    ),
    Sabotage("authentication/tokens", "authentication/test_tokens", "expires - issued > LONGEST_LIFE_SECONDS", "False"),
    Sabotage(
        "authentication/tokens",
        "authentication/test_tokens",
        "except Exception as error:  # RecursionError",
        "except KeyError as error:  # R",
    ),
    Sabotage("authentication/bearer", "authentication/test_tokens", "rows[0].token_version != claims.version", "False"),
    Sabotage(
        "authentication/bearer",
        "authentication/test_identity",
        "Account.is_active, Session.ended_at.is_(None)",
        "Account.is_active",
    ),
    Sabotage("authentication/password_grant", "administration/test_pruning", "    pruning.install(app)\n", ""),
    Sabotage(
        "authentication/routes",
        "authentication/test_login_throttle",
        'presented = required(form, "token")\n    await count_source(request, "refresh")',
        'presented = required(form, "token")',
    ),
    Sabotage(
        "authentication/oauth_forms",
        "authentication/test_token_endpoint",
        "if len(set(names)) != len(names)",
        "if False",
    ),
    Sabotage(
        "authentication/token_answers",
        "authentication/test_narrowed_log_in",
        "narrowed=granted is not None or asked is not None",
        "narrowed=granted is not None",
    ),
    Sabotage(
        "authentication/login",
        "authentication/test_login",
        '"token")\n        right = await self._verify',
        '"token")\n        right = account is not None and await self._verify',
    ),
    Sabotage(
        "authentication/login",
        "authentication/test_log_safety",
        "account.id if account else events.name_digest(login)",
        "account.id if account else name",
    ),
    Sabotage(
        "authentication/login", "administration/test_users", "Account.password_hash == verified.password_hash, ", ""
    ),
    Sabotage(
        "authentication/throttle",
        "authentication/test_login_throttle",
        "    if not known:\n        found",
        "    if True:\n        found",
    ),
    Sabotage(
        "authentication/throttle",
        "authentication/test_login_throttle",
        'in keys_for("throttle")]',
        'in keys_for("throttle")[:1]]',
    ),
    Sabotage(
        "authentication/throttle", "authentication/test_login_throttle", "AFTER_TOO_MANY if too_many else ()", "()"
    ),
    Sabotage(
        "authentication/throttle_buckets",
        "authentication/test_throttle_buckets",
        ".offset(BUCKETS_OF_NOBODY)",
        ".offset(10**9)",
    ),
    Sabotage(
        "authentication/throttle_buckets",
        "authentication/test_throttle_buckets",
        "if len(recent) < limit.attempts",
        "if True",
    ),
    Sabotage(
        "authentication/sessions", "authentication/test_refresh_tokens", "RefreshToken.used_at.is_(None))", "True)"
    ),
    Sabotage(
        "authentication/sessions",
        "authentication/test_refresh_tokens",
        "    session.ended_at = now\n    _record_reuse",
        "    _record_reuse",
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
        "Session.account_id == account, Session.ended_at.is_(None))\n    if",
        "Session.ended_at.is_(None))\n    if",
    ),
    Sabotage(
        "authentication/passwords",
        "authentication/test_passwords",
        'self._passlib.verify("nobody", self._nobody)\n            return False\n        try',
        "return False\n        try",
    ),
    Sabotage(
        "authentication/passwords",
        "authentication/test_passwords",
        "if self._jobs >= self._threads + QUEUE",
        "if False",
    ),
    Sabotage(
        "authentication/passwords",
        "authentication/test_passwords",
        "guessability(password, words)) < 3",
        "guessability(password, words)) < 0",
    ),
    Sabotage(
        "authentication/password_policy",
        "authentication/test_passwords",
        "(_letters(password), _letters_and_digits(password))",
        "(password,)",
    ),
    Sabotage("authentication/sessions", "authentication/test_sessions", "if _idle_end(session) > now]", "]"),
]
