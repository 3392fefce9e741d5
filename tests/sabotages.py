"""For every protection a small edit that removes it, and the generated test that has to turn red by it.

Each edit leaves a program that works: what is lost is what it stops, and nothing else would tell.
"""

from typing import NamedTuple


class Sabotage(NamedTuple):
    """In `module`, `old` (which stands there once) becomes `new`; then a test of `test` fails."""

    module: str
    test: str
    old: str
    new: str


SABOTAGES = [
    # Settings and secrets.
    Sabotage("settings", "test_settings", 'or "production"', 'or "development"'),
    Sabotage("settings", "test_settings", "hide_input_in_errors=True", "hide_input_in_errors=False"),
    Sabotage("settings", "test_settings", "settings.weaknesses() if in_production() else []", "[]"),
    Sabotage("secret_keys", "test_settings", "len(decoded) < MINIMUM_BYTES or", "False or"),
    Sabotage("secret_keys", "test_settings", "info=purpose.encode()", 'info=b""'),
    # Which route asks for whom.
    Sabotage("route_policy", "test_route_policy", "if not policy.guarded and not policy.public", "if False"),
    Sabotage("route_policy", "test_route_policy", "elif type(route) in (Route, WebSocketRoute)", "elif False"),
    Sabotage(
        "route_tables", "test_start_up", "router.routes = _ClosedRoutes(router.routes)", "router.routes = router.routes"
    ),
    Sabotage("start_up", "test_start_up", "if app.user_middleware[: len(layers)] != layers", "if False"),
    Sabotage("start_up", "test_mounted_apps", "below.redirect_slashes = False", "pass"),
    Sabotage(
        "start_up",
        "test_start_up",
        "if self.production and any(map(_overrides, self.served)):",
        "if False:",
    ),
    Sabotage("compose", "test_start_up", "start_up.install(app, public)", "start_up.install(app, ())"),
    Sabotage("compose", "test_headers", "    headers.install(app)\n", ""),
    Sabotage("routing", "test_start_up", "app.router.routes[:0] = router.routes", "app.include_router(router)"),
    Sabotage("hooks", "test_route_limit_checks", "app.state.hooks = Hooks()", "return Hooks()"),
    Sabotage("routing", "test_routing", "& {segment, ANY}", "& {segment}"),
    Sabotage("route_policy", "test_root_path", "path, method = path_in(scope)", 'path, method = scope["path"]'),
    Sabotage("included_routes", "test_included_routes", " or not _is_ordinary(route.original_router)", ""),
    Sabotage("included_routes", "test_included_routes", "route.include_context.form_limits or not", "not"),
    Sabotage("included_routes", "test_included_routes", " and type(route).matches is APIRoute.matches", ""),
    Sabotage("route_gates", "test_route_gates", " in self.asked:", " in [one for one in self.asked if one[0]]:"),
    Sabotage("route_gates", "test_route_gates", "takes_connection and not any(needs)\n", "takes_connection\n"),
    Sabotage("route_gates", "test_nested_callers", "        yield from _asking_who_calls(found)\n", ""),
    Sabotage("route_gates", "test_nested_callers", "elif who:", "elif False:"),
    Sabotage("route_gates", "test_json_bodies", "if body is not None or (is_given", "if (is_given"),
    Sabotage("route_gates", "test_json_bodies", "(is_given and not _is_ours(dependant.call))", "False"),
    Sabotage("route_policy", "test_route_policy", "own | HANDLING & vars(route).keys()", "own"),
    # Who is calling.
    Sabotage(
        "identity", "test_route_policy", "if principal.scopes is not None and not state", "if False and not state"
    ),
    Sabotage("identity", "test_key_routes", "datetime.now(UTC) - proved <= RECENT", "True"),
    Sabotage(
        "credentials", "test_key_routes", "    if sent:\n        raise refuse", "    if False:\n        raise refuse"
    ),
    Sabotage("accounts", "test_user_commands", "        await end_sessions(db, account.id)\n", ""),
    Sabotage(
        "accounts",
        "test_end_sessions",
        "await db.execute(update(Session).where(Session.ended_at",
        "(update(Session).where(Session.ended_at",
    ),
    Sabotage("known_roles", "test_roles", "return found & ROLES", "return found"),
    Sabotage("known_roles", "test_known_roles", " and len(_said) < MOST_SAID", ""),
    Sabotage("tables", "test_database", ".casefold()", ""),
    Sabotage("credential_cache", "test_identity", "begun != self._revocations", "False"),
    Sabotage("credential_cache", "test_credential_cache", "min(self._seconds, lifetime)", "self._seconds"),
    # Access tokens.
    Sabotage("tokens", "test_tokens", 'if set(header) != {"alg", "typ", "kid"} or', "if"),
    Sabotage("tokens", "test_tokens", "any(_encode(_decode(segment)) != segment for segment in segments)", "False"),
    Sabotage("tokens", "test_tokens", "expires - issued > LONGEST_LIFE_SECONDS", "False"),
    Sabotage("tokens", "test_tokens", "except Exception as error:  # RecursionError", "except KeyError as error:  # R"),
    Sabotage("bearer", "test_tokens", "rows[0].token_version != claims.version", "False"),
    Sabotage("bearer", "test_identity", "Account.is_active, Session.ended_at.is_(None)", "Account.is_active"),
    # Logging in, and what it gives.
    Sabotage("password_grant", "test_pruning", "    pruning.install(app)\n", ""),
    Sabotage(
        "auth_routes",
        "test_login_throttle",
        'presented = required(form, "token")\n    await count_source(request, "refresh")',
        'presented = required(form, "token")',
    ),
    Sabotage("oauth_forms", "test_token_endpoint", "if len(set(names)) != len(names)", "if False"),
    Sabotage(
        "token_answers",
        "test_narrowed_log_in",
        "narrowed=granted is not None or asked is not None",
        "narrowed=granted is not None",
    ),
    Sabotage(
        "login",
        "test_login",
        '"token")\n        right = await self._verify',
        '"token")\n        right = account is not None and await self._verify',
    ),
    Sabotage(
        "login",
        "test_log_safety",
        "account.id if account else events.name_digest(login)",
        "account.id if account else name",
    ),
    Sabotage("login", "test_users", "Account.password_hash == verified.password_hash, ", ""),
    Sabotage(
        "login_throttle", "test_login_throttle", "    if not known:\n        found", "    if True:\n        found"
    ),
    Sabotage("login_throttle", "test_login_throttle", 'in keys_for("throttle")]', 'in keys_for("throttle")[:1]]'),
    Sabotage("login_throttle", "test_login_throttle", "AFTER_TOO_MANY if too_many else ()", "()"),
    Sabotage("throttle_buckets", "test_throttle_buckets", ".offset(BUCKETS_OF_NOBODY)", ".offset(10**9)"),
    Sabotage("throttle_buckets", "test_throttle_buckets", "if len(recent) < limit.attempts", "if True"),
    Sabotage("sessions", "test_refresh_tokens", "RefreshToken.used_at.is_(None))", "True)"),
    Sabotage("sessions", "test_refresh_tokens", "    session.ended_at = now\n    _record_reuse", "    _record_reuse"),
    Sabotage(
        "sessions",
        "test_refresh_tokens",
        "min(session.expires_at, _idle_end(session)) <= now",
        "session.expires_at <= now",
    ),
    Sabotage(
        "sessions",
        "test_sessions",
        "Session.account_id == account, Session.ended_at.is_(None))\n    if",
        "Session.ended_at.is_(None))\n    if",
    ),
    Sabotage(
        "pruning",
        "test_pruning",
        "        (KnownAddress.address_hash, KnownAddress.last_login_at < now - KNOWN_FOR),\n",
        "",
    ),
    Sabotage(
        "passwords",
        "test_passwords",
        'self._passlib.verify("nobody", self._nobody)\n            return False\n        try',
        "return False\n        try",
    ),
    Sabotage("passwords", "test_passwords", "if self._jobs >= self._threads + QUEUE", "if False"),
    Sabotage("passwords", "test_passwords", "guessability(password, words)) < 3", "guessability(password, words)) < 0"),
    Sabotage("password_policy", "test_passwords", "(_letters(password), _letters_and_digits(password))", "(password,)"),
    Sabotage("users", "test_users", "await accounts.end_sessions(db, caller.id, keep=caller.credential.id)", "pass"),
    Sabotage("users", "test_users", "if not await login.check(account, change.current_password, client):", "if False:"),
    Sabotage(
        "invitations",
        "test_invitations",
        "    await db.execute(delete(OneTimeToken).where(OneTimeToken.account_id == account.id))\n",
        "",
    ),
    Sabotage("user_commands", "test_user_commands", "        await hasher.judge(password, name)\n", ""),
    # Roles and people.
    Sabotage("roles", "test_roles", "if principal.roles.isdisjoint(self.roles):", "if False:"),
    Sabotage("people", "test_people", "if not await _administrators(db):", "if False:"),
    Sabotage(
        "people",
        "test_people",
        '@router.patch("/{person_id:uuid}", dependencies=[recent_login])',
        '@router.patch("/{person_id:uuid}")',
    ),
    Sabotage("people", "test_people", '"/{person_id:uuid}", d', '"/{person_id}", d'),
    # Requests.
    Sabotage("request_guard", "test_request_guard", 'host_name(headers[b"host"]) not in self.hosts', "False"),
    Sabotage(
        "request_guard",
        "test_request_guard",
        'if self.production and scope["scheme"] not in',
        'if False and scope["scheme"] not in',
    ),
    Sabotage("request_guard", "test_request_guard", "(server is not None and server[1] is None)", "True"),
    Sabotage("request_guard", "test_root_path", "path_in(scope) not in HEALTH", 'scope["path"] not in HEALTH'),
    Sabotage("request_guard", "test_max_body_size", "    app.max_body_size = None", "    None"),
    Sabotage("route_gates", "test_max_body_size", " else route.app.app.app", " else route.app"),
    Sabotage("route_tables", "test_json_bodies", "            yield found\n", "            pass\n"),
    Sabotage("json_bodies", "test_json_bodies", "if len(found) != len(members):", "if False:"),
    Sabotage("json_bodies", "test_json_bodies", "if len(body) > LARGE_BYTES", "if False"),
    Sabotage("json_bodies", "test_in_flight", "reading = self.state.context.thread = ", "reading = "),
    Sabotage("route_gates", "test_nested_callers", "yield replace(found, name=None)", "yield found"),
    Sabotage("limit_storage", "test_limit_storage", "if not -expiry < age", "if not 0 <= age"),
    Sabotage("json_bodies", "test_json_bodies", "if _MAY_HOLD_SURROGATE.search(body):", "if False:"),
    Sabotage("route_gates", "test_json_bodies", "(route.app, limited, asked,", "(route.app, route.app, asked,"),
    Sabotage("errors", "test_known_names", "isinstance(part, int) or part in known", "True"),
    Sabotage("errors", "test_crashes", "problem = problem_for(cast(Exception, error))", "problem = Problem(418)"),
    Sabotage("errors", "test_crashes", "return task is not None and task.cancelling() > 0", "return True"),
    Sabotage("errors", "test_crashes", "            if context.answered:", "            if False:"),
    Sabotage("errors", "test_known_names", '    "zoneinfo_str",\n', ""),
    Sabotage("known_names", "test_known_names", "            if key in NAMED and", "            if False and"),
    Sabotage("request_shape", "test_request_guard", "if name in found:", "if False:"),
    Sabotage("request_shape", "test_request_guard", "if size > max_bytes:", "if False:"),
    Sabotage("request_log", "test_log_safety", 'logs.redact(agent.decode("latin-1"))', 'agent.decode("latin-1")'),
    Sabotage("request_shape", "test_request_guard", "if len(said) != len(set(said)) and", "if False and"),
    Sabotage("single_parameters", "test_route_exceptions", "if found[name] > 1", "if False"),
    Sabotage("single_parameters", "test_route_exceptions", "        events.record(", "        str("),
    Sabotage("request_body", "test_request_guard", "if self._left < 0:", "if False:"),
    Sabotage("request_body", "test_half_sent", "asyncio.timeout_at(self._until)", "asyncio.timeout_at(None)"),
    Sabotage("in_flight", "test_in_flight", "if taken >= self.of_one_source:", "if False:"),
    Sabotage("in_flight", "test_in_flight", "if thread is None or thread.done():", "if True:"),
    Sabotage("threads", "test_in_flight", "        context.thread = done\n", "        pass\n"),
    Sabotage("threads", "test_in_flight", "call=known(dependency.call)", "call=dependency.call"),
    Sabotage("threads", "test_in_flight", "return _known_to_begin(work)", "return work"),
    Sabotage("deadlines", "test_half_sent", "(late or self._answer.sending_since < taken_before)", "late"),
    Sabotage(
        "request_body", "test_request_body", "            _check_encoding(self._begin, self._allowed.media_types)\n", ""
    ),
    Sabotage("deadlines", "test_request_guard", "            watched.give_up()\n", "            pass\n"),
    Sabotage(
        "client_address",
        "test_client_address",
        "ProxyHeadersMiddleware(app, proxies) if proxies else app",
        'ProxyHeadersMiddleware(app, "*")',
    ),
    Sabotage("compose", "test_forms", '"form_limits": forms, ', ""),
    Sabotage("telemetry", "test_telemetry", "{} if asked_for else", "{} if True else"),
    Sabotage("client_address", "test_client_address", "name not in dropped and ", ""),
    Sabotage("headers", "test_headers", '    "X-Frame-Options": "DENY",\n', ""),
    Sabotage(
        "headers",
        "test_headers",
        'add = self.add_on_https if scope["scheme"] in ("https", "wss") else',
        "add = self.add_on_https or",
    ),
    Sabotage("headers", "test_headers", "STRICT_TRANSPORT_SECURITY if in_production() else {}", "{}"),
    # API keys.
    Sabotage("api_keys", "test_api_keys", "or parsed.mode != self.mode", "or False"),
    Sabotage("api_keys", "test_api_keys", "row.revoked_at is not None or", "False or"),
    Sabotage("key_format", "test_key_format", "checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]", "False"),
    Sabotage("key_store", "test_key_use", "if len([key for key in live if key.replaced_at is None]) >= room or", "if"),
    Sabotage(
        "key_store",
        "test_key_routes",
        "row.key_hash, row.last_four = token_hash(text)",
        "row.key_hash, row.last_four = text.encode()[:32]",
    ),
    Sabotage("key_commands", "test_key_commands", 'if owner.kind != "service":', "if False:"),
    Sabotage("key_routes", "test_key_routes", "if not allowed.issuperset(wanted.scopes):", "if False:"),
    # Limits.
    Sabotage("rate_limits", "test_route_limit_checks", "    route_limit_checks.install(app)\n", ""),
    Sabotage("caller_limits", "test_rate_limits", "if refusal is None:", "if True:"),
    Sabotage("caller_limits", "test_limited_callers", "credentials.on_identified.append(charge)", "pass"),
    Sabotage("caller_limits", "test_rate_limit_settings", "1 or _is_worker()", "1"),
    Sabotage("limit_settings", "test_rate_limit_settings", 'name.upper().startswith("RATELIMIT_")', "False"),
    Sabotage("limit_storage", "test_limit_storage", "max(1, limit // processes)", "limit"),
    Sabotage("route_limit_storage", "test_limit_storage", "alone = share(limit, self._processes)", "alone = limit"),
    Sabotage("route_limits", "test_route_limits", "or caller_key(request)", 'or ""'),
    Sabotage("route_limit_checks", "test_route_limit_checks", ", *_failing(policy)]", "]"),
    Sabotage(
        "route_limit_checks", "test_route_limit_checks", "if not owners and name in limiter.decorated():", "if False:"
    ),
    # Browsers, documents, errors.
    Sabotage("cors", "test_cors", "allow_origins=origins", 'allow_origins=["*"]'),
    Sabotage("errors", "test_errors", "if kind in _QUOTES_INPUT else", "if False else"),
    Sabotage(
        "crashes",
        "test_errors",
        'Problem(500, detail="Something went wrong here. The request\'s id helps us to find it.")',
        "Problem(500, detail=str(error))",
    ),
    Sabotage("problems", "test_errors", 'media_type = "application/problem+json"', 'media_type = "application/json"'),
    Sabotage("api_docs", "test_api_docs", "None if in_production() else find_spec(PACKAGE)", "find_spec(PACKAGE)"),
    Sabotage("api_docs", "test_api_docs", "script-src 'self' {allowed}", "script-src 'self' 'unsafe-inline'"),
    Sabotage(
        "api_docs",
        "test_root_path",
        'return quote(request.state.context.root_path.rstrip("/"))',
        'return str(request.state.context.root_path.rstrip("/"))',
    ),
    Sabotage("body_shapes", "test_body_shapes", 'schema.get("additionalProperties") is not False', "False"),
    Sabotage("health", "test_health", 'detail="Not ready."', "detail=str(request.state.database.engine.url)"),
    Sabotage("websockets", "test_websockets", "if _bytes_of(message.result()) <= self._max_bytes:", "if True:"),
    Sabotage("websockets", "test_websockets", "_answering(scope, receive, send)", "send"),
    Sabotage("websockets", "test_socket_ends", "            await _answer_for_it(scope, socket)", "            pass"),
    Sabotage("websockets", "test_socket_ends", "except (OSError, RuntimeError) as error", "except KeyError as error"),
    Sabotage("websockets", "test_socket_ends", "if self._connecting:", "if False:"),
    Sabotage("errors", "test_websockets", " and not _takes_an_answer(scope)", ""),
    Sabotage("request_log", "test_websockets", '"websocket.accept": 101, ', ""),
    Sabotage("websockets", "test_websockets", "len(text if text.isascii() else text.encode(", "len(text or str("),
    Sabotage("sessions", "test_sessions", "if _idle_end(session) > now]", "]"),
    Sabotage("invitations", "test_invitations", ', Account.kind == "person")', ",)"),
    Sabotage("route_policy", "test_route_policy", "not _has_layers(route, app)", "True"),
    # Events and logs.
    Sabotage(
        "events",
        "test_event_lines",
        "    _tell(db, fields)\n    after_commit(db, lambda: _write(fields))",
        "    _tell(db, fields)\n    _write(fields)",
    ),
    Sabotage("logs", "test_log_lines", '_CREDENTIAL.sub("[redacted]", text)', "text"),
    Sabotage("logs", "test_on_the_wire", "addFilter(_is_worth_a_line)", "addFilter(lambda record: True)"),
    Sabotage("logs", "test_log_lines", 'name != "uvicorn.access"', "True"),
    Sabotage("logs", "test_log_lines", """('%s - "WebSocket %s"', "ASGI""", '("ASGI'),
    Sabotage("request_log", "test_event_lines", 'if inbound and scope["state"]["trusted_peer"]', "if inbound"),
    # The audit log.
    Sabotage("audit_log", "test_audit_log", "        raise NotRecorded from error\n", ""),
    Sabotage("audit_writer", "test_audit_log", "WAITING_AT_MOST // 2 if", "WAITING_AT_MOST if"),
    Sabotage("audit_chain", "test_audit_chain", 'if value is not None and name != "hash"', 'if name == "seq"'),
    Sabotage("audit_chain", "test_audit_seen", "    await _compare_with_seen(db, head)\n", ""),
    Sabotage("audit_marks", "test_audit_chain", "if hmac.compare_digest(key.sign(*parts), mac)", "if True"),
    Sabotage("audit_check", "test_audit_chain", "if row.hash != expected:", "if False:"),
    Sabotage("audit_commands", "test_audit_commands", "    events.listen(audit_log.keep)\n", ""),
    Sabotage(
        "audit_key",
        "test_audit_keys",
        "roots = settings.roots() if alone else",
        "roots = settings.roots() if False else",
    ),
    Sabotage("audit_restart", "test_audit_restart", "os.O_CREAT | os.O_EXCL", "os.O_CREAT"),
    Sabotage(
        "audit_routes",
        "test_audit_routes",
        "    events.record_change(db, Event.AUDIT_READ, actor=caller.id, subject=read)\n",
        "",
    ),
    # The database, the command line, updates.
    Sabotage(
        "database",
        "test_database",
        'DbSession = Annotated[AsyncSession, Depends(_session, scope="function")]',
        'DbSession = Annotated[AsyncSession, Depends(_session, scope="request")]',
    ),
    Sabotage("database", "test_database", '"command_timeout": SILENT_SECONDS', '"command_timeout": 60'),
    Sabotage("database", "test_database", '"foreign_keys=ON"', '"foreign_keys=OFF"'),
    Sabotage(
        "migrations",
        "test_migrations",
        'kind != "table" or item.key not in SECURITY_TABLES | {SECURITY_VERSIONS}',
        "True",
    ),
    Sabotage("schema_check", "test_migrations", "found.is_empty and not in_production()", "found.is_empty"),
    Sabotage("schema_check", "test_schema_check", "set(rows.scalars()) != newest(folder)", "False"),
    Sabotage("conflicts", "test_conflicts", "if line.startswith(MARKERS):", "if False:"),
    Sabotage("cli", "test_cli", "                path.chmod(0o600)\n", ""),
    Sabotage("doctor", "test_doctor", "return not (in_production() and chosen.weaknesses())", "return True"),
    Sabotage("policy_words", "test_cli", "if policy.public and not policy.guarded:", "if policy.guarded:"),
    Sabotage(
        "left_out",
        "test_left_out",
        "    if _LeftOut not in sys.meta_path:\n        sys.meta_path.append(_LeftOut)\n",
        "    return\n",
    ),
    Sabotage(
        "terminal",
        "test_cli",
        'return type(getattr(error, "driver_exception", None) or error).__name__',
        "return str(error)",
    ),
]
