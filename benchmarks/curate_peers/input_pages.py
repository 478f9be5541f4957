"""WARC files of the 91 real news pages and of variants of them; `curate_input.py` says how they differ."""

from __future__ import annotations

import gzip
import html
import json
import re
import uuid
from pathlib import Path

import numpy as np
from curate_peers.real_texts import SENTENCE, Pool

PAGES_A_FILE = 1000
SEALED = re.compile(r"(?is)(<!--.*?-->|<(?:script|style|noscript|template|textarea|title)\b.*?</(?:\w+)\s*>)")
NODE = re.compile(r">([^<>]{60,})<")


def variant(page: str, sentences: list[str], random: np.random.Generator) -> str:
    """The page with its longer text nodes told in other sentences; scripts, styles and markup as they are."""

    def told(node: re.Match[str]) -> str:
        pieces = SENTENCE.split(node[1].strip())
        new = random.random(len(pieces)) < 0.5
        other = random.integers(len(sentences), size=len(pieces))
        pieces = [
            html.escape(sentences[o], quote=False) if n else p for p, n, o in zip(pieces, new, other, strict=True)
        ]
        return ">" + " ".join(pieces[i] for i in random.permutation(len(pieces))) + "<"

    parts = SEALED.split(page)
    return "".join(part if i % 2 else NODE.sub(told, part) for i, part in enumerate(parts))


def record(address: str, page: bytes, charset: str) -> bytes:
    """One gzipped `response` record of WARC 1.0 as Common Crawl writes them; the same page gives the same bytes."""
    name = uuid.uuid5(uuid.NAMESPACE_URL, address)
    http = f"HTTP/1.1 200 OK\r\nContent-Type: text/html{charset}\r\nContent-Length: {len(page)}\r\n\r\n".encode() + page
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2024-05-01T12:00:00Z\r\nWARC-Record-ID: <urn:uuid:{name}>\r\n"
        f"WARC-Target-URI: {address}\r\nWARC-Identified-Payload-Type: text/html\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + http + b"\r\n\r\n", compresslevel=4, mtime=0)


def write_pages(out: Path, data: Path, count: int, seed: int) -> None:
    """`pages` of the module's docstring."""
    (out / "pages").mkdir(parents=True, exist_ok=True)
    gold = sorted(json.loads((data / "article_extraction/ground-truth.json").read_text()).items())
    articles = [
        (n, a["url"], gzip.decompress((data / f"article_extraction/html/{n}.html.gz").read_bytes())) for n, a in gold
    ]
    sentences = [s for s in Pool.read(data).sentences if s.isascii()]
    with (out / "pages.jsonl").open("w") as notes:
        for first in range(0, count, PAGES_A_FILE):
            with (out / "pages" / f"{first // PAGES_A_FILE:05d}.warc.gz").open("wb") as file:
                for number in range(first, min(first + PAGES_A_FILE, count)):
                    version, place = divmod(number, len(articles))
                    article, address, raw = articles[place]
                    try:
                        text, codec = raw.decode("utf-8"), "utf-8"
                    except UnicodeDecodeError:
                        text, codec = raw.decode("latin-1"), "latin-1"  # every byte comes back as it was
                    page = raw
                    if version:
                        address += f"{'&' if '?' in address else '?'}variant={version}"
                        page = variant(text, sentences, np.random.default_rng([seed, number])).encode(codec)
                    file.write(record(address, page, "; charset=utf-8" if codec == "utf-8" else ""))
                    notes.write(json.dumps({"url": address, "article": article, "variant": version}) + "\n")
