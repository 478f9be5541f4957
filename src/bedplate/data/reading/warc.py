"""Web archives: WARC and ARC as crawlers write them, and Common Crawl's WET (text) and WAT (metadata) files.

Each record is a document or a failure: pages that were fetched with success are kept; requests, crawl information and
revisits are dropped as `not_a_document`, whose detail is the record's type, and so are robots.txt and its like, which
go with the pages of their site that come behind them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import BinaryIO

from bedplate.data.documents import Document, Failure
from bedplate.data.reading import http
from bedplate.data.reading.crawled import LARGEST_RECORD, LONGEST, CrawledDocument, SiteFilesSeen, site_file
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.payload import plain_text, take
from bedplate.data.reading.warc_records import Gap, Record, records

_FIX = "Take an undamaged copy of the file if you want what is lost."
_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z")
# ISO 639-3, which Common Crawl's language identification writes, where ISO 639-1 has a shorter one.
_SHORT_FROM = """
eng:en deu:de fra:fr spa:es ita:it por:pt nld:nl rus:ru zho:zh jpn:ja kor:ko ara:ar hin:hi tur:tr pol:pl ces:cs swe:sv
dan:da nor:no nob:no fin:fi ell:el hun:hu ron:ro bul:bg ukr:uk heb:he fas:fa ind:id vie:vi tha:th cat:ca hrv:hr srp:sr
slk:sk slv:sl lit:lt lav:lv est:et ben:bn tam:ta urd:ur msa:ms
"""
_SHORT = {pair[:3]: pair[4:] for pair in _SHORT_FROM.split()}


def read_warc(file: SourceFile, limits: Limits) -> Iterator[Document | Failure]:
    """Everything in the file. Raises OSError."""
    # An encoding and headers come on top of a page; what it is when decoded is looked at then.
    longest = limits.largest + (1 << 16)
    with file.open() as stream:
        yield from _documents(stream, file, limits, longest)


def _documents(stream: BinaryIO, file: SourceFile, limits: Limits, longest: int) -> Iterator[Document | Failure]:
    seen = SiteFilesSeen()
    found = records(stream, longest, called_gzip=file.gzipped)
    for number, record in enumerate(found, 1):
        name = f"{file.name}#{number}"
        if isinstance(record, Gap):
            place = f"{file.place} byte {record.offset}"
            yield Failure(name, place, record.reason, record.problem, _FIX, bytes=record.bytes)
        else:
            document = _document(name, record)
            if document.alive and record.block is not None:
                _fill(document, record, record.block, limits)
                if (said := site_file(document.url)) is not None and document.data is not None:
                    seen.add(document.url, said, document.data)
                elif document.alive:
                    document.site_files = seen.of(document.url)
            if document.reason == "too_large" and (said := site_file(document.url)) is not None:
                seen.refuse(document.url, said)
            yield document


def _document(name: str, record: Record) -> CrawledDocument:
    """What the record's header says, and whether there is a page to look for."""
    headers = record.headers
    date = _DATE.fullmatch(headers.get("warc-date", ""))
    document = CrawledDocument(
        name,
        None,
        bytes=record.length,
        url=headers.get("warc-target-uri", "").strip("<>") or None,  # wget puts brackets about it
        date=date[1] + "Z" if date else None,
        offset=record.offset,
    )
    for header in ("warc-record-id", "warc-truncated"):
        if header in headers:
            document.metadata[header.replace("-", "_")] = headers[header].strip("<>")
    if record.type not in ("response", "resource", "conversion"):
        document.drop("read", "not_a_document", record.type[:40])
    elif "warc-segment-number" in headers:
        document.fail("read", "segmented", "the page is cut into several records, which aren't joined here")
    elif record.block is None:
        document.drop("read", "too_large", f"{record.length:,} bytes")
    else:
        document.record_sha256 = hashlib.sha256(record.block).hexdigest()
    return document


def _fill(document: Document, record: Record, block: bytes, limits: Limits) -> None:
    headers = record.headers
    url = document.url or ""
    if record.type == "conversion":
        _fill_conversion(document, record, block, limits)
        return
    response = None
    if record.type == "response" and url.partition(":")[0].lower() in ("http", "https", ""):
        response = http.parse(block)
        if response is None:
            document.fail("read", "bad_http", "no HTTP response in the record")
            return
    elif record.type == "response":
        document.drop("read", "not_a_document", f"a response of {url.partition(':')[0][:20]}")
        return
    try:
        largest = limits.largest if site_file(url) is None else max(limits.largest, LARGEST_RECORD)
        data = block if response is None else http.decoded(response, largest)
    except http.TooLargeError:
        document.drop("read", "too_large", f"more than {limits.largest:,} bytes when decoded")
        return
    except http.BodyError as error:
        document.fail("read", error.reason, str(error))
        return
    declared = headers.get("content-type")
    if response is not None:
        document.headers = response.headers
        document.metadata["http_status"] = response.status
        declared = response.headers.get("content-type") or headers.get("arc-content-type")
        if not 200 <= response.status < 300:
            document.drop("read", "http_status", str(response.status))
            return
    if (name := site_file(url)) is not None:
        _take_site_file(document, name, data)
        return
    if len(data) > limits.largest:
        document.drop("read", "too_large", f"{len(data):,} bytes")
        return
    take(document, data, declared, limits, kind=headers.get("warc-identified-payload-type"))


def _take_site_file(document: Document, name: str, data: bytes) -> None:
    document.data = data[:LONGEST]
    document.drop("read", "not_a_document", name)


def _fill_conversion(document: Document, record: Record, block: bytes, limits: Limits) -> None:
    """A WET file's: the text that somebody else took from a page."""
    languages = record.headers.get("warc-identified-content-language", "")
    if languages:
        document.metadata["languages"] = languages
        first = languages.partition(",")[0].strip()
        document.language = _SHORT.get(first, first)
    document.content_type = record.headers.get("content-type")
    if (name := site_file(document.url)) is not None:
        _take_site_file(document, name, block)
        return
    if len(block) > limits.largest:
        document.drop("read", "too_large", f"{len(block):,} bytes")
        return
    document.text = plain_text(block, document.content_type)
    if document.text is None:
        document.drop("read", "not_text", "not UTF-8")
