"""The check of each national number. Each takes the number without separators, in upper case."""

from __future__ import annotations

from datetime import date

from bedplate.data.privacy.checksums import luhn, mod11_10, verhoeff, weighted


def is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _yymmdd(digits: str) -> bool:
    """Whether six digits are a date of this century or the last."""
    year, month, day = int(digits[:2]), int(digits[2:4]), int(digits[4:6])
    return is_date(1900 + year, month, day) or is_date(2000 + year, month, day)


def australia(n: str) -> bool:
    return weighted(n, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0 and len(set(n)) > 1


def belgium(n: str) -> bool:
    month, day, check = int(n[2:4]), int(n[4:6]), int(n[9:])
    born = month <= 12 and day <= 31
    return born and (97 - int(n[:9]) % 97 == check or 97 - int("2" + n[:9]) % 97 == check)


def brazil(n: str) -> bool:
    if len(set(n)) == 1:
        return False
    first = -weighted(n[:9], range(10, 1, -1)) % 11 % 10
    second = -weighted(n[:10], range(11, 1, -1)) % 11 % 10
    return n[9:] == f"{first}{second}"


def canada(n: str) -> bool:
    return n[0] not in "08" and luhn(n)


def switzerland(n: str) -> bool:
    return n.startswith("756") and weighted(n, (1, 3) * 7) % 10 == 0


def chile(n: str) -> bool:
    check = -weighted(n[-2::-1], (2, 3, 4, 5, 6, 7) * 2) % 11
    return n[-1] == ("K" if check == 10 else str(check))


def china(n: str) -> bool:
    if not (
        "11" <= n[:2] <= "91" and 1850 <= int(n[6:10]) <= 2100 and is_date(int(n[6:10]), int(n[10:12]), int(n[12:14]))
    ):
        return False
    return n[17] == "10X98765432"[weighted(n, [2**i % 11 for i in range(17, 0, -1)]) % 11]


def germany(n: str) -> bool:
    counts = sorted(n[:10].count(d) for d in set(n[:10]))
    return n[0] != "0" and counts[-1] in (2, 3) and counts[:-1].count(1) == len(counts) - 1 and mod11_10(n)


_LETTERS_23 = "TRWAGMYFPDXBNJZSQVHLCKE"


def spain(n: str) -> bool:
    number = n[:-1].translate(str.maketrans("XYZ", "012"))
    return n[-1] == _LETTERS_23[int(number) % 23]


def finland(n: str) -> bool:
    n = n[:6] + n[-4:]
    century = 1900 if int(n[4:6]) else 2000
    known = is_date(century + int(n[4:6]), int(n[2:4]), int(n[:2]))
    return known and 2 <= int(n[6:9]) <= 899 and n[9] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(n[:9]) % 31]


def france(n: str) -> bool:
    month = int(n[3:5])
    body = n[:13].replace("2A", "19").replace("2B", "18") if n[5:7] in ("2A", "2B") else n[:13]
    known = n[0] in "123478" and (1 <= month <= 12 or 20 <= month <= 42 or month >= 50)
    return known and body.isdigit() and 97 - int(body) % 97 == int(n[13:])


def united_kingdom(n: str) -> bool:
    return n[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def ireland(n: str) -> bool:
    second = n[8] if len(n) == 9 else "W"
    total = weighted(n[:7], range(8, 1, -1)) + 9 * (0 if second == "W" else ord(second) - 64)
    return n[7] == "WABCDEFGHIJKLMNOPQRSTUV"[total % 23]


def india(n: str) -> bool:
    return n[0] not in "01" and n != n[::-1] and verhoeff(n)


_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16,
         10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def italy(n: str) -> bool:
    odd = sum(_ODD[c] for c in n[:15:2])
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in n[1:15:2])
    return n[15] == chr(65 + (odd + even) % 26)


def korea(n: str) -> bool:
    century = {"1": 1900, "2": 1900, "3": 2000, "4": 2000, "5": 1900, "6": 1900, "7": 2000, "8": 2000}.get(n[6])
    return century is not None and is_date(century + int(n[:2]), int(n[2:4]), int(n[4:6]))


def mexico(n: str) -> bool:
    values = ["0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ".index(c) for c in n[:17]]
    return _yymmdd(n[4:10]) and -sum(v * w for v, w in zip(values, range(18, 1, -1), strict=True)) % 10 == int(n[17])


def netherlands(n: str) -> bool:
    return weighted(n, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0 and len(set(n)) > 1


def norway(n: str) -> bool:
    day, month, year = int(n[:2]), int(n[2:4]), int(n[4:6])
    day -= 40 if day > 40 else 0
    born = is_date(1900 + year, month, day) or is_date(2000 + year, month, day)
    return (
        born
        and weighted(n, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11 == 0
        and weighted(n, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0
    )


def poland(n: str) -> bool:
    month = int(n[2:4])
    century = {0: 1900, 1: 2000, 2: 2100, 3: 2200, 4: 1800}[month // 20]
    born = is_date(century + int(n[:2]), month % 20, int(n[4:6]))
    return born and weighted(n, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def sweden(n: str) -> bool:
    day = int(n[4:6])
    day -= 60 if day > 60 else 0
    return _yymmdd(f"{n[:4]}{day:02d}") and luhn(n)


def turkey(n: str) -> bool:
    d = [int(c) for c in n]
    tenth = (7 * sum(d[:9:2]) - sum(d[1:8:2])) % 10
    return d[0] != 0 and d[9] == tenth and d[10] == sum(d[:10]) % 10


def united_states(n: str) -> bool:
    area, group, serial = n[:3], n[3:5], n[5:]
    advertised = n in ("078051120", "219099999")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000" and not advertised


def south_africa(n: str) -> bool:
    return _yymmdd(n) and n[10] in "012" and luhn(n)
