"""Edits that remove the protections of `app/security/http`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
    Sabotage(
        "http/cors",
        "admission/test_request_guard_details",
        'if message["type"] == "http.response.start":',
        "if False:",
    ),
    Sabotage("http/request_log", "http/test_streams", ', b"cdn-cache-control", b"surrogate-control"', ""),
    Sabotage(
        "http/websockets",
        "http/test_socket_ends",
        "                route.cancel()  # first",
        "                pass  # first",
    ),
    Sabotage("http/request_log", "http/test_socket_ends", 'if more or kind == "websocket.send":', "if more:"),
    Sabotage(
        "http/request_log",
        "http/test_streams",
        '            if more or kind == "websocket.send":  #',
        "            if False:  #",
    ),
    Sabotage("http/request_log", "http/test_streams", "headers.append(VARY)", "pass"),
    Sabotage("http/errors", "http/test_pointers", 'if kind == "extra_forbidden" and', "if False and"),
    Sabotage(
        "http/request_log",
        "http/test_on_response",
        'context.method if context.method in METHODS else "OTHER"',
        "context.method",
    ),
    Sabotage("http/errors", "core/test_crashes", "problem = _problem_for(error)\n", "problem = Problem(418)\n"),
    Sabotage(
        "http/client_address",
        "http/test_client_address_details",
        'if peer and peer[0].startswith("::ffff:"):',
        "if False:",
    ),
    Sabotage("http/errors", "core/test_crashes", "except ClientDisconnect:", "except ZeroDivisionError:"),
    Sabotage("http/errors", "core/test_database_faults", '"FOREIGN KEY|UNIQUE"', '"FOREIGN KEY"'),
    Sabotage(
        "http/errors", "core/test_crashes", "error, asyncio.CancelledError) and ended", "error, asyncio.CancelledError)"
    ),
    Sabotage("http/errors", "core/test_crash_reports", "if context.answered_after:", "if False:"),
    Sabotage("http/errors", "core/test_database_faults", "context.reason = code_of(error) or", "str() or"),
    Sabotage("http/errors", "core/test_database_faults", "context.answered_after and context.status", "context.status"),
    Sabotage("http/errors", "core/test_database_faults", " or (context.answered_after and context.status < 400)", ""),
    Sabotage("http/request_log", "http/test_on_response", "seconds = context.answered_after or", "seconds ="),
    Sabotage("http/errors", "http/test_pointers", '|zoneinfo_str"', '"'),
    Sabotage(
        "http/request_log",
        "authentication/test_log_safety_details",
        'logs.redact(agent.decode("latin-1"))',
        'agent.decode("latin-1")',
    ),
    Sabotage(
        "http/client_address",
        "http/test_client_address",
        "ProxyHeadersMiddleware(app, [*map(str, proxies)]) if proxies else app",
        'ProxyHeadersMiddleware(app, "*")',
    ),
    Sabotage("http/client_address", "http/test_client_address", " | {name.encode() for name in IDENTITY_HEADERS}", ""),
    Sabotage("http/client_address", "http/test_client_address", 'name.replace(b"_", b"-") not in', "name not in"),
    Sabotage("http/client_address", "http/test_proxy_lines", "if trusted and client.", "if False and client."),
    Sabotage("http/client_address", "http/test_client_address", '"x-real-ip", ', ""),
    Sabotage(
        "http/api_docs",
        "http/test_api_docs",
        "document = FastAPI.openapi(app)",
        'document = FastAPI.openapi(app) | {"info": {"title": app.title}}',
    ),
    Sabotage("http/headers", "http/test_pages", '*HEADERS["Content-Security-Policy"].split(";"), ', ""),
    Sabotage("http/headers", "http/test_headers", '    "X-Frame-Options": "DENY",\n', ""),
    Sabotage(
        "http/request_log",
        "http/test_headers",
        'self.over_https if scope["scheme"] in ("https", "wss") else',
        "self.over_https or",
    ),
    Sabotage(
        "http/request_log", "http/test_what_clients_expect", 'b"").startswith(b"text/html")', 'b"").startswith(b"?")'
    ),
    Sabotage("http/cors", "http/test_cors_corners", "tuple if in_production() else WithLocal", "WithLocal"),
    Sabotage("http/headers", "http/test_headers", "STRICT_TRANSPORT_SECURITY if in_production() else {}", "{}"),
    Sabotage("http/cors", "http/test_cors", "allow_origins=settings.allowed()", 'allow_origins=["*"]'),
    Sabotage("http/cors", "http/test_cors_corners", "> LONGEST_ASKED:", "> LONGEST_ASKED * 9:"),
    Sabotage(
        "http/client_address",
        "http/test_client_address_details",
        'names your proxies"] if everybody',
        'names"] if False',
    ),
    Sabotage("http/errors", "http/test_error_documents", ' or "SQLite INTEGER" in', ' and "SQLite INTEGER" in'),
    Sabotage("http/errors", "core/test_transactions", "(cause is not error or ", "("),
    Sabotage("http/errors", "http/test_error_documents", "if _QUOTES_INPUT.fullmatch(kind) else", "if False else"),
    Sabotage(
        "http/errors",
        "http/test_errors",
        'detail="Unexpected error. The log has details under this request\'s id."',
        "detail=str(error)",
    ),
    Sabotage(
        "http/api_docs", "http/test_api_docs", "None if in_production() else find_spec(PACKAGE)", "find_spec(PACKAGE)"
    ),
    Sabotage("http/api_docs", "http/test_api_docs", "script-src 'self' {allowed}", "script-src 'self' 'unsafe-inline'"),
    Sabotage(
        "http/api_docs",
        "http/test_root_path",
        'return quote(request.scope.get("root_path", "").rstrip("/"))',
        'return str(request.scope.get("root_path", "").rstrip("/"))',
    ),
    Sabotage(
        "http/websockets", "http/test_socket_subprotocols", "offered.pop(offered.index(SUBPROTOCOL) + 1)", "offered[-1]"
    ),
    Sabotage("http/websockets", "http/test_socket_subprotocols", "header[0] != _OFFERED", "True"),
    Sabotage("http/errors", "http/test_websockets", " and not respondable", ""),
    Sabotage("http/request_log", "http/test_websockets", '"websocket.accept": 101, ', ""),
    Sabotage(
        "http/request_log",
        "core/test_request_ids",
        ' and scope["state"]["trusted_peer"]:',
        ":",
    ),
    Sabotage(
        "http/websockets",
        "http/test_websockets",
        "_bytes:\n            await self.close(MESSAGE",
        "_bytes and False:\n            await self.close(MESSAGE",
    ),
    Sabotage(
        "http/websockets",
        "http/test_websockets",
        'text.encode("utf-8", "surrogatepass")',
        "text",
    ),
    Sabotage("http/websockets", "http/test_socket_ends", "except (OSError, RuntimeError):", "except KeyError:"),
    Sabotage("http/websockets", "http/test_websockets", "        self._check_origin(scope)\n", ""),
    Sabotage(
        "http/websockets",
        "http/test_websockets",
        "            await cache.revoked(principal.id if principal else None, self.seconds)\n",
        "            await asyncio.sleep(self.seconds)\n",
    ),
]
