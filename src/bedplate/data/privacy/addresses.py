"""E-mail, IP and cryptocurrency addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from bedplate.data.privacy.checksums import base58check, bech32
from bedplate.data.privacy.kinds import Span
from bedplate.data.privacy.nearby import named

_LABEL = r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?"
_INVISIBLE = r"[\u00ad\u200b-\u200d\u2060\ufeff]"
# The last label: in Latin letters, to its end, or in others, which other words may follow without a space.
_LAST = (
    r"(?:[A-Za-z\u00c0-\u024f]{2,24}|xn--[A-Za-z0-9\-]{2,30})(?![A-Za-z0-9\u00c0-\u024f])"
    r"|[^\W\d_A-Za-z\u00c0-\u024f]{2,12}"
)
_DOMAIN = rf"{_INVISIBLE}{{0,2}}((?:{_LABEL}\.){{1,8}}(?:{_LAST}))"
_AT_SIGNS = ("@", "\uff20", "\ufe6b", "%40", "&#64;", "&#x40;", "&commat;")
"""The sign, its wide and small forms, and how URLs and HTML write it."""
_AT_DOMAIN = tuple((sign, re.compile(sign + _DOMAIN)) for sign in _AT_SIGNS)
_GLUED = re.compile(r"[_(]|-[^\W_]")
_COMMON = frozenset({
    "at", "au", "be", "biz", "br", "ca", "ch", "cn", "co", "com", "cz", "de", "dk", "edu", "es", "eu", "fi", "fr",
    "gov", "ie", "in", "info", "int", "it", "jp", "kr", "mil", "mx", "net", "nl", "no", "nz", "org", "pl", "pt", "ru",
    "se", "uk", "us", "za",
})  # fmt: skip
"""Last labels that are believed where more is glued to them; x@self.weight_of and a@b.dot(c) are code."""
_LOCAL_BACKWARDS = re.compile(rf"{_INVISIBLE}{{0,2}}[\w.%+'\-]{{1,64}}")
_LOCAL_DOT = re.compile(r"[\w+\-]{1,32} ?[\[({] ?(?:dot|DOT|\.) ?[\])}] ?$")
_ESCAPE = re.compile(r"(?:.*%[0-9A-Fa-f]{2})", re.DOTALL)
_DOT = r"(?:\.|[\[({] ?(?:dot|DOT|\.) ?[\])}])"
_SPELT_OUT = re.compile(rf"[\[({{] ?(?:at|AT|@) ?[\])}}] ?({_LABEL}(?: ?{_DOT} ?{_LABEL}){{1,4}})(?![A-Za-z0-9])")
_USER = re.compile(r"://[^\s/@]{1,126}$")
_SPELT_AT = ("at]", "at)", "at}", "at ]", "at )", "at }", "AT]", "AT)", "AT ]", "AT )", "@]", "@)", "@ ]", "@ )")
_NOT_A_DOMAIN = frozenset({
    "css", "dll", "example", "exe", "gif", "htm", "html", "invalid", "jpeg", "jpg", "js", "json", "local", "pdf", "png",
    "svg", "test", "txt", "webp", "xml",
})  # fmt: skip
_RESERVED = frozenset({"example.com", "example.org", "example.net"})
"""RFC 2606: nobody's addresses."""

_DOTTED = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_IPV4 = re.compile(r"(?<![0-9A-Za-z_.\-])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|[.\-][0-9A-Za-z])")
_VERSION = (
    r"v(?:er(?:sion)?s?)?\.?", "release[sd]?", "rev(?:ision)?", "build", "firmware", "sections?", "sec", "chapter",
    "clause", "paragraph", "figure", "table", "python", "windows", "chrome", "oid",
)  # fmt: skip
_HOST = (
    r"ip(?:v?4)?", "address(?:es)?", "addr", "host(?:s|name)?", "server", "from", "ping", "ssh", "client", "peer",
    "port", "dns", "gateway", "router", "remote",
)  # fmt: skip
_COMPARED = re.compile(r"(?:[=<>~!]=|~>|\^)\s{0,2}[\"']?$")

_IPV6_PART = re.compile(r"[0-9A-Fa-f:]{3,45}(?:\.[0-9]{1,3}){0,3}(?![0-9A-Za-z_])")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_HEX_OR_COLON = frozenset("0123456789abcdefABCDEF:")

# One expression for each first character: one that begins with a plain character is searched for quickly.
_BASE58 = tuple(re.compile(rf"{c}(?<![A-Za-z0-9_]{c})[1-9A-HJ-NP-Za-km-z]{{25,34}}(?![A-Za-z0-9_])") for c in "13")
_BECH32 = re.compile(r"bc1(?<![A-Za-z0-9_]bc1)[02-9ac-hj-np-z]{11,71}(?![A-Za-z0-9_])")


