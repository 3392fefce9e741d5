"""Access tokens that must not hold, made by our own code from one that does (RFC 8725, RFC 9068)."""

import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any

from app.security.core.settings import keys_for

REQUIRED = ("iss", "aud", "sub", "client_id", "iat", "nbf", "exp", "jti", "sid", "ver", "auth_time", "scope", "roles")
NUMBERS = ("iat", "nbf", "exp", "ver", "auth_time")
TEXTS = ("iss", "aud", "sub", "jti", "sid", "client_id", "scope")
IDS = ("sub", "jti", "sid")


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _text(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


class Forge:
    """Takes a genuine token apart and signs what was made of it with the genuine key."""

    def __init__(self, genuine: str, *, refresh_token: str = "", foreign: str = "") -> None:
        self.genuine = genuine
        self.refresh_token = refresh_token
        self.header, self.claims = _parts(genuine)
        self.foreign_claims = _parts(foreign)[1] if foreign else {}
        self.key = keys_for("jwt")[0]
        self.now = int(time.time())

    def sign(self, header: object, claims: object, key: bytes | None = None, digest: str = "sha256") -> str:
        text = f"{encode(_text(header))}.{encode(_text(claims))}"
        return f"{text}.{encode(hmac.new(self.key if key is None else key, text.encode(), digest).digest())}"

    def with_header(self, **changes: object) -> str:
        return self.sign(self.header | changes, self.claims)

    def with_claims(self, **changes: object) -> str:
        return self.sign(self.header, self.claims | changes)

    def at(self, **offsets: int) -> str:
        """With these times, in seconds from now."""
        return self.with_claims(**{name: self.now + offset for name, offset in offsets.items()})

    def raw(self, part: str, text: str, *, instead_of: str) -> str:
        """With a piece of JSON written by hand."""
        parts = {"header": _text(self.header).decode(), "claims": _text(self.claims).decode()}
        assert instead_of in parts[part]
        parts[part] = parts[part].replace(instead_of, text, 1)
        return self.sign(parts["header"].encode(), parts["claims"].encode())


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims, _ = token.split(".")
    return json.loads(decode(header)), json.loads(decode(claims))


def _without(members: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in members.items() if key != name}


def _unsigned(forge: Forge, alg: str) -> str:
    return forge.sign(forge.header | {"alg": alg}, forge.claims).rpartition(".")[0] + "."


def _other_spelling(forge: Forge) -> str:
    """The same signature bytes: the last of 43 characters has two bits that say nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return forge.genuine[:-1] + alphabet[alphabet.index(forge.genuine[-1]) ^ 1]


def _plain_base64(forge: Forge) -> str:
    while True:  # until the signature has a character that the two alphabets write differently
        token = forge.with_claims(jti=str(uuid.uuid4()))
        text, _, signature = token.rpartition(".")
        if {"-", "_"} & set(signature):
            return f"{text}.{signature.replace('-', '+').replace('_', '/')}"


def _swapped(forge: Forge) -> str:
    header, claims, signature = forge.genuine.split(".")
    return f"{claims}.{header}.{signature}"


def _padded(forge: Forge) -> str:
    return ".".join(segment + "=" * (-len(segment) % 4 or 4) for segment in forge.genuine.split("."))


Make = Callable[[Forge], str | bytes]
OWN_JWK = {"kty": "oct", "k": encode(b"k" * 32)}

HOSTILE: dict[str, Make] = {
    **{f"alg {alg}, unsigned": lambda f, alg=alg: _unsigned(f, alg) for alg in ("none", "None", "NONE", "nOnE", "")},
    **{
        f"alg {alg}, signed by us": lambda f, alg=alg: f.with_header(alg=alg)
        for alg in ("none", "hs256", "HS256 ", "RS256", "ES256", "HS512", ["HS256"], {"HS256": 1}, None, 256)
    },
    "HS384": lambda f: f.sign(f.header | {"alg": "HS384"}, f.claims, digest="sha384"),
    "HS512": lambda f: f.sign(f.header | {"alg": "HS512"}, f.claims, digest="sha512"),
    "HS512 under the name of HS256": lambda f: f.sign(f.header, f.claims, digest="sha512"),
    **{
        f"header without {name}": lambda f, name=name: f.sign(_without(f.header, name), f.claims)
        for name in ("alg", "typ", "kid")
    },
    **{
        f"header with {name}": lambda f, name=name, value=value: f.with_header(**{name: value})
        for name, value in {
            "crit": ["exp"],
            "b64": False,
            "zip": "DEF",
            "jku": "https://evil.example/keys",
            "cty": "JWT",
            "x5t": "x",
            "x5u": "https://evil.example/chain",
            "x5c": ["MIIB"],
            "jwk": OWN_JWK,
            "nonce": "1",
            "epk": {},
        }.items()
    },
    "jwk that signed it": lambda f: f.sign(f.header | {"jwk": OWN_JWK}, f.claims, key=b"k" * 32),
    "header name twice": lambda f: f.raw("header", '"alg":"none","alg":"HS256"', instead_of='"alg":"HS256"'),
    "kid twice": lambda f: f.raw("header", '"kid":"x","kid":', instead_of='"kid":'),
    "claim twice": lambda f: f.raw("claims", '"sub":"x","sub":', instead_of='"sub":'),
    **{
        f"kid {kid!r}": lambda f, kid=kid: f.with_header(kid=kid)
        for kid in ("00000000", "../../../dev/null", "' OR 1=1--", "", "x" * 33, "a\nb", None, 0, ["x"], {"x": 1}, True)
    },
    "kid of an empty file": lambda f: f.sign(f.header | {"kid": "/dev/null"}, f.claims, key=b""),
    **{
        f"typ {typ!r}": lambda f, typ=typ: f.with_header(typ=typ)
        for typ in ("JWT", "rt+jwt", "AT+JWT", "application/at+jwt", "", None, ["at+jwt"], True)
    },
    **{
        f"header that is {text[:12]!r}": lambda f, text=text: f.sign(text, f.claims)
        for text in (b"[" * 3000, b'{"a":' * 300, b"[]", b'["alg","typ","kid"]', b"null", b"7", b'"x"', b"{", b"\xff")
    },
    "header in UTF-16": lambda f: f.sign(json.dumps(f.header).encode("utf-16"), f.claims),
    **{
        f"claims that are {text[:12]!r}": lambda f, text=text: f.sign(f.header, text)
        for text in (b"[" * 2000, b"[]", b"null", b"7", b'"x"', b"{", b"\xff", b"{}")
    },
    **{f"no {name}": lambda f, name=name: f.sign(f.header, _without(f.claims, name)) for name in REQUIRED},
    **{f"{name} null": lambda f, name=name: f.with_claims(**{name: None}) for name in REQUIRED},
    **{f"{name} in a list": lambda f, name=name: f.with_claims(**{name: [f.claims[name]]}) for name in REQUIRED},
    **{f"{name} an object": lambda f, name=name: f.with_claims(**{name: {"a": 1}}) for name in REQUIRED},
    **{f"{name} a number": lambda f, name=name: f.with_claims(**{name: 7}) for name in TEXTS},
    **{f"{name} of another case": lambda f, name=name: f.with_claims(**{name: f.claims[name].upper()}) for name in IDS},
    **{f"{name} that is no UUID": lambda f, name=name: f.with_claims(**{name: "admin"}) for name in IDS},
    **{f"{name} in braces": lambda f, name=name: f.with_claims(**{name: f"{{{f.claims[name]}}}"}) for name in IDS},
    **{f"{name} text": lambda f, name=name: f.with_claims(**{name: str(f.claims[name])}) for name in NUMBERS},
    **{f"{name} float": lambda f, name=name: f.with_claims(**{name: float(f.claims[name])}) for name in NUMBERS},
    **{
        f"{name} {value}": lambda f, name=name, value=value: f.with_claims(**{name: value})
        for name in NUMBERS
        for value in (float("inf"), float("-inf"), float("nan"), True, False)
    },
    "exp 1e999": lambda f: f.raw("claims", '"exp":1e999,"x":', instead_of='"exp":'),
    "exp passed": lambda f: f.at(iat=-600, nbf=-600, exp=-60),
    "exp at the end of the leeway": lambda f: f.at(iat=-600, nbf=-600, exp=-10),
    "exp never": lambda f: f.with_claims(exp=10**30),
    "exp before 1970": lambda f: f.with_claims(exp=-1),
    "longer than 15 minutes": lambda f: f.at(iat=0, nbf=0, exp=901),
    "old and long": lambda f: f.at(iat=-3600, nbf=-3600, exp=300),
    "issued in the future": lambda f: f.at(iat=60, nbf=0, exp=300),
    "not valid yet": lambda f: f.at(iat=0, nbf=60, exp=300),
    **{
        f"iss {value!r}": lambda f, value=value: f.with_claims(iss=value)
        for value in ("https://evil.example", "", "localhost:8000")
    },
    "iss with a slash more": lambda f: f.with_claims(iss=f.claims["iss"] + "/"),
    "aud another": lambda f: f.with_claims(aud="another-service"),
    "aud among others": lambda f: f.with_claims(aud=["another-service", f.claims["aud"]]),
    "aud in capitals": lambda f: f.with_claims(aud=f.claims["aud"].upper()),
    "sub of another account": lambda f: f.with_claims(sub=f.foreign_claims["sub"]),
    "sub of nobody": lambda f: f.with_claims(sub=str(uuid.uuid4())),
    "sub without hyphens": lambda f: f.with_claims(sub=f.claims["sub"].replace("-", "")),
    "sid of another account": lambda f: f.with_claims(sid=f.foreign_claims["sid"]),
    "sid of no session": lambda f: f.with_claims(sid=str(uuid.uuid4())),
    "ver of tomorrow": lambda f: f.with_claims(ver=f.claims["ver"] + 1),
    "ver of yesterday": lambda f: f.with_claims(ver=f.claims["ver"] - 1),
    "client_id another": lambda f: f.with_claims(client_id="somebody"),
    "roles text": lambda f: f.with_claims(roles="admin"),
    "roles of numbers": lambda f: f.with_claims(roles=[1]),
    "padding on every segment": _padded,
    "!! appended": lambda f: f.genuine + "!!",
    "= appended": lambda f: f.genuine + "=",
    "newline appended": lambda f: f.genuine + "\n",
    "no-break space appended": lambda f: f.genuine.encode() + b"\xa0",
    "tab appended": lambda f: f.genuine + "\t",
    "newline before": lambda f: "\n" + f.genuine,
    "NUL appended": lambda f: f.genuine + "\0",
    "newline within": lambda f: f.genuine.replace(".", ".\n", 1),
    "space within": lambda f: f.genuine.replace(".", ". ", 1),
    "trailing bits flipped": _other_spelling,
    "the other base64 alphabet": _plain_base64,
    "a letter of another script": lambda f: f.genuine.encode().replace(b"J", "\u0408".encode(), 1),
    "small letters": lambda f: f.genuine.lower(),
    "signature stripped": lambda f: f.genuine.rpartition(".")[0] + ".",
    "signature left out": lambda f: f.genuine.rpartition(".")[0],
    "signature cut": lambda f: f.genuine[:-1],
    "signature of other claims": lambda f: f"{f.with_claims(ver=9).rpartition('.')[0]}.{f.genuine.rpartition('.')[2]}",
    "segments swapped": _swapped,
    "one segment more": lambda f: f.genuine + ".x",
    "token twice": lambda f: f"{f.genuine},{f.genuine}",
    "Bearer twice": lambda f: f"Bearer {f.genuine}",
    "another key": lambda f: f.sign(f.header, f.claims, key=secrets.token_bytes(32)),
    "an empty key": lambda f: f.sign(f.header, f.claims, key=b""),
    "the key of another purpose": lambda f: f.sign(f.header, f.claims, key=keys_for("throttle")[0]),
    "another key under its own id": lambda f: f.sign(
        f.header | {"kid": hashlib.sha256(keys_for("events")[0]).hexdigest()[:8]}, f.claims, key=keys_for("events")[0]
    ),
    "a refresh token": lambda f: f.refresh_token,
    "an invitation": lambda f: "ot_" + "a" * 43,
    "10 kB, well signed": lambda f: f.with_claims(scope="x" * 7500),
    "a little too long": lambda f: f.with_claims(scope="x" * 2800),
    "10 kB of dots": lambda f: "." * 10_000,
    "JWE": lambda f: ".".join((encode(b'{"alg":"dir","enc":"A256GCM"}'), "", "aaaa", "bbbb", "cccc")),
    "JSON serialisation": lambda f: json.dumps({"payload": "e30", "signatures": []}),
    **{
        f"just {text!r}": lambda f, text=text: text
        for text in ("", ".", "..", "...", "null", "undefined", "a.b.c", "ü.ü.ü".encode(), "🔑".encode(), b"\xff\xfe")
    },
}
