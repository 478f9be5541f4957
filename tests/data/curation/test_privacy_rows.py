"""No personal data is written where the privacy section masks it: not of what is kept, nor of what is left out."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.data.curation.rows import EXCERPT, row_of
from bedplate.data.documents import Document
from bedplate.data.privacy.config import PrivacyConfig
from bedplate.data.privacy.masking import Masker
from bedplate.data.privacy.step import masker_of, step
from bedplate.ledger import produce

MAIL = "jane.doe@corp.com"


@pytest.fixture
def mask():
    return masker_of([step(PrivacyConfig())])


def everything(**fields) -> Document:
    known = {"source": f"raw/{MAIL}.txt", "url": f"https://a.org/u?email={MAIL}&page=2", "title": f"By {MAIL}"}
    known |= {"license": f"ask {MAIL}", "language": "en", "date": "2024-05-01T12:00:00Z", "group": MAIL}
    known |= {"synthetic": json.dumps({"model": "m", "asked": MAIL}), "text": f"Some words. Write to {MAIL}."}
    known |= {"metadata": {MAIL: "v", "id": MAIL, "card": 4111111111111111, "n": 12, "pages": [{"by": MAIL}]}}
    return Document(**known | fields)


@pytest.mark.parametrize("stage", [None, "read", "extract", "rights", "privacy", "filters"])
def test_nothing_personal_is_in_any_column(mask, stage):
    document = everything()
    if stage in (None, "filters"):
        step(PrivacyConfig())([document])
    if stage is not None:
        document.drop(stage, "some_reason", f"found {MAIL}")
    document.columns |= {"said_by": MAIL}
    row = row_of(document, "web", {"said_by": "string"}, mask)
    assert MAIL not in json.dumps(row)
    assert "corp.com" not in json.dumps(row)
    assert "4111111111111111" not in (row["metadata"] or "")
    assert row["url"] == "https://a.org/u?email=<EMAIL>&page=2"
    assert row["source"] == "raw/<EMAIL>.txt"
    assert row["date"] == "2024-05-01T12:00:00Z"
    assert json.loads(row["metadata"])["n"] == 12
    assert (row["excerpt"] is None) == (stage in (None, "rights", "privacy"))
    assert row_of(document, "web", {"said_by": "string"}, mask) == row


def test_without_a_mask_a_row_says_what_the_document_says():
    row = row_of(everything(), "web", {})
    assert (row["title"], row["group"]) == (f"By {MAIL}", MAIL)
    assert masker_of([]) is None
    assert masker_of([step(PrivacyConfig(action="detect"))]) is None


def test_groups_and_ids_stay_apart_when_they_are_masked(mask):
    rows = []
    for person in ("a@corp.com", "b@corp.com", "a@corp.com"):
        document = Document("x", "text", group=person, metadata={"id": person})
        step(PrivacyConfig())([document])
        rows.append(row_of(document, "web", {}, mask))
    for name in ("record_id", "group"):
        assert rows[0][name] == rows[2][name] != rows[1][name]
    assert {row["metadata"] for row in rows} == {'{"id": "<EMAIL>"}'}
    assert row_of(Document("x", "t", metadata={"id": 1}), "w", {})["record_id"] == row_of(
        Document("x", "t", metadata={"id": "1"}), "w", {}
    )["record_id"]  # fmt: skip


def test_names_that_come_to_be_one_stay_two(mask):
    assert mask.value({"a@corp.com": 1, "b@corp.com": 2}) == {"<EMAIL>": 1, "<EMAIL> 2": 2}


def test_an_excerpt_ends_in_no_half_of_a_finding(mask):
    before = "word " * (EXCERPT // 5 - 2)
    document = Document("x", f"{before}{MAIL} and more")
    document.drop("read", "too_large")
    assert row_of(document, "web", {}, mask)["excerpt"].endswith("<EMAIL> an")
    document = Document("x", "4111 1111 1111 1111 " * 300)
    document.drop("read", "too_large")
    assert "1111" not in row_of(document, "web", {}, mask)["excerpt"]


@pytest.mark.parametrize(
    ("reason", "detail", "told"),
    [
        ("taken_down", "owner=secret person", "an owner entry of rights.taken_down"),
        ("opted_out", "url=a.org/secret", "a url entry of rights.opted_out"),
        ("opted_out", "noai", "noai"),
        ("blocked", "owner=secret person", "an owner entry of rights.blocked"),
        ("blocked_domain", "domain=a.org", "domain=a.org"),
    ],
)
def test_of_what_is_taken_down_neither_words_nor_owner_are_left(reason, detail, told):
    document = Document("x", "The diary of Secret Person", title="Secret Person", metadata={"author": "Secret Person"})
    document.drop("rights", reason, detail)
    row = row_of(document, "web", {})
    assert row["detail"] == told
    assert row["excerpt"] is None
    if reason in ("taken_down", "opted_out"):
        assert (row["title"], row["metadata"]) == (None, None)
        assert "secret" not in json.dumps(row).lower()


def test_what_could_not_be_looked_at_is_not_shown():
    def broken(text: str) -> str:
        raise RuntimeError

    document = everything()
    document.fail("privacy", "error", "RuntimeError")
    row = row_of(document, "web", {}, Masker(broken, lambda text: text.replace(MAIL, "<EMAIL>")))
    assert (row["title"], row["metadata"], row["excerpt"]) == (None, None, None)


def test_a_whole_curation_writes_none(tmp_path):
    texts = [" ".join(f"word{n * k % 97}" for k in range(1, 30)) for n in range(1, 40)]
    rows = [
        {"id": "a@corp.com", "text": texts[0], "url": f"https://a.org/u?email={MAIL}", "title": "one"},
        {"id": "b@corp.com", "text": texts[1], "url": "https://a.org/2", "title": "two"},
        {"id": "b@corp.com", "text": texts[2], "url": "https://a.org/3", "title": "three"},
        {"id": "d", "text": f"Third: write to {MAIL}. " + texts[3], "url": "https://b.org/4", "title": f"By {MAIL}"},
        {"id": "e", "text": f"Blocked: {MAIL}. " + texts[4], "url": "https://blocked.org/5", "title": MAIL},
        {"id": "f", "text": "", "url": "https://b.org/6", "title": MAIL},
        {"id": "g", "text": f"short {MAIL}", "url": "https://b.org/7", "title": "+49 151 12345678"},
    ]
    rows += [{"id": f"n{n}", "text": text, "url": f"https://c.org/{n}"} for n, text in enumerate(texts[8:])]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "html").mkdir()
    page = f'<html><head><title>To {MAIL}</title><meta name="author" content="{MAIL}"></head><body></body></html>'
    (tmp_path / "html" / "empty.html").write_text(page)
    head = '<head><title>Diary of Secret Person</title><meta name="author" content="Secret Person"></head>'
    page = f"<html>{head}<body><p>{texts[5]}</p><p>{texts[6]}</p></body></html>"
    (tmp_path / "html" / "diary.html").write_text(page)
    (tmp_path / "down.txt").write_text("owner=Secret Person\n")
    fields = {"id_field": "id", "url_field": "url", "title_field": "title", "license": "unknown"}
    sources = [
        {"jsonl": str(tmp_path / "a.jsonl"), "name": "j", **fields},
        {"html": str(tmp_path / "html"), "name": "h", "license": "unknown"},
    ]
    config = CurateConfig(
        sources=sources,
        on_error="skip",
        validation=0.5,
        workers=1,
        extract={},
        rights={"blocked_domains": ["blocked.org"], "taken_down": [str(tmp_path / "down.txt")]},
        privacy={},
        filters={"rules": [{"column": "personal_data", "max": 0, "reason": "personal", "missing": "drop"}]},
    )
    corpus = produce(CURATE, config, {}, tmp_path / "out", name="corpus", console=Console.quiet())
    kept = [row for path in sorted(corpus.path.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]
    dropped = pq.read_table(corpus.path / "dropped.parquet").to_pylist()
    told = json.dumps([kept, dropped])
    assert "corp.com" not in told
    assert "secret person" not in told.lower()
    assert "12345678" not in told
    assert {row["url"] for row in kept} >= {"https://a.org/u?email=<EMAIL>", "https://a.org/2"}
    assert [row["url"] for row in dropped if row["reason"] == "duplicate_id"] == ["https://a.org/3"]
    assert not any("record_id" in row for row in [*kept, *dropped])
