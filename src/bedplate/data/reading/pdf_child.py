"""Run as a process of its own: takes PDFs on its standard input, gives what pdfium finds in them on its output.

A PDF of a megabyte may unpack to gigabytes, and pdfium, which reads it in C++, has no limit of its own; here the
process has one, and where it dies of that, or of a fault, nothing else does. It imports nothing of this package, so
that it starts soon. Each way, a message is its length in eight bytes and then that many bytes: to it two of them, the
limits in JSON and the file; from it one, JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import IO, Any

MEMORY = 1 << 30


def main() -> None:
    """Answer until there is no further file."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed mustn't get in between
    import pypdfium2  # type: ignore[import-untyped]

    _bound()
    while (words := receive(questions)) is not None and (data := receive(questions)) is not None:
        limits = json.loads(words)
        try:
            answer = _answer(pypdfium2, data, limits["pages"], limits["largest"])
        except MemoryError:
            answer = {"error": "too_large"}
        except Exception as error:  # the parent tells it, and the next file is read
            answer = {"error": "reader_error", "words": f"{type(error).__name__}: {error}"[:300]}
        del data
        send(answers, json.dumps(answer).encode())
        answers.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """A message; None where the stream ends."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head, "big")
    data = stream.read(size)
    return data if len(data) == size else None


def send(stream: IO[bytes], data: bytes) -> None:
    stream.write(len(data).to_bytes(8, "big"))
    stream.write(data)


def _bound() -> None:
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as facts:
            held = int(facts.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(pdfium: Any, data: bytes, most_pages: int, largest: int) -> dict[str, Any]:
    try:
        pdf = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        return {"error": "encrypted" if "password" in str(error).lower() else "damaged_file", "words": str(error)}
    try:
        pages = len(pdf)
        answer: dict[str, Any] = {"pages": pages, "said": _said(pdf), "texts": [], "damaged": [], "too_long": None}
        size = 0
        for number in range(pages if pages <= most_pages else 0):
            try:
                text = _page(pdf, number)
            except pdfium.PdfiumError:
                answer["damaged"].append(number + 1)
                continue
            size += len(text)
            if size > largest:
                answer |= {"too_long": number + 1, "texts": []}
                break
            answer["texts"].append(text)
        return answer
    finally:
        pdf.close()


def _said(pdf: Any) -> dict[str, str]:
    said = {}
    for key in ("Title", "CreationDate", "Author", "Subject", "Keywords"):
        with contextlib.suppress(UnicodeError, ValueError):
            said[key] = pdf.get_metadata_value(key)[:10_000]
    return said


def _page(pdf: Any, number: int) -> str:
    page = pdf[number]
    try:
        layer = page.get_textpage()
        try:
            text: str = layer.get_text_range(errors="replace")
        finally:
            layer.close()
    finally:
        page.close()
    return text


if __name__ == "__main__":
    main()
