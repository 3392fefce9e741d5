"""Edits that remove the protections of `app/security/admission`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage("admission/request_body", "admission/test_json_forms", "and _levels(value) > MOST_LEVELS", "and False"),
    Sabotage("admission/request_body", "admission/test_json_forms", ", parse_constant=_number", ""),
    Sabotage("admission/request_body", "admission/test_json_forms", ", parse_float=_number", ""),
    Sabotage("admission/request_body", "admission/test_json_forms", "if len(members) > MOST_MEMBERS:", "if False:"),
    Sabotage(
        "admission/request_body",
        "admission/test_json_forms",
        'raise Problem(400, detail="The body is nested too deeply.") from None',
        "return",
    ),
    Sabotage("admission/request_body", "admission/test_forms", 'b"&" if', 'b"" if'),
    Sabotage("admission/request_guard", "http/test_socket_ends", 'scope.get("method") != WEBSOCKET', "True"),
    Sabotage("admission/request_guard", "admission/test_internal_routes", "if forwarded or named", "if named"),
    Sabotage("admission/request_guard", "admission/test_internal_routes", "forwarded or named or", "forwarded or"),
    Sabotage(
        "admission/request_guard",
        "admission/test_internal_routes",
        'not contains(self.settings.internal_networks, scope["state"]["peer"])',
        "False",
    ),
    Sabotage(
        "admission/request_guard",
        "admission/test_request_guard",
        'host_name(headers[b"host"]) not in self.hosts',
        "False",
    ),
    Sabotage(
        "admission/request_guard",
        "admission/test_request_guard",
        'if self.production and scope["scheme"] not in',
        'if False and scope["scheme"] not in',
    ),
    Sabotage(
        "admission/request_guard",
        "admission/test_request_guard_details",
        "(server is not None and server[1] is None)",
        "True",
    ),
    Sabotage(
        "admission/request_guard", "http/test_root_path", "context.path not in HEALTH", 'scope["path"] not in HEALTH'
    ),
    Sabotage("admission/request_guard", "admission/test_max_body_size", "    app.max_body_size = None", "    None"),
    Sabotage(
        "admission/request_guard",
        "admission/test_max_body_size",
        "size for size in sizes if size",
        "size for size in sizes[:1] if size",
    ),
    Sabotage("admission/request_guard", "admission/test_capacity", "min(per_client, THREADS // 4)", "per_client"),
    Sabotage("admission/request_body", "admission/test_request_body", "BYTES_OF_A_VALUE = 50", "BYTES_OF_A_VALUE = 1"),
    Sabotage("admission/request_body", "admission/test_json_bodies", "if len(found) != len(members):", "if False:"),
    Sabotage("admission/request_body", "admission/test_json_bodies", "        to_json(value)\n", "        pass\n"),
    Sabotage("admission/request_body", "admission/test_request_guard", "if name in found:", "if False:"),
    Sabotage("admission/request_body", "admission/test_request_guard", "if size > max_bytes:", "if False:"),
    Sabotage(
        "admission/request_body",
        "admission/test_request_guard",
        "if chunked and len(forwarded) !=",
        "if False and len(forwarded) !=",
    ),
    Sabotage(
        "admission/request_body",
        "admission/test_request_guard",
        "if self._size > self._allowed.max_bytes:",
        "if False:",
    ),
    Sabotage(
        "admission/request_body",
        "admission/test_request_guard",
        "asyncio.timeout_at(self._until)",
        "asyncio.timeout_at(None)",
    ),
    Sabotage(
        "admission/request_body",
        "admission/test_half_sent",
        "        self._slots.acquire(self._client)",
        "        self._slots.acquire(object())",
    ),
    Sabotage(
        "admission/request_body", "admission/test_request_body", "if body.startswith(NOT_UTF_8) or", "if False and"
    ),
    Sabotage("admission/request_body", "admission/test_request_guard", "if used >= self.per_client:", "if False:"),
    Sabotage("admission/request_body", "admission/test_forms", 'or media_type.startswith("multipart/")', ""),
    Sabotage(
        "http/request_log",
        "admission/test_on_the_wire",
        'b"upgrade" in dict(scope["headers"])',
        "False",
    ),
    Sabotage("http/request_log", "admission/test_on_the_wire", 'or context.method == "CONNECT"', ""),
    Sabotage("admission/request_body", "admission/test_request_guard", "if self._used >= self.total:", "if False:"),
    Sabotage("admission/request_guard", "admission/test_request_guard", "if allowed.internal:", "if False:"),
    Sabotage("admission/request_guard", "admission/test_capacity", "return work if late else None", "return None"),
    Sabotage(
        "admission/request_guard",
        "admission/test_request_guard",
        "asyncio.timeout(seconds) as limit",
        "asyncio.timeout(None) as limit",
    ),
    Sabotage(
        "access/credentials",
        "admission/test_request_guard_details",
        "            self.timeout.reschedule(None)",
        "            pass",
    ),
    Sabotage(
        "http/request_log",
        "admission/test_request_guard_details",
        "            await send(message)\n",
        "            context.started()\n            await send(message)\n",
    ),
    Sabotage(
        "http/request_log",
        "admission/test_request_guard_details",
        "message = {**message}  # an app",
        "pass  # an app",
    ),
    Sabotage(
        "http/errors",
        "admission/test_request_guard_details",
        " or (context.timeout and context.timeout.expired())",
        "",
    ),
]
