"""What only a browser can tell: which pages may read an answer, and that the documents work under their policy."""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright

from tests.rendering import ROOT, Project, Template
from tests.test_real_server import CREATE, NAME, PASSWORD, free_port, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# No names of this machine: in development all of its front ends may call.
ALLOWED, LOOK_ALIKE, OTHER = "pages.example", "pages.example.evil.example", "other.example"
FAILING = """
from fastapi import APIRouter

from app.security.identity import public

router = APIRouter()


@router.get("/failing", dependencies=[public])
async def failing() -> None:
    raise RuntimeError("the recipe is in the cellar")
"""
FETCH = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options);
        const header = name => answer.headers.get(name);
        return {status: answer.status, text: await answer.text(), retryAfter: header("Retry-After"),
                requestId: header("X-Request-ID")};
    } catch (error) { return {blocked: String(error)}; }
}"""
GUIDE = (ROOT / "docs/how-to/websockets.md").read_text()
FEED, OPEN_FEED = re.findall(r"```(?:python title=\"app/api/feed.py\"|javascript)\n(.*?)```", GUIDE, re.DOTALL)
OPEN = f"""async ([address, token]) => {{
    {OPEN_FEED}
    return new Promise(resolve => {{
        const done = result => {{ socket.then(one => {{ one.onclose = null; one.close(); }}); resolve(result); }};
        const socket = openFeed(address, async () => token, done);
        socket.then(one => {{ one.onclose = () => resolve("closed"); }});
    }});
}}"""
FRONT_END = (ROOT / "docs/how-to/front-end.md").read_text()
Call = Callable[..., dict[str, Any]]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


class _BlankPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A page</title>")

    def log_message(self, *args: object) -> None: ...


@pytest.fixture(scope="module")
def pages() -> Iterator[list[int]]:
    """The ports of two web servers, whose pages are blank."""
    servers = [ThreadingHTTPServer(("127.0.0.1", free_port()), _BlankPage) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [server.server_address[1] for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def service(runnable: Template, pages: list[int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A generated service in development, that pages of the first server may call."""
    folder = tmp_path_factory.mktemp("browser") / "project"
    project: Project = runnable.copy_of(runnable.render(cors_origins="https://app.example.com"), folder)
    for name, code in {"failing": FAILING, "feed": FEED}.items():
        project.write(f"app/api/{name}.py", code)
        project.replace("app/main.py", "from app.api import ", f"from app.api import {name}, ")
        project.replace(
            "app/main.py", "    # Your routers", f"    app.include_router({name}.router)\n    # Your routers"
        )
    origins = {"CORS_ORIGINS": f"http://{ALLOWED}:{pages[0]}"}
    with served(project, "fastapi", "dev", "--no-reload", **origins) as address:
        project.must("python", "-c", CREATE, FASTAPI_ENV="development")
        yield address


@pytest.fixture(scope="module")
def browser(in_ci: bool) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        if in_ci:
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed (apt-get install chromium)")
    rules = f"--host-resolver-rules={','.join(f'MAP {name} 127.0.0.1' for name in (ALLOWED, LOOK_ALIKE, OTHER))}"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=[*OPTIONS, rules])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def call(page: Page, service: str, pages: list[int]) -> Call:
    """Call the service from the page that is open; from a page that may, unless another was opened."""
    page.goto(f"http://{ALLOWED}:{pages[0]}/")

    def fetch(method: str, path: str, **options: object) -> dict[str, Any]:
        answer: dict[str, Any] = page.evaluate(FETCH, [f"{service}{path}", {"method": method, **options}])
        return answer

    return fetch


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


def log_in(call: Call, name: str = NAME, password: str = PASSWORD) -> dict[str, Any]:
    form = f"grant_type=password&username={name}&password={password.replace(' ', '+')}"
    return call("POST", "/auth/token", headers=FORM, body=form)


def test_the_documents_work_under_their_policy(page: Page, service: str) -> None:
    said: list[str] = []
    asked: set[str] = set()

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.add(request.url))

    page.goto(f"{service}/docs")
    page.locator(".btn.authorize").first.click()
    page.wait_for_function("document.activeElement.id === 'oauth_username'")
    page.fill("#oauth_username", NAME)
    page.fill("#oauth_password", PASSWORD)
    log_in_form = page.locator(".auth-container", has=page.locator("#oauth_username"))
    log_in_form.locator(".btn.authorize").click()
    page.locator(".modal-ux button", has_text="Logout").first.wait_for()  # operations have buttons of that name, too
    page.locator(".modal-ux .btn-done").first.click()
    page.locator(".opblock-summary", has_text="/users/me").first.click()
    page.get_by_role("button", name="Try it out").first.click()
    page.get_by_role("button", name="Execute").first.click()
    status = page.locator(".live-responses-table .response-col_status").last
    status.wait_for()

    assert "200" in status.inner_text(), page.locator(".live-responses-table").last.inner_text()
    assert said == []
    assert {url for url in asked if not url.startswith((service, "data:"))} == set()


