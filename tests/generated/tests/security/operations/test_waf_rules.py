"""What the generated rules of the web application firewall say. The repository's tests run them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field, SecretStr
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.testclient import TestClient

from app.main import create_app
from app.security.access.identity import public
from app.security.admission.request_guard import accepts
from app.security.operations import start_up, waf
from app.security.request_guard import FreeText
from tests.security.build_app import assemble
from tests.security.fixtures import PRODUCTION_ENVIRONMENT, MakeClient
from tests.security.terminal import Manage

Prose = Annotated[str, Field(max_length=1000), FreeText()]


class Line(BaseModel):
    text: Prose | None = None
    secret: SecretStr = SecretStr("")


class Letter(BaseModel):
    lines: Annotated[list[Line], Field(max_length=2)]
    subject: str


def rules(endpoint: Callable[..., Any], *dependencies: Any, names: bool = False) -> str:
    """Of an app with this one POST route of an owner."""

    def add(app: FastAPI) -> None:
        app.post("/letters", dependencies=[public, *dependencies])(endpoint)

    return waf.render(assemble(add), names=names)[waf.RULES]


def exempt(text: str, operation: str = "POST /letters") -> list[str]:
    return re.findall(r"OWASP_CRS;(\S+?)[,\"]", text.partition(f"# {operation}\n")[2].partition("\n\n")[0])


def test_prose_and_secrets_are_exempt_by_name_wherever_they_stand(client: TestClient) -> None:
    async def send(letter: Letter, note: Prose = "") -> None: ...

    items = [f"ARGS:json.lines.array_{number}.{name}" for name in ("text", "secret") for number in (0, 1)]

    assert exempt(rules(send)) == ["ARGS:note", *items, "REQUEST_BODY"]


def test_a_mark_on_a_list_or_a_model_holds_for_everything_inside(client: TestClient) -> None:
    texts = Annotated[list[str], Field(max_length=2), FreeText()]

    async def send(texts: texts, line: Annotated[Line, FreeText()]) -> None: ...

    inside = {f"ARGS:json.{name}" for name in ("texts.array_0", "texts.array_1", "line.text", "line.secret")}
    assert inside <= set(exempt(rules(send)))


@pytest.mark.parametrize(
    "annotation",
    [
        list[Prose],
        Annotated[list[Prose], Field(max_length=51)],
        Annotated[list[list[Prose]], Field(max_length=2)],
        dict[str, Prose],
    ],
)
def test_what_no_rule_can_exempt_is_an_error_with_the_cure(client: TestClient, annotation: Any) -> None:
    async def send(texts: annotation) -> None: ...

    with pytest.raises(ValueError, match=r"POST /letters: no rule can exempt json.*Field\(max_length=…\)"):
        rules(send)


def test_a_model_that_contains_itself_ends(client: TestClient) -> None:
    async def send(tree: Tree) -> None: ...

    assert exempt(rules(send)) == ["ARGS:json.text", "REQUEST_BODY"]


class Tree(BaseModel):
    text: Prose
    parent: "Tree | None" = None


def test_media_types_and_sizes_are_those_of_the_route(client: TestClient) -> None:
    async def send() -> None: ...

    text = rules(send, accepts("text/csv", max_bytes=5_000_000))

    assert "setvar:tx.max_bytes=5000000,\\\n        setvar:'tx.allowed_request_content_type=|text/csv|'" in text
    assert "SecRequestBodyLimit 5000000\n" in text


def test_every_path_of_the_app_is_there_and_no_other(client: TestClient) -> None:
    pages = Mount("/pages", PlainTextResponse("page"))

    def add(app: FastAPI) -> None:
        app.routes.append(pages)
        app.get("/files/{path:path}", dependencies=[public])(lambda path: path)

    text = waf.render(assemble(add, public=["/pages"]), names=True)[waf.RULES]
    patterns = [re.compile(one.replace(r"\z", r"\Z")) for one in re.findall(r'REQUEST_FILENAME "@rx (.*?)"', text)]

    served = [
        path
        for path in ("/pages/a/b", "/files/a/b", "/health/live", "/docs", "/")
        if any(p.match(path) for p in patterns)
    ]
    assert served == ["/pages/a/b", "/files/a/b", "/health/live"]


def test_the_rules_are_the_same_in_development_and_in_production(
    client: TestClient, environment: Callable[..., None]
) -> None:
    development = waf.render(create_app(), names=False)
    environment(**PRODUCTION_ENVIRONMENT)

    assert waf.render(create_app(), names=False) == development


def test_ids_are_unique_and_in_the_range_for_local_use(client: TestClient) -> None:
    text = waf.render(create_app(), names=True)[waf.RULES]
    ids = [int(number) for number in re.findall(r"\bid:(\d+)", text)]

    assert len(ids) == len(set(ids))
    assert all(waf.FIRST_ID <= number < 100_000 for number in ids)


def test_a_changed_route_or_setting_makes_the_written_rules_stale(
    manage: Manage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: Callable[..., None]
) -> None:
    monkeypatch.setattr(waf, "ROOT", tmp_path)
    assert waf.stale(create_app()) == []

    assert manage("waf", "--names").exit_code == 0
    assert waf.stale(create_app()) == []

    def add(app: FastAPI) -> None:
        app.get("/new", dependencies=[public])(lambda: None)

    assert waf.stale(assemble(add)) == [waf.RULES, start_up.WAF_SERVER]
    environment(MAX_BODY_BYTES="2048")
    assert waf.stale(create_app()) == [waf.RULES, start_up.WAF_SERVER]


def test_the_command_names_what_it_cannot_exempt(
    manage: Manage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def send(texts: list[Prose]) -> None: ...

    monkeypatch.setattr(waf, "ROOT", tmp_path)
    refused = manage("waf", load=lambda: assemble(lambda app: app.post("/x", dependencies=[public])(send)))

    assert refused.exit_code == 1
    assert refused.output.startswith("POST /x: no rule can exempt json.array_*.")
    assert not (tmp_path / waf.RULES).exists()


def test_readiness_warns_once_of_an_edge_with_other_rules(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start_up, "ROOT", tmp_path)
    (tmp_path / start_up.WAF_SERVER).parent.mkdir(parents=True)
    (tmp_path / start_up.WAF_SERVER).write_text("proxy_set_header X-WAF-Rules 0123456789abcdef;\n")
    start_up.compare_firewall.cache_clear()
    client = make_client(TRUSTED_PROXIES="127.0.0.1")
    stranger = make_client(client.app, address="203.0.113.9")  # type: ignore[arg-type]

    def warnings(caller: TestClient, version: str) -> int:
        assert caller.get("/health/ready", headers={"X-WAF-Rules": version}).status_code in (200, 403)
        return capsys.readouterr().out.count("rules of another version")

    assert start_up.compare_firewall.cache_info().maxsize == 1  # a client may choose the header behind other proxies
    assert warnings(stranger, "fedcba9876543210") == 0
    assert [warnings(client, version) for version in ("", "0123456789abcdef")] == [0, 0]
    assert [warnings(client, version) for version in ("0123", "0123")] == [1, 0]
