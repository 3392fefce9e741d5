"""The documentation as a site: two builders read it strictly and offline, and its pages load nothing from elsewhere."""

import itertools
import json
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import sync_playwright

from tests.rendering import ROOT, outside
from tests.test_real_server import free_port

PAGES = sorted((ROOT / "docs").rglob("*.md"))
OFFLINE = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
TERMS = {  # of WORDS: what people search for, and the page that treats it
    "brute force": "explanation/sessions",
    "credential stuffing": "explanation/sessions",
    "lockout": "explanation/sessions",
    "login throttle": "explanation/sessions",
    "account enumeration": "explanation/sessions",
    "refresh token": "explanation/sessions",
    "tamper-evident": "explanation/audit",
    "checkpoint": "explanation/audit",
    "same transaction": "explanation/audit",
    "least privilege": "explanation/audit",
    "unauthenticated client": "explanation/threats",
    "requires authentication": "explanation/threats",
    "fails at start-up": "explanation/threats",
    "deny by default": "explanation/threats",
    "slow client": "explanation/request",
    "request smuggling": "explanation/request",
    "admission control": "explanation/request",
    "middleware": "explanation/request",
    "security headers": "explanation/request",
    "connection pool": "reference/settings",
    "rate limit": "reference/imports",
    "misconfigured": "operations/alerts",
    "invalid or has expired": "reference/problem-types",
    "problem type": "reference/problem-types",
    "file ownership": "explanation/updates",
    "opts out of authentication": "tutorial/README",
    "API key": "tutorial/README",
}

FAINT = """() => {  // texts whose contrast with their background is below 4.5:1 (WCAG 2.2, 1.4.3)
    const canvas = document.createElement("canvas").getContext("2d");
    const paint = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const over = ([r, g, b, alpha], below) =>
        [r, g, b].map((part, at) => part * alpha / 255 + below[at] * (1 - alpha / 255));
    const luminance = parts => parts
        .map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const background = element => over(paint(getComputedStyle(element).backgroundColor),
        element.parentElement ? background(element.parentElement) : [255, 255, 255]);
    const contrast = element => {
        const below = background(element);
        const text = over(paint(getComputedStyle(element).color), below);
        const [dark, light] = [luminance(text), luminance(below)].sort((one, other) => one - other);
        return (light + 0.05) / (dark + 0.05);
    };
    const written = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    return [...document.querySelectorAll("body *")]
        .filter(element => element.checkVisibility({visibilityProperty: true, opacityProperty: true}))
        .filter(written)
        .filter(element => contrast(element) < 4.5)
        .map(element => element.textContent.trim());
}"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, since the builders write beside the configuration."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", "docs-theme"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "mkdocs.yml", folder)
    return folder


def _build(folder: Path, builder: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name(builder), "build", "--strict", *options]
    return subprocess.run(command, cwd=folder, env=outside() | OFFLINE, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(sources: Path) -> Path:
    done = _build(sources, "zensical")
    assert done.returncode == 0, done.stdout + done.stderr
    return sources / "site"


def test_a_second_builder_reads_the_same_files_strictly(sources: Path) -> None:
    done = _build(sources, "properdocs", "--theme", "mkdocs", "--site-dir", "second", "--quiet")

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.nightly
def test_a_broken_link_fails(sources: Path, tmp_path: Path) -> None:
    shutil.copytree(sources, tmp_path / "broken", ignore=shutil.ignore_patterns("site", ".cache"))
    with (tmp_path / "broken/docs/index.md").open("a") as page:
        page.write("[nothing](nowhere.md)\n")

    assert _build(tmp_path / "broken", "zensical").returncode != 0


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r"- (?:.*: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.parent.name != "decisions"}

    assert pages - named == set(), "add it to nav in mkdocs.yml"


def test_pages_load_nothing_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        loads = re.findall(
            r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href|srcset)=[\"']?((?:https?:)?//[^\"'> ]+)", text
        )
        assert loads == [], page.name
        assert "default-src 'self'; script-src 'self'" in text, "the policy that forbids it"
        assert '<html lang="en"' in text
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", style.read_text()), style.name


def test_the_search_index_is_part_of_the_site_and_leads_to_the_page_of_each_term(site: Path) -> None:
    items = json.loads((site / "search.json").read_text())["items"]
    texts: dict[str, str] = {}
    for item in items:
        page = item["location"].partition("#")[0].removesuffix(".html").replace("index", "README")
        texts[page] = f"{texts.get(page, '')} {item['title']} {item['text']}".lower()

    missing = {term: page for term, page in TERMS.items() if term.lower() not in texts[page]}
    assert len(TERMS) >= 20
    assert "glossary" not in TERMS.values()
    assert missing == {}


@pytest.mark.nightly
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_of_the_site_has_enough_contrast(site: Path, scheme: str) -> None:
    options = ["--no-sandbox", "--allow-file-access-from-files"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
        for name in ("index", "tutorial/index", "explanation/threats", "reference/settings"):
            page.goto(f"file://{site}/{name}.html")
            page.wait_for_timeout(500)
            assert page.evaluate("document.querySelector('h1').textContent.length") > 0
            assert page.evaluate(FAINT) == [], name
        browser.close()


@pytest.mark.nightly
@pytest.mark.browser
def test_a_search_for_each_term_finds_the_page_that_treats_it_without_a_network(site: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), partial(SimpleHTTPRequestHandler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, missing, foreign = f"http://127.0.0.1:{server.server_address[1]}", {}, []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: None if address in request.url else foreign.append(request.url))
        page.goto(f"{address}/index.html")
        page.wait_for_function("document.querySelectorAll('script').length > 1")
        page.wait_for_timeout(2000)  # the search loads its index
        page.keyboard.press("/")
        box = page.locator("input:visible").first
        for term, name in TERMS.items():
            box.fill(term)
            page.wait_for_timeout(1000)
            found = page.locator("a[href*='?h=']").evaluate_all("links => links.map(link => link.href)")
            if not any(f"/{name.replace('README', 'index')}.html" in link for link in found):
                missing[term] = found
        browser.close()
    server.shutdown()
    server.server_close()
    assert missing == {}
    assert [url for url in foreign if not url.startswith(("data:", "blob:"))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_a_page_can_be_read_by_everybody(page: Path) -> None:
    """One title, headings in order, pictures with words, and a sentence before each table."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]

    assert levels[:1] == [1]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert [
        words for words in re.findall(r"!\[([^\]]*)\]|<img\b[^>]*\balt=\"([^\"]*)\"", text) if len("".join(words)) < 20
    ] == []
    assert text.count("<img ") == text.count("<img alt=")
    pictures = re.findall(r"(?:srcset|src)=\"([^\"]+)\"", text)
    assert [name for name in pictures if not (page.parent / name).is_file()] == []
    assert not re.search(r"^#+ [^\n]*\n\n\|", text, re.MULTILINE), "a table comes after a sentence"
    assert yaml.safe_load((ROOT / "mkdocs.yml").read_text())["theme"]["language"] == "en"
