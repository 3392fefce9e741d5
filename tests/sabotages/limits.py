"""Edits that remove the protections of `app/security/limits`."""

from tests.sabotages.sabotage import Sabotage

REPORT = "Event.RATE_LIMIT_EXCEEDED, subject=key"

SABOTAGES = [
    Sabotage(
        "limits/route_limits",
        "limits/test_route_limit_forms",
        "[*bound, counted, *others]",
        "[*bound, *others, counted]",
    ),
    Sabotage("limits/caller_limits", "limits/test_route_limits", "append(route_limits.ineffective)", "copy()"),
    Sabotage("limits/counters", "limits/test_rate_limits", "if used <= amount:", "if used <= 2 * amount:"),
    Sabotage("limits/counters", "limits/test_counters", "math.ceil(previous * left / seconds)", "0"),
    Sabotage("limits/counters", "limits/test_counters", "max(1, limit.amount // self._processes)", "limit.amount"),
    Sabotage("limits/counters", "limits/test_counters", "if len(self._counts) > CAPACITY:", "if False:"),
    Sabotage("limits/counters", "limits/test_counters", "seconds, -cost)", "seconds, 0)"),
    Sabotage("limits/counters", "limits/test_redis", "else Redis(url)\n", "else None\n"),
    Sabotage("limits/counters", "limits/test_counters", 'options["ssl_check_hostname"] = True', "pass"),
    Sabotage("limits/counters", "limits/test_redis", "if not self.redis_is_down or time.", "if True or time."),
    Sabotage("limits/caller_limits", "limits/test_rate_limits", "(await self._bursts.hit(burst, key))[0]", "0"),
    Sabotage("limits/caller_limits", "limits/test_rate_limits", REPORT, REPORT.replace("key", "context.client_ip")),
    Sabotage(
        "limits/caller_limits",
        "limits/test_limits_of_callers",
        "if len(context.sent) == 1 else None",
        "if context.sent else None",
    ),
    Sabotage(
        "limits/caller_limits",
        "limits/test_limits_of_callers",
        "context.actor = principal.actor if principal else context.actor",
        "pass",
    ),
    Sabotage("authentication/throttle", "admission/test_capacity", "async def client_of", "def client_of"),
    Sabotage("limits/caller_limits", "limits/test_limited_callers", "on_identified.append(count_account)", "cache"),
    Sabotage("limits/caller_limits", "limits/test_redis", "if critical and self", "if False and self"),
    Sabotage(
        "limits/caller_limits", "limits/test_workers", "max(self.web_concurrency, _workers())", "self.web_concurrency"
    ),
    Sabotage("limits/caller_limits", "limits/test_redis", "self.instances * max", "max"),
    Sabotage("limits/caller_limits", "limits/test_rate_limit_settings", "if plain else []", "if False else []"),
    Sabotage("limits/caller_limits", "limits/test_rate_limit_settings", "parse_qsl(url.query", 'parse_qsl(""'),
    Sabotage("limits/route_limits", "limits/test_route_limits", "client_prefix(context.client_ip)", '""'),
    Sabotage("limits/route_limits", "limits/test_route_limits", "not in (None, *policy.calls):", "in ():"),
    Sabotage("limits/route_limits", "limits/test_route_limits", "map(_is_foreign, (pol", "map(str, () and (pol"),
    Sabotage("limits/route_limits", "limits/test_route_limit_forms", '.startswith("slowapi")', '.startswith("!")'),
]
