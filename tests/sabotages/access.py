"""Edits that remove the protections of `app/security/access`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("access/policy", "access/test_route_policy", "if not policy.guarded and not policy.public", "if False"),
    Sabotage("access/policy", "access/test_route_policy", "elif type(route) in (Route, WebSocketRoute)", "elif False"),
    Sabotage(
        "access/route_tables",
        "operations/test_start_up",
        "router.routes = _ClosedRoutes(router.routes)",
        "router.routes = router.routes",
    ),
    Sabotage(
        "access/routing",
        "operations/test_start_up",
        "app.router.routes[:0] = router.routes",
        "app.include_router(router)",
    ),
    Sabotage("access/routing", "access/test_routing", "& {segment, ANY}", "& {segment}"),
    Sabotage("access/policy", "http/test_root_path", "path, method = path_in(scope)", 'path, method = scope["path"]'),
    Sabotage(
        "access/included_routes", "access/test_included_routes", " or not _is_ordinary(route.original_router)", ""
    ),
    Sabotage(
        "access/included_routes", "access/test_included_routes", "route.include_context.form_limits or not", "not"
    ),
    Sabotage(
        "access/included_routes", "access/test_included_routes", " and type(route).matches is APIRoute.matches", ""
    ),
    Sabotage(
        "access/route_gates", "access/test_route_gates", " in self.asked:", " in [one for one in self.asked if one[0]]:"
    ),
    Sabotage(
        "access/route_gates", "access/test_route_gates", "takes_connection and not any(needs)\n", "takes_connection\n"
    ),
    Sabotage("access/route_gates", "access/test_nested_callers", "        yield from _asking_who_calls(found)\n", ""),
    Sabotage("access/route_gates", "access/test_nested_callers", "elif who:", "elif False:"),
    Sabotage("access/route_gates", "admission/test_json_bodies", "if body is not None or (is_given", "if (is_given"),
    Sabotage(
        "access/route_gates", "admission/test_json_bodies", "(is_given and not _is_ours(dependant.call))", "False"
    ),
    Sabotage("access/policy", "access/test_route_policy", "own | HANDLING & vars(route).keys()", "own"),
    Sabotage(
        "access/identity",
        "access/test_route_policy",
        "if principal.scopes is not None and not state",
        "if False and not state",
    ),
    Sabotage("access/identity", "keys/test_key_routes", "datetime.now(UTC) - proved <= RECENT", "True"),
    Sabotage(
        "access/credentials",
        "keys/test_key_routes",
        "    if sent:\n        raise refuse",
        "    if False:\n        raise refuse",
    ),
    Sabotage(
        "access/accounts", "administration/test_user_commands", "        await end_sessions(db, account.id)\n", ""
    ),
    Sabotage(
        "access/accounts",
        "authentication/test_end_sessions",
        "await db.execute(update(Session).where(Session.ended_at",
        "(update(Session).where(Session.ended_at",
    ),
    Sabotage("access/known_roles", "access/test_roles", "return found & ROLES", "return found"),
    Sabotage("access/known_roles", "access/test_known_roles", " and len(_said) < MOST_SAID", ""),
    Sabotage("access/credential_cache", "authentication/test_identity", "begun != self._revocations", "False"),
    Sabotage(
        "access/credential_cache", "access/test_credential_cache", "min(self._seconds, lifetime)", "self._seconds"
    ),
    Sabotage("access/roles", "access/test_roles", "if principal.roles.isdisjoint(self.roles):", "if False:"),
    Sabotage("access/route_gates", "admission/test_max_body_size", " else route.app.app.app", " else route.app"),
    Sabotage("access/route_tables", "admission/test_json_bodies", "            yield found\n", "            pass\n"),
    Sabotage("access/route_gates", "access/test_nested_callers", "yield replace(found, name=None)", "yield found"),
    Sabotage(
        "access/route_gates",
        "admission/test_json_bodies",
        "(route.app, limited, asked,",
        "(route.app, route.app, asked,",
    ),
    Sabotage("access/policy", "access/test_route_policy", "not _has_layers(route, app)", "True"),
]
