"""The question and the start of the service judge origins alike: what was answered starts, and nothing slips past."""

import json
import os

import jinja2
import pytest
import yaml
from jinja2.sandbox import SandboxedEnvironment

from tests.rendering import ROOT, Project, Template
from tests.test_questions import BAD_ORIGINS

LONGEST_LABEL = "a" * 63
PORTS = (1, 9, 80, 8443, 9999, 10000, 59999, 60000, 64999, 65000, 65499, 65500, 65529, 65530, 65535)
GOOD = [
    "",
    "https://app.example.com",
    "https://localhost",
    "https://127.0.0.1:8443",
    "https://a",
    "https://a-b.c--d.1e",
    "https://xn--bcher-kva.example",
    f"https://{LONGEST_LABEL}.example",
    "https://" + ".".join("abcdefghijk"),
    "https://a.example,https://b.example",
    "  https://a.example , https://b.example:8443  ",
    ", ".join(f"https://{number}.example" for number in range(50)),
    *(f"https://app.example.com:{port}" for port in PORTS),
]
HOSTS = ("a_b.c", "a..b", "a.b.", ".a", "-a", "a-", "a-.b", "b.-a", f"{LONGEST_LABEL}a", "é.example", "*", "*.a", "%61")
ENDS = (":0", ":01", ":080", ":65536", ":65540", ":65600", ":66000", ":70000", ":100000", ":", ":a", "/", "/a", "#a")
BAD = [
    *(value for value in BAD_ORIGINS.values() if not {"\0", "\ud800"} & set(value)),  # which no variable can hold
    *(f"https://{host}" for host in HOSTS),
    *(f"https://app.example.com{end}" for end in ENDS),
    *("https://", "https:app.example.com", "HTTPS://app.example.com", "ftp://app.example.com", "file://a"),
    *("https://a.example;https://b.example", "https://a.example https://b.example", "https://a\nb", "https://[a"),
]
# The question is the narrower one; none of these is an origin that should not be, nor a list of such.
TAKEN_AT_THE_START_ALONE = {
    "an address of IPv6": "https://[2001:db8::1]:8443",
    "more labels than anybody has": "https://" + ".".join("abcdefghijkl"),
    "more origins than anybody has": ", ".join(f"https://{number}.example" for number in range(51)),
    "a comma last": "https://app.example.com,",
    "nothing between commas": "https://a.example,,https://b.example",
    "only a space": " ",
    "a line break around an origin": "https://app.example.com\n",
}
TAKEN_IN_DEVELOPMENT_ALONE = ["http://app.example.com", "http://localhost:5173"]
EVERY = [*GOOD, *BAD, *TAKEN_AT_THE_START_ALONE.values(), *TAKEN_IN_DEVELOPMENT_ALONE]

START = """
import json, os, sys
from app.security import compose
from app.security.core import settings
settings.env_file = None
taken = []
for text in json.loads(sys.argv[1]):
    os.environ["CORS_ORIGINS"] = text
    settings.forget()
    if not [reason for reason in settings.problems() if reason.startswith("CORS_ORIGINS")]:
        taken.append(text)
print(json.dumps(taken))
"""


@pytest.fixture(scope="module")
def asked() -> set[str]:
    """What the question takes."""
    configuration = yaml.safe_load((ROOT / "copier.yml").read_text())
    options = configuration["_envops"] | {"undefined": jinja2.StrictUndefined}
    filters = "jinja2_ansible_filters.AnsibleCoreFiltersExtension"  # as Copier does
    validator = SandboxedEnvironment(extensions=[filters], **options).from_string(
        configuration["cors_origins"]["validator"]
    )
    return {text for text in EVERY if not validator.render(cors_origins=text).strip()}


@pytest.fixture(scope="module")
def service(runnable: Template) -> Project:
    return runnable.render(cors_origins="https://app.example.com")


def started(service: Project, environment: str) -> set[str]:
    """With which of them the service starts."""
    secret = os.urandom(64).hex()
    said = service.must("python", "-c", START, json.dumps(EVERY), FASTAPI_ENV=environment, SECRET_KEY=secret)
    return set(json.loads(said))


def test_production_takes_what_was_answered_and_little_beside_it(asked: set[str], service: Project) -> None:
    in_production = started(service, "production")

    assert asked == set(GOOD)
    assert asked - in_production == set()
    assert in_production - asked == set(TAKEN_AT_THE_START_ALONE.values())


def test_development_takes_plain_origins_too(asked: set[str], service: Project) -> None:
    plain = {*TAKEN_IN_DEVELOPMENT_ALONE, BAD_ORIGINS["plain"]}

    assert started(service, "development") - asked == {*TAKEN_AT_THE_START_ALONE.values(), *plain}
