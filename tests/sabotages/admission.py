"""Edits that remove the protections of `app/security/admission`."""

from tests.sabotages.sabotage import Sabotage

SABOTAGES = [
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
        "admission/request_guard", "admission/test_request_guard", "(server is not None and server[1] is None)", "True"
    ),
    Sabotage(
        "admission/request_guard", "http/test_root_path", "path_in(scope) not in HEALTH", 'scope["path"] not in HEALTH'
    ),
    Sabotage("admission/request_guard", "admission/test_max_body_size", "    app.max_body_size = None", "    None"),
    Sabotage("admission/json_bodies", "admission/test_json_bodies", "if len(found) != len(members):", "if False:"),
    Sabotage("admission/json_bodies", "admission/test_json_bodies", "if len(body) > LARGE_BYTES", "if False"),
    Sabotage(
        "admission/json_bodies", "admission/test_in_flight", "reading = self.state.context.thread = ", "reading = "
    ),
    Sabotage(
        "admission/json_bodies", "admission/test_json_bodies", "if _MAY_HOLD_SURROGATE.search(body):", "if False:"
    ),
    Sabotage(
        "admission/known_names",
        "admission/test_known_names",
        "            if key in NAMED and",
        "            if False and",
    ),
    Sabotage("admission/request_shape", "admission/test_request_guard", "if name in found:", "if False:"),
    Sabotage("admission/request_shape", "admission/test_request_guard", "if size > max_bytes:", "if False:"),
    Sabotage(
        "admission/request_shape", "admission/test_request_guard", "if len(said) != len(set(said)) and", "if False and"
    ),
    Sabotage("admission/single_parameters", "http/test_route_exceptions", "if found[name] > 1", "if False"),
    Sabotage(
        "admission/single_parameters",
        "http/test_route_exceptions",
        'state["invalid_requests_reported"].record(',
        "(",
    ),
    Sabotage("admission/request_body", "admission/test_request_guard", "if self._left < 0:", "if False:"),
    Sabotage(
        "admission/request_body",
        "admission/test_half_sent",
        "asyncio.timeout_at(self._until)",
        "asyncio.timeout_at(None)",
    ),
    Sabotage("admission/in_flight", "admission/test_in_flight", "if taken >= self.of_one_source:", "if False:"),
    Sabotage("admission/in_flight", "admission/test_in_flight", "if thread is None or thread.done():", "if True:"),
    Sabotage("admission/threads", "admission/test_in_flight", "        context.thread = done\n", "        pass\n"),
    Sabotage("admission/threads", "admission/test_in_flight", "call=known(dependency.call)", "call=dependency.call"),
    Sabotage("admission/threads", "admission/test_in_flight", "return _known_to_begin(work)", "return work"),
    Sabotage(
        "admission/deadlines", "admission/test_half_sent", "(late or self._answer.sending_since < taken_before)", "late"
    ),
    Sabotage(
        "admission/request_body",
        "admission/test_request_body",
        "            _check_encoding(self._begin, self._allowed.media_types)\n",
        "",
    ),
    Sabotage(
        "admission/deadlines", "admission/test_request_guard", "            watched.give_up()\n", "            pass\n"
    ),
    Sabotage(
        "admission/body_shapes",
        "admission/test_body_shapes",
        'schema.get("additionalProperties") is not False',
        "False",
    ),
]
