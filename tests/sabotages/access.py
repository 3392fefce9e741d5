"""Edits that remove the protections of `app/security/access`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("access/policy", "admission/test_forms", "{*JSON, *types}", "JSON"),
    Sabotage("access/identity", "access/test_late_bodies", "monotonic() + 1  # a", "monotonic() + cache.seconds  # a"),
    Sabotage(
        "access/identity",
        "http/test_streams",
        "            await asyncio.sleep(0)  # a stream",
        "            pass  # a stream",
    ),
    Sabotage("access/identity", "access/test_misused_requirements", "if current.get() is not None:", "if False:"),
    Sabotage(
        "access/policy",
        "access/test_misused_requirements",
        "classes = [one for one in policy.calls if isclass(one)]",
        "classes = []",
    ),
    Sabotage("access/policy", "access/test_misused_requirements", "if one.own_oauth_scopes]", "if False]"),
    Sabotage(
        "access/policy", "access/test_misused_requirements", "if any(get_origin(one) is Annotated", "if any(False"
    ),
    Sabotage("access/identity", "access/test_misused_requirements", "if scope.split() != [scope]:", "if False:"),
    Sabotage("access/policy", "access/test_misused_requirements", 'if one.scope != "function"]', "if False]"),
    Sabotage(
        "access/accounts",
        "authentication/test_login_details",
        "not name.strip().isprintable()",
        "not name.isprintable()",
    ),
    Sabotage(
        "access/identity",
        "administration/test_people",
        'if status == 403 or error == "insufficient_user_authentication":',
        "if status == 403:",
    ),
    Sabotage(
        "access/identity",
        "access/test_below_mounts",
        "needed = self.scopes | (",
        "needed = set() | (",
    ),
    Sabotage("access/policy", "access/test_below_mounts", "for one in skipped]", "for one in ()]"),
    Sabotage(
        "admission/request_guard", "access/test_below_mounts", 'if "internal" in self.limits and policy', "if False"
    ),
    Sabotage("http/client_address", "http/test_client_address_details", "*sys.argv", "*()"),
    Sabotage("access/credentials", "access/test_callers", "__get_pydantic_core_schema__", "_unused"),
    Sabotage("access/policy", "access/test_route_policy", "if not policy.guarded and not policy.public", "if False"),
    Sabotage(
        "access/policy", "access/test_route_policy", "elif isinstance(route, (Route, WebSocketRoute))", "elif False"
    ),
    Sabotage("access/policy", "access/test_route_policy", "(type(route.app) not in WALKABLE or", "(False or"),
    Sabotage("access/policy", "access/test_access", "everything.apply(self._declared.get(path, ()))", "everything"),
    Sabotage("access/policy", "access/test_access", "group += 1 + re.compile(policy.pattern).groups", "group += 1"),
    Sabotage(
        "access/policy",
        "http/test_route_exceptions",
        'if all(kind.get("type") != "array" for',
        "if False and all(True for",
    ),
    Sabotage(
        "access/policy",
        "admission/test_request_guard",
        "if FORMS[1] in types:",
        "if FORMS[1] not in types:",
    ),
    Sabotage(
        "access/policy",
        "admission/test_max_body_size",
        'if declared := self.limits.get("media_types"):',
        'if (declared := self.limits.get("media_types")) is not None:',
    ),
    Sabotage(
        "access/credentials",
        "core/test_event_lines",
        "return str(self.id)",
        "return self.name",
    ),
    Sabotage("access/identity", "access/test_access", "await self._admit(scope)", 'context.policy or Policy("", "")'),
    Sabotage(
        "access/identity",
        "access/test_route_policy",
        "                await requirement.check(connection)\n",
        "                pass\n",
    ),
    Sabotage(
        "access/identity",
        "access/test_access",
        "if policy.endpoint is not None and endpoint is not policy.endpoint and",
        "if False and",
    ),
    Sabotage("http/request_log", "access/test_access", "            call(message)", "            pass"),
    Sabotage(
        "access/policy", "http/test_socket_ends", "class InsecureApp(Exception)", "class InsecureApp(RuntimeError)"
    ),
    Sabotage(
        "access/identity",
        "access/test_access",
        "raise Problem(405, headers",
        'return Policy("", "")\n            raise Problem(405, headers',
    ),
    Sabotage("access/identity", "access/test_late_bodies", "cache.revocations != context.revocations or time", "time"),
    Sabotage(
        "access/identity", "access/test_late_bodies", "if principal is None or is_outdated:", "if principal is None:"
    ),
    Sabotage("access/policy", "access/test_declared_paths", "in MADE_BY_CALLS]", "in ()]"),
    Sabotage(
        "access/policy",
        "access/test_declared_paths",
        "(one for one in self.all if one.endpoint is None)",
        "self._frontends",
    ),
    Sabotage("access/identity", "access/test_access_details", "context_in(scope).app.exception_handlers", "{}"),
    Sabotage(
        "access/identity", "access/test_access", "self.overridable = not in_production()", "self.overridable = True"
    ),
    Sabotage(
        "access/identity",
        "access/test_route_policy",
        "        if principal.scopes is not None:\n",
        "        if False:\n",
    ),
    Sabotage("access/identity", "admission/test_request_guard", "    if repeated:", "    if False:"),
    Sabotage("http/errors", "http/test_route_exceptions", "reported.record(f", "str(f"),
    Sabotage(
        "access/identity",
        "keys/test_key_routes_details",
        "    if len(context.sent) > 1:",
        "    if False:",
    ),
    Sabotage("access/credentials", "access/test_revocation", "begun != self.revocations", "False"),
    Sabotage("access/credentials", "access/test_credential_cache", "min(self.seconds, lifetime)", "self.seconds"),
    Sabotage("access/credentials", "access/test_revocation", "now + min(self.seconds, lifetime)", "now + lifetime"),
    Sabotage(
        "access/credentials",
        "access/test_revocation",
        "for key in [key for key, entry in self._entries.items() if entry.caller.id == account]:",
        "for key in ():",
    ),
    Sabotage(
        "access/accounts", "administration/test_user_commands", "        await end_sessions(db, account.id)\n", ""
    ),
    Sabotage("access/accounts", "access/test_roles_details", "stored if role in ROLES", "stored if role"),
    Sabotage("access/roles", "access/test_roles", "if principal.roles.isdisjoint(self.roles):", "if False:"),
    Sabotage(
        "access/policy",
        "access/test_declared_paths",
        "if socket else context.methods or ()",
        "if socket or not context.methods else context.methods",
    ),
    Sabotage("access/policy", "access/test_declared_paths", "if policy.guarded and first is not policy:", "if False:"),
    Sabotage("access/policy", "access/test_declared_paths", "walked, key=len, reverse=True)", "walked, key=len)"),
    Sabotage("admission/request_body", "access/test_declared_paths", ' or _AMBIGUOUS_PATH.search(scope["path"])', ""),
]
