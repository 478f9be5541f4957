"""GPT-2's alphabet for bytes, in which byte-level vocabularies are written."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[str, int]:
    """Character -> byte. Printable Latin-1 stands for itself, the rest for U+0100 upwards, in order (Radford et al.,
    2019, `bytes_to_unicode`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(printable)]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


def spelt(content: bytes) -> str:
    """Bytes as byte-level vocabularies write them."""
    characters = {byte: char for char, byte in byte_alphabet().items()}
    return "".join(characters[byte] for byte in content)
