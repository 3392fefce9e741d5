"""docs/pictures: drawn from real output and from the order of the code, so they cannot be stale."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

from tests import pictures
from tests.generated_text import compare
from tests.pictures import PALETTES
from tests.rendering import ROOT, Project

FOLDER = ROOT / "docs/pictures"
ROUTE = """

@router.get("/reports")
async def reports() -> list[str]:
    return ["everything"]
"""
LAYERS = {  # the module of each layer, in the order of a request
    "client_address": ("Client address and request id", "trusted proxies only; claimed identities are removed", ""),
    "request_log": ("Access log and security headers", "around everything that may refuse", ""),
    "cors": ("CORS", "named origins, without cookies", "preflight ends here"),
    "start_up": ("Start-up checks", "no request before the app is known to be safe", "503"),
    "request_guard": (
        "Admission control",
        "host, size, media type, concurrency, deadline; the policy",
        "400 404 413 415 503",
    ),
    "caller_limits": ("Limit per caller", "the account, else the address", "429"),
    "errors": ("Error documents", "exceptions become problem documents", "500 without internals"),
    "identity": ("Access", "credential, scopes, roles, before the body is read", "401 403"),
}
INNERMOST = ("Routing, dependencies, the route", "declarations check again; one transaction, then the response", "422")
ATTACKS = [
    ("Internet", ["floods", "smuggling", "claimed addresses"]),
    ("Proxy", ["spoofed headers", "slow clients", "other origins"]),
    ("Service", ["guessed passwords", "stolen tokens", "others' data"]),
    ("Database, Redis", ["stolen hashes", "a changed record", "outage"]),
    ("A change", ["an open route", "a secret in git", "a bad dependency"]),
]


def test_the_picture_of_a_refused_start_is_what_the_project_prints(project: Callable[..., Project]) -> None:
    service = project()
    service.append("app/api/notes.py", ROUTE)
    done = service.run("python", "-m", "uvicorn", "app.main:app", "--port", "0", FASTAPI_ENV="development")
    printed = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("info")]

    assert done.returncode == 3
    assert any("GET /notes/reports requires no authentication" in line for line in printed)
    lines = ["$ tail -3 app/api/notes.py", *ROUTE.strip().splitlines(), "", "$ uv run uvicorn app.main:app", *printed]
    title = "A route without a policy fails at start-up: GET /notes/reports requires no authentication"
    for name, palette in PALETTES.items():
        compare(FOLDER / f"refused-{name}.svg", pictures.terminal(title, lines, palette))


def test_the_picture_of_a_request_has_the_layers_of_compose_in_their_order() -> None:
    code = (ROOT / "template/app/security/compose.py").read_text().partition("def _add_middleware")[2]
    added = re.findall(r"^    (?:app\.add_middleware\()?(\w+)\.(?:install\b|[A-Z])", code, re.MULTILINE)

    assert added[::-1] == list(LAYERS)
    title = "The layers that a request passes, from the client's address to the route"
    for name, palette in PALETTES.items():
        picture = pictures.layers(title, [*LAYERS.values(), INNERMOST], palette)
        compare(FOLDER / f"request-{name}.svg", picture)


@pytest.mark.parametrize("name", PALETTES)
def test_the_picture_of_the_threat_model_is_drawn_from_the_table(name: str) -> None:
    title = "Where attacks arrive: internet, proxy, service, database, and the developer's own change"
    compare(FOLDER / f"threats-{name}.svg", pictures.boundaries(title, ATTACKS, PALETTES[name]))


def test_the_plot_and_the_sentence_of_what_a_request_costs_are_the_results_of_the_benchmark() -> None:
    measured = json.loads((ROOT / "benchmarks/results.json").read_text())
    results = measured["results"]
    cached, other = ([one for one in results if one["cached"] is known] for known in (True, False))
    shares = f"{_range(cached, 'of_bare')}, and {_range(other, 'of_bare')} uncached"
    title = f"Requests per second beside a bare FastAPI app: {shares}"
    notes = [
        f"Requests per second as a share of those of a bare FastAPI app, which is 1; {measured['cores']} cores",
        f"Bar and number: median of {measured['pairs']} pairs. Line: lowest to highest",
        "Diamond: the same as a share of a plain FastAPI route with two empty dependencies",
    ]
    names = ("request", "of_bare", "lowest", "highest", "of_two_dependencies")
    rows = [pictures.Bar(*(one[name] for name in names)) for one in results]
    for name, palette in PALETTES.items():
        compare(FOLDER / f"cost-{name}.svg", pictures.bars(title, rows, notes, palette))

    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f'alt="{title}"' in readme
    assert f"reaches {_range(cached, 'of_bare')} of the requests per second of a bare FastAPI app" in readme
    assert f"and {_range(cached, 'of_two_dependencies')} of those of a plain FastAPI route" in readme
    assert f"(`AUTH_CACHE_SECONDS=0`) {_range(other, 'of_bare')} of the bare app" in readme


def _range(results: list[dict[str, Any]], share: str) -> str:
    lowest, highest = (f"{choose(one[share] for one in results):.2f}" for choose in (min, max))
    return lowest if lowest == highest else f"{lowest} to {highest}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_has_a_title_and_loads_nothing(path: object) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    root = ElementTree.fromstring(text)  # noqa: S314  # our own file

    assert root[0].tag.endswith("title")
    assert root[0].text
    assert set(re.findall(r"https?://[^\"]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script|<image|href=", text)


@pytest.mark.parametrize("name", PALETTES)
def test_the_texts_of_a_picture_have_enough_contrast(name: str) -> None:
    palette = PALETTES[name]
    for background in (palette.background, palette.box):
        for colour in (palette.text, palette.quiet, palette.accent):
            assert _contrast(colour, background) >= 4.5, (colour, background)
    assert _contrast(palette.bar, palette.background) >= 3  # 1.4.11
    assert _contrast(palette.bar, palette.text) >= 3


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, 1.4.3."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
