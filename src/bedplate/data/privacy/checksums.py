"""Check digits. All take the digits as text without separators, and say whether they fit together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B: doubling every second digit from the right, the digit sum is a multiple of ten."""
    total = sum(int(d) for d in digits[::-2]) + sum(_LUHN_DOUBLED[int(d)] for d in digits[-2::-2])
    return total % 10 == 0


def mod97(compact: str) -> bool:
    """ISO 7064 MOD 97-10 as ISO 13616 applies it to an IBAN: its first four characters last, letters as 10 to 35."""
    turned = compact[4:] + compact[:4]
    return int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def weighted(digits: str, weights: Sequence[int]) -> int:
    """The sum of digits times weights, over the shorter of the two."""
    return sum(int(d) * w for d, w in zip(digits, weights, strict=False))


def mod11_10(digits: str) -> bool:
    """ISO 7064 MOD 11,10: the last digit checks those before it."""
    product = 10
    for d in digits[:-1]:
        total = (int(d) + product) % 10 or 10
        product = 2 * total % 11
    return (11 - product) % 10 == int(digits[-1])


def _dihedral(a: int, b: int) -> int:
    """The product in D5, the symmetries of a pentagon: 0-4 turn it, 5-9 turn and flip it."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5


_VERHOEFF_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def verhoeff(digits: str) -> bool:
    """J. Verhoeff, Error Detecting Decimal Codes, 1969: the product of permuted digits in D5 is its identity."""
    total = 0
    for place, d in enumerate(reversed(digits)):
        value = int(d)
        for _ in range(place % 8):
            value = _VERHOEFF_STEP[value]
        total = _dihedral(total, value)
    return total == 0


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58check(address: str) -> bool:
    """Bitcoin's base58 with a version byte, 20 bytes of hash and four bytes of double SHA-256."""
    number = 0
    for c in address:
        number = number * 58 + _BASE58.index(c)
    try:
        data = number.to_bytes(25, "big")
    except OverflowError:
        return False
    leading = len(address) - len(address.lstrip("1"))
    if leading != len(data) - len(data.lstrip(b"\0")):
        return False
    return hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()[:4] == data[-4:]


_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_TERMS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def bech32(address: str) -> bool:
    """BIP 173 (bech32) and BIP 350 (bech32m): the checksum polynomial leaves 1 or 0x2bc830a3."""
    prefix, _, data = address.lower().rpartition("1")
    check = 1
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [_BECH32.find(c) for c in data]
    for value in values:
        if value < 0:
            return False
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate(_BECH32_TERMS):
            if top >> bit & 1:
                check ^= term
    return check in (1, 0x2BC830A3)
