"""What a source must not bring along: files from elsewhere, and secrets in its own address."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bedplate.data.reading import Limits, find, pieces, read
from bedplate.data.source import Source


@pytest.mark.parametrize("place", ["folder", "documents", "markdown"])
def test_links_that_lead_out_of_a_folder_are_told_and_not_read(tmp_path, place):
    inside = tmp_path / "unpacked"
    inside.mkdir()
    (tmp_path / "key.md").write_text("a private key")
    (inside / "own.md").write_text("our own words")
    (inside / "out.md").symlink_to(tmp_path / "key.md")
    (inside / "within.md").symlink_to(inside / "own.md")
    source = Source(**{place: str(inside)}, license="MIT")
    found = [d for piece in pieces(source, find(source)) for d in read(source, piece, Limits())]
    assert {d.source: (d.text, d.reason) for d in found} == {
        "unpacked/out.md": (None, "link_outside"),
        "unpacked/own.md": ("our own words", None),
        "unpacked/within.md": ("our own words", None),
    }


def test_a_folder_that_is_a_link_itself_is_read(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("words")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    source = Source(folder=str(tmp_path / "link"), license="MIT")
    assert [d.text for piece in pieces(source, find(source)) for d in read(source, piece, Limits())] == ["words"]


@pytest.mark.parametrize(
    "address",
    [
        "ftp://me:HIDDEN@host/x.jsonl",
        "https://host/x.jsonl?X-Amz-Signature=HIDDEN",
        "https://host/x.jsonl?token=HIDDEN",
    ],
)
def test_secrets_in_an_address_are_refused_and_not_repeated(address):
    with pytest.raises(ValidationError, match="would be written into the manifest") as caught:
        Source(jsonl=address, license="MIT")
    assert "HIDDEN" not in "".join(error["msg"] for error in caught.value.errors())


def test_an_address_without_secrets_is_taken():
    assert Source(jsonl="s3://bucket/x.jsonl", license="MIT").remote
