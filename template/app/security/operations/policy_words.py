"""What is declared on a route, in words: for `manage routes` and `manage doctor`."""

from app.security.access.policy import Policy


def who_may_call(policy: Policy, *, people: bool) -> str:
    """`people`: whether anyone calls this app with a credential that is not limited to scopes."""
    if policy.public and not policy.guarded:
        return "everyone"
    # A key, and a log-in that was narrowed, gets 403 where no scope is named; no key ever has a fresh log-in.
    people_alone = people and (policy.fresh_login or not policy.scopes)
    return ", ".join(
        [
            "people" if people_alone else "callers",
            *(f"scope {scope}" for scope in sorted(policy.scopes)),
            *(f"role {' or '.join(sorted(group))}" for group in sorted(policy.roles, key=sorted)),
            *(["fresh log-in"] if policy.fresh_login else []),
        ]
    )


def exceptions(policy: Policy) -> str:
    """What this route was allowed beyond the rest; empty for most."""
    words, limits = [], policy.limits
    if limits.get("media_types"):
        words.append(f"accepts {' or '.join(limits['media_types'])}")
    if "max_bytes" in limits:
        words.append(f"bodies up to {limits['max_bytes']} bytes")
    if "seconds" in limits:
        words.append("no deadline" if limits["seconds"] is None else f"{limits['seconds']:g} seconds to answer")
    return ", ".join(words)
