"""Lists of what is to be left out, and documents whose pictures make up what they are."""

from __future__ import annotations

from hashlib import sha256

from bedplate.data.corpus import identity
from bedplate.data.documents import Document
from bedplate.data.rights.takedown import Takedown

PICTURE = "f" * 64
TEXT = "a red kite"
DIGEST = sha256(TEXT.encode()).hexdigest()
NAME = identity(DIGEST, PICTURE)[:24]


def with_picture():
    return Document("x", TEXT, images=("a.png",), metadata={"picture": {"sha256": PICTURE}})


def test_an_id_names_text_and_picture():
    assert Takedown.of([f"id={NAME}"]).match(with_picture()) == f"id={NAME}"
    assert Takedown.of([f"id={DIGEST[:24]}"]).match(with_picture()) is None
    assert Takedown.of([f"id={NAME}"]).match(Document("x", TEXT)) is None
    assert Takedown.of([f"id={DIGEST[:24]}"]).match(Document("x", TEXT)) == f"id={DIGEST[:24]}"


def test_a_hash_names_the_text_whatever_the_picture():
    assert Takedown.of([f"sha256={DIGEST}"]).match(with_picture()) == f"sha256={DIGEST}"


def test_what_came_out_of_a_corpus_is_known_by_its_columns():
    carried = Document("x", TEXT, columns={"picture": PICTURE})
    assert Takedown.of([f"id={NAME}"]).match(carried) == f"id={NAME}"
    cut = Document("x", "what was left of it", columns={"id": NAME, "picture": None})
    assert Takedown.of([f"id={NAME}"]).match(cut) == f"id={NAME}"


def test_metadata_of_another_shape_harms_nothing():
    for metadata in ({"picture": "a.png"}, {"picture": {"sha256": None}}, {}):
        document = Document("x", TEXT, images=("a.png",), metadata=metadata)
        assert Takedown.of([f"id={DIGEST[:24]}"]).match(document) == f"id={DIGEST[:24]}"