def emails(text: str) -> Iterator[Span]:
    """Addresses with a local part of up to 64 characters and a domain, in any script, with any of the forms of @, also
    spelt "name [at] host [dot] org".

    Left out: domains that are reserved for examples (RFC 2606), file names (icon@2x.png) and git@ of clone URLs.
    """
    for sign, pattern in _AT_DOMAIN:
        if sign in text:
            for found in pattern.finditer(text):
                yield from _address(text, found, sign)
    for found in _SPELT_OUT.finditer(text) if any(sign in text for sign in _SPELT_AT) else ():
        at = found.start()
        at -= text[at - 1 : at] == " "
        start = _local_start(text, at)
        # "look (at page.one)" has a dot too: a name of a host beside it.
        domain = re.sub(r" ?[\[({] ?(?:dot|DOT|\.) ?[\])}] ?", ".", found.group(1)).lower()
        if start < at and len(domain.rpartition(".")[2]) <= 6 and " " not in domain and _is_domain(domain):
            while (dotted := _LOCAL_DOT.search(text, max(0, start - 48), start)) is not None:
                start = dotted.start()
            yield Span(start, found.end(), "email", "spelt out")


def _address(text: str, found: re.Match[str], sign: str) -> Iterator[Span]:
    domain, end = found.group(1).lower(), found.end()
    name, _, last = domain.rpartition(".")
    if last in _NOT_A_DOMAIN and name.rpartition(".")[2] in _COMMON and "." in name:  # jane@acme.org.txt
        domain, last, end = name, name.rpartition(".")[2], end - len(last) - 1
    if last not in _COMMON and _GLUED.match(text, end):
        return
    start = _local_start(text, found.start())
    if sign == "%40" and (escape := _ESCAPE.match(text, start, found.start())) is not None:
        start = escape.end()  # what is before the name is another part of a URL
    if start == found.start() or text[start : found.start()] == "git" or not _is_domain(domain):
        return
    # The password of a URL, user:password@host, is a secret instead.
    if sign != "@" or _USER.search(text, max(0, start - 130), start) is None:
        yield Span(start, end, "email", "address")


def _local_start(text: str, at: int) -> int:
    """Where the local part that ends at `at` begins; `at` itself where there is none."""
    found = _LOCAL_BACKWARDS.match(text[max(0, at - 64) : at][::-1])
    if found is None or text[at - 1] in ".'":
        return at
    start = at - found.end()
    while start < at and text[start] in ".'-%+":
        start += 1
    return start


def _is_domain(domain: str) -> bool:
    last = domain.rpartition(".")[2]
    return (
        last not in _NOT_A_DOMAIN and domain not in _RESERVED and not domain.endswith(tuple("." + r for r in _RESERVED))
    )


def ips(text: str, private: bool) -> Iterator[Span]:
    """IPv4 and IPv6 addresses; only global ones unless `private`.

    Version and section numbers have the form of IPv4 addresses: not counted after a word such as "version" or a
    comparison, nor where three of the four parts are below ten, unless a word such as "host" stands before.
    """
    for anchor in _DOTTED.finditer(text):
        first = anchor.start()
        while first > max(0, anchor.start() - 3) and text[first - 1] in "0123456789":
            first -= 1
        found = _IPV4.match(text, first)
        if found is None:
            continue
        written, start = found.group(), found.start()
        try:
            address = ipaddress.IPv4Address(written)
        except ValueError:
            continue
        if not (private or address.is_global) or not int(address):
            continue
        if named(text, start, _VERSION, 14, same_line=True) or _COMPARED.search(text[max(0, start - 5) : start]):
            continue
        if sum(part < 10 for part in address.packed) > 2 and not named(text, start, _HOST, 24, same_line=True):
            continue
        yield Span(start, found.end(), "ip", "IPv4")
    yield from _ipv6(text, private)


def _ipv6(text: str, private: bool) -> Iterator[Span]:
    at = 0
    while (anchor := _COLONS.search(text, at)) is not None:
        start = anchor.start()
        while start > max(at, anchor.start() - 39) and text[start - 1] in _HEX_OR_COLON:
            start -= 1
        found = _IPV6_PART.match(text, start)
        at = anchor.end() - 1
        if found is None:
            continue
        at = max(at, found.end() - 1)
        before = text[start - 1 : start]
        if before.isalnum() or before == "_" or not _is_ipv6(found.group(), private):
            continue
        yield Span(start, found.end(), "ip", "IPv6")


def _is_ipv6(written: str, private: bool) -> bool:
    if sum(c not in ":." for c in written) < 4:  # "::" and "a::b" are punctuation more often than addresses
        return False
    try:
        address = ipaddress.IPv6Address(written)
    except ValueError:
        return False
    # "2001:db8::" with nothing after is a network, not a host.
    return private or (address.is_global and not address.is_multicast and not written.endswith("::"))


def crypto(text: str) -> Iterator[Span]:
    """Bitcoin addresses, base58check and bech32, whose checksum is right."""
    for found in (found for pattern in _BASE58 for found in pattern.finditer(text)):
        if base58check(found.group()):
            yield Span(found.start(), found.end(), "crypto", "base58")
    for found in _BECH32.finditer(text) if "bc1" in text else ():
        if bech32(found.group()):
            yield Span(found.start(), found.end(), "crypto", "bech32")