def test_an_allowed_page_logs_in_and_reads_a_note(page: Page, call: Call) -> None:
    token = page.evaluate("text => JSON.parse(text).access_token", log_in(call)["text"])
    headers = JSON | {"Authorization": f"Bearer {token}"}

    made = call("POST", "/notes", headers=headers, body='{"title": "Milk"}')
    read = call("GET", "/notes", headers={"Authorization": f"Bearer {token}"})

    assert (made["status"], read["status"]) == (201, 200)
    assert "Milk" in read["text"]
    assert read["requestId"]


def test_an_allowed_page_opens_a_socket_with_its_access_token_and_no_other_page_does(
    page: Page, call: Call, service: str, pages: list[int]
) -> None:
    token = page.evaluate("text => JSON.parse(text).access_token", log_in(call)["text"])

    assert page.evaluate(OPEN, [service, token]) == f"Hello, {NAME}"
    assert page.evaluate(OPEN, [service, "no.token.x"]) == "closed"
    page.goto(f"http://{ALLOWED}:{pages[1]}/")
    assert page.evaluate(OPEN, [service, token]) == "closed"
    page.goto(f"http://localhost:{pages[1]}/")
    assert page.evaluate(OPEN, [service, token]) == f"Hello, {NAME}"


@pytest.fixture
def front_end(service: str, tmp_path: Path) -> Iterator[str]:
    """The address of the guide's front end, on this machine: no setting names its origin."""
    for name, text in re.findall(r'^```\w+ title="front-end/(.+?)"\n(.*?)^```$', FRONT_END, re.M | re.S):
        (tmp_path / name).write_text(text.replace("http://localhost:8000", service))
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_the_front_end_of_the_guide_logs_in_and_renews_its_session_once(page: Page, front_end: str) -> None:
    logins: list[str] = []
    stale = ["/notes", "/notes"]

    def with_an_expired_token(route: Route) -> None:
        bad = {"authorization": "Bearer a.b.c"} if stale and stale.pop() else {}
        route.continue_(headers=route.request.headers | bad)

    page.on("request", lambda request: logins.extend([request.method] if "/auth/token" in request.url else []))
    page.goto(front_end)
    page.evaluate("async ([name, word]) => (await import('./service.js')).logIn(name, word)", [NAME, PASSWORD])
    created = {"method": "POST", "headers": JSON, "body": '{"title": "<b>Milk</b>"}'}
    page.evaluate("async options => (await import('./service.js')).call('/notes', options)", created)
    page.fill("[name=username]", NAME)
    page.fill("[name=password]", PASSWORD)
    page.click("button")
    page.locator("li", has_text="<b>Milk</b>").first.wait_for()
    assert logins.count("POST") == 2
    page.route("**/notes", with_an_expired_token)
    twice = "Promise.all([service.call('/notes'), service.call('/notes')])"
    answers = page.evaluate(f"async () => {{ const service = await import('./service.js'); return {twice}; }}")

    assert (answers[0] == answers[1], stale) == (True, [])
    assert logins.count("POST") == 3


@pytest.mark.parametrize("where", ["another port", "a look-alike name", "the same port by another name", "null"])
def test_no_other_page_reads_anything(page: Page, call: Call, pages: list[int], where: str) -> None:
    allowed, other = pages
    page.goto(
        {
            "another port": f"http://{ALLOWED}:{other}/",
            "a look-alike name": f"http://{LOOK_ALIKE}:{allowed}/",
            "the same port by another name": f"http://{OTHER}:{allowed}/",
            "null": "data:text/html,<title>A page</title>",
        }[where]
    )

    answers = [call("GET", "/health/live"), call("GET", "/notes", headers={"Authorization": "Bearer x"}), log_in(call)]

    assert [list(answer) for answer in answers] == [["blocked"]] * 3


@pytest.mark.parametrize(
    ("status", "method", "path", "options"),
    [
        (401, "GET", "/notes", {}),
        (404, "GET", "/nowhere", {}),
        (413, "POST", "/notes", {"headers": JSON, "body": "x" * 1_100_000}),
        (415, "POST", "/notes", {"headers": {"Content-Type": "text/plain"}, "body": "x"}),
        (422, "POST", "/auth/activate", {"headers": JSON, "body": "{}"}),
        (500, "GET", "/failing", {}),
    ],
)
def test_an_allowed_page_can_read_what_went_wrong(
    call: Call, status: int, method: str, path: str, options: dict[str, object]
) -> None:
    answer = call(method, path, **options)

    assert answer.get("status") == status, answer
    assert f'"status": {status}' in answer["text"]
    assert answer["requestId"]


def test_an_allowed_page_reads_when_to_come_back(call: Call) -> None:
    answers = [log_in(call, "mallory@example.com", "wrong") for _ in range(6)]

    assert answers[-1]["status"] == 429
    assert int(answers[-1]["retryAfter"]) > 0
