"""Keys and secrets: tokens by the prefixes that issuers publish, private keys, passwords, entropy beside a name."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bedplate.data.privacy.kinds import Span

_W = r"[A-Za-z0-9_\-]"


@dataclass(frozen=True)
class Token:
    """literals: one of them is in every such token, so that a text without is passed over
    (none: the prefix is as quick). prefix: how it begins;
    rest: the expression of what follows."""

    name: str
    literals: tuple[str, ...]
    prefix: str
    rest: str

    @property
    def pattern(self) -> re.Pattern[str]:
        # The test of what stands before follows the prefix: an expression that begins with plain letters is searched
        # for quickly. It also keeps time linear: a token is tried from its beginning only.
        return re.compile(rf"{self.prefix}(?<!{_W}{self.prefix}){self.rest}(?!{_W})")


TOKENS: tuple[Token, ...] = (
    Token("aws access key", ("AKIA", "ASIA"), "A[KS]IA", "[A-Z2-7]{16}"),
    Token("github", (), "gh[pousr]_", "[A-Za-z0-9]{36,251}"),
    Token("github", ("github_pat_",), "github_pat_", "[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    Token("gitlab", ("glpat-",), "glpat-", r"[A-Za-z0-9_\-]{20,300}"),
    Token("slack", ("xox",), "xox[abeoprs]-", r"[A-Za-z0-9\-]{20,250}"),
    Token("stripe", ("k_live_", "k_test_"), "[sr]k_(?:live|test)_", "[A-Za-z0-9]{16,247}"),
    Token("google", ("AIza",), "AIza", r"[A-Za-z0-9_\-]{35}"),
    Token("google", ("GOCSPX-",), "GOCSPX-", r"[A-Za-z0-9_\-]{28}"),
    Token(
        "openai", ("sk-",), "sk-", r"(?=[A-Za-z_\-]{0,60}[0-9])(?:proj-|svcacct-|admin-|ant-)?[A-Za-z0-9_\-]{32,200}"
    ),
    Token("hugging face", ("hf_",), "hf_", "[A-Za-z0-9]{30,60}"),
    Token("npm", ("npm_",), "npm_", "[A-Za-z0-9]{36}"),
    Token("pypi", ("pypi-AgE",), "pypi-AgE", r"[A-Za-z0-9_\-]{50,300}"),
    Token("sendgrid", ("SG.",), r"SG\.", r"[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}"),
    Token("digitalocean", ("_v1_",), "do[opr]_v1_", "[0-9a-f]{64}"),
    Token("jwt", ("eyJ",), "eyJ", r"[A-Za-z0-9_\-]{10,4000}\.eyJ[A-Za-z0-9_\-]{10,8000}\.[A-Za-z0-9_\-]{20,2000}"),
)
"""The formats that AWS, GitHub, GitLab, Slack, Stripe, Google, OpenAI, Anthropic, Hugging Face, npm, PyPI, SendGrid and
DigitalOcean document for their secret scanners; JWT is RFC 7519."""

_PATTERNS = tuple((token.name, token.literals, re.compile(token.pattern)) for token in TOKENS)

_BEGIN = re.compile(r"-----BEGIN (?:[A-Z]{1,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(r"-----END (?:[A-Z]{1,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(r"[A-Za-z0-9+/=\s\\:,\-]{0,16384}")
_LONGEST_KEY = 16_384
_MORE_KEY = re.compile(
    r"[A-Za-z0-9+/=\\]*+(?:\s{1,8}+[A-Za-z0-9+/=\\]{20,}+)*+(?:\s{1,8}[A-Za-z0-9+/]{1,76}={0,2}(?=\s{0,8}-----END))?"
)
"""What goes on after so many characters is key as long as there are long words without a mark between."""

_URL_PASSWORD = re.compile(r"://[^\s:/@\"'<>{}$%]{1,64}:([^\s/@\"'<>{}$]{3,128})@[A-Za-z0-9\[]")

_VALUE = (
    r"(?:([\"'])([A-Za-z0-9+/_\-.~]{16,200}={0,2})\1"
    r"|([A-Za-z0-9+/_\-~]{20,200}={0,2})(?![A-Za-z0-9+/_\-=~(\[]|\.[A-Za-z0-9_]))"
)
_ASSIGNED = tuple(re.compile(rf"{sign}>?[ \t]{{0,4}}{_VALUE}") for sign in ":=")
_SECRET_NAME = re.compile(
    r"(?:(?:api|access|auth|secret|private|client|encryption|signing|account|consumer|master)"
    r"[_\-. ]?(?:key|token|secret)"
    r"|token|secret|passw(?:or)?d|passwd|pwd|passphrase|credentials?)[\"'\])]{0,2}[ \t]{0,4}$",
    re.IGNORECASE,
)
_STAND_INS = ("example", "xxxx", "your", "changeme", "placeholder", "1234567890", "abcdef")
LEAST_ENTROPY = 3.3
"""Bits a character of a generic secret: random base64 of 20 characters has about 4, words about 3."""


def secrets(text: str) -> Iterator[Span]:
    """Every secret in the text. Time grows with its length: whatever is open-ended has a greatest length."""
    for name, literals, pattern in _PATTERNS:
        if not literals or any(literal in text for literal in literals):
            for found in pattern.finditer(text):
                if len(set(found.group())) > 8:
                    yield Span(found.start(), found.end(), "secret", name)
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)
    if "://" in text:
        for found in _URL_PASSWORD.finditer(text):
            yield Span(found.start(1), found.end(1), "secret", "password in url")
    for found in (found for pattern in _ASSIGNED for found in pattern.finditer(text)):
        if _SECRET_NAME.search(text, max(0, found.start() - 40), found.start()) is None:
            continue
        group = 2 if found.group(2) else 3
        if is_random(found.group(group)):
            yield Span(found.start(group), found.end(group), "secret", "assigned")


def _private_keys(text: str) -> Iterator[Span]:
    """From BEGIN to END; where END is missing, as far as it looks like a key."""
    ends = [found.end() for found in _KEY_END.finditer(text)]
    at = place = 0
    while (found := _BEGIN.search(text, at)) is not None:
        while place < len(ends) and ends[place] < found.end():
            place += 1
        if place < len(ends) and ends[place] - found.start() <= _LONGEST_KEY:
            at = ends[place]
        else:
            body = _KEY_BODY.match(text, found.end())
            at = max(found.end(), body.end() if body is not None else 0)
            if at - found.end() >= _LONGEST_KEY and (more := _MORE_KEY.match(text, at)) is not None:
                at = more.end()
            end = _KEY_END.search(text, max(found.end(), at - 80), at + 80)
            if end is not None and not text[at : end.start()].strip():
                at = end.end()
        if at - found.end() > 60:  # a key, not the name of its format
            yield Span(found.start(), at, "secret", "private key")


def is_random(value: str) -> bool:
    """Whether a value looks drawn at random: letters and digits, many different ones, and no usual stand-in."""
    low = value.lower()
    if any(word in low for word in _STAND_INS) or not any(c.isdigit() for c in low) or low.isdigit():
        return False
    counts = Counter(value)
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return bits >= LEAST_ENTROPY
