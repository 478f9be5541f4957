"""Lists against addresses, hosts and owners in all their spellings, and against texts that changed since."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.data.documents import Document
from bedplate.data.extract.config import ExtractConfig
from bedplate.data.extract.step import step as extract
from bedplate.data.rights.config import RightsConfig
from bedplate.data.rights.entries import names_in, normal_url, owners_of
from bedplate.data.rights.hosts import ascii_host
from bedplate.data.rights.step import step
from bedplate.data.rights.takedown import Takedown, late_step
from bedplate.errors import InputError


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("url=http://a.org/x", "https://a.org/x"),
        ("url=https://a.org/x", "https://a.org/x/"),
        ("url=https://a.org/x/", "https://a.org/x"),
        ("url=https://a.org", "https://A.org.:443/#top"),
        ("url=https://a.org/x?q=1", "https://a.org/x/?q=1"),
        ("url=https://a.org/x/*", "https://a.org/x"),
        ("url=https://a.org/x/*", "https://a.org/x/?q=/y"),
        ("url=https://a.org/x/*", "https://a.org/x/y/z"),
        ("url=https://a.org/*", "https://a.org"),
        ("url=https://a.org/a/../x/*", "https://a.org/x/y"),
        ("url=https://a.org/a/../b", "https://a.org/b"),
        ("url=https://a.org/b", "https://a.org/a/%2e%2E/./b"),
        ("url=https://a.org/%7Ejoe", "https://a.org/~joe"),
        ("url=https://a.org/x%2Fy", "https://a.org/x%2fy"),
        ("url=https://a.org/é", "https://a.org/%c3%a9"),
        ("url=https://straße.de/x", "https://xn--strae-oqa.de/x"),
        ("domain=straße.de", "https://www.xn--strae-oqa.de/x"),
        ("domain=XN--STRAE-OQA.de", "https://straße.de/x"),
        ("domain=bücher。example", "https://BÜCHER.example/x"),
        ("domain=☕.example", "https://xn--53h.example/"),
        ("domain=a.org.", "https://a.org/"),
    ],
)
def test_addresses_that_are_the_same(line, url):
    assert Takedown.of([line]).matches(url=url)


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("domain=straße.de", "https://strasse.de/x"),
        ("url=https://www.a.org/x", "https://a.org/x"),
        ("url=https://a.org/x", "https://a.org/x?q"),
        ("url=https://a.org/x/*", "https://a.org/xy"),
        ("url=https://a.org/x/*", "https://a.org/q?u=/x/y"),
        ("url=https://a.org/x", "https://a.org/X"),
    ],
)
def test_addresses_that_are_not(line, url):
    assert Takedown.of([line]).matches(url=url) is None


@given(st.text("abc./%25EF?é*", max_size=20))
def test_normal_addresses_stay_as_they_are(path):
    normal = normal_url(f"https://a.org/{path}")
    assert normal is not None
    assert Takedown.of([f"url=https://a.org/{path}"]).matches(url=f"http://a.org/{path}") or path.endswith("/*")
    assert Takedown.of(["url=https://a.org/*"]).matches(url=f"http://a.org/{path}")


@given(st.text(max_size=20))
def test_any_host(host):
    found = ascii_host(host)
    assert found is None or (found.isascii() and found == found.lower())


@pytest.mark.parametrize(
    "metadata",
    [
        {"author": "Jane  DOE"},
        {"author": ["A. Nother", "Jane Doe"]},
        {"authors": [{"name": "Jane Doe"}, "x"]},
        {"creator": "Jane Doe"},
        {"creator": ["Jane Doe", "B"]},
        {"author": "By Jane Doe and John Roe"},
        {"author": "John Roe; Jane Doe"},
        {"author": "John Roe, Jane Doe"},
        {"json_ld": [{"@type": "Article", "author": ["John", "Jane Doe"]}]},
        {"json_ld": [{"@type": "Article", "creator": "Jane\u00a0Doe"}]},
    ],
)
def test_owners(metadata):
    assert Takedown.of(["owner=jane doe"]).match(Document("x", "t", metadata=metadata)) == "owner=jane doe"


@pytest.mark.parametrize(
    "metadata",
    [{"author": "Jane E Doe"}, {"author": 1}, {"author": [["Jane Doe"]]}, {"json_ld": 3}, {"title": "Jane Doe"}, {}],
)
def test_not_owners(metadata):
    assert Takedown.of(["owner=jane doe", "owner=jane"]).match(Document("x", "t", metadata=metadata)) is None


def test_names():
    assert Takedown.of(["owner=Jose\u0301"]).matches(owner="JOSÉ")
    assert Takedown.of(["owner=Doe, Jane"]).matches(owner="doe,  jane") == "owner=doe, jane"
    assert "doe" not in list(names_in("Doe, Jane"))
    assert len(owners_of({"author": ["a"] * 9000})) == 1
    assert list(names_in("")) == []


def test_owners_of_pages():
    page = (
        b'<html><head><script type="application/ld+json">{"@type": "Article", "author": {"name": "Jane Doe"}}</script>'
    )
    document = Document(
        "p", None, page + b"</head><body><p>" + b"Words of hers. " * 30, "text/html", url="https://a.org"
    )
    extract(ExtractConfig())([document])
    assert Takedown.of(["owner=Jane Doe"]).match(document)


TEXT = "Write to [EMAIL].\n"
DIGEST = sha256(TEXT.encode()).hexdigest()


@pytest.mark.parametrize("line", [f"sha256={DIGEST.upper()}", f"id={DIGEST[:24]}"])
@pytest.mark.parametrize(
    ("field", "reason"), [("taken_down", "taken_down"), ("opted_out", "opted_out"), ("blocked", "blocked")]
)
def test_lists_are_asked_again_of_the_final_text(tmp_path, line, field, reason):
    path = tmp_path / "list.txt"
    path.write_text(f"domain=a.org\n{line}\n")
    config = RightsConfig(**{field: [str(path)]})
    document = Document("p", "Write to me@example.org.\n")
    step(config)([document])
    assert document.alive
    document.text = TEXT  # as masking leaves it
    other = Document("q", "Something else.\n", url="https://a.org/")
    late = late_step(config)
    late([document, other])
    assert (document.stage, document.reason) == ("takedown_lists", reason)
    assert other.alive
    assert late.columns == {}


def test_no_late_step_without_hashes(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("domain=a.org\nowner=x\n")
    assert late_step(RightsConfig()) is None
    assert late_step(RightsConfig(taken_down=[str(path)], blocked=[str(path)])) is None
    with pytest.raises(InputError):
        late_step(RightsConfig(taken_down=[str(tmp_path / "none")]))
