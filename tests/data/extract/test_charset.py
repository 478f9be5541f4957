"""The order of evidence for a page's encoding, and what labels mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.data.extract.charset import decode, encoding_of

GERMAN = "<p>Größe: 5 €, „schön“</p>"


@pytest.mark.parametrize(
    ("label", "encoding"),
    [
        *(("latin-1", "cp1252"), ("ISO-8859-1", "cp1252"), ("ascii", "cp1252"), ("us-ascii", "cp1252")),
        *(("utf8", "utf-8"), (" UTF-8 ", "utf-8"), ("x-sjis", "shift_jis"), ("gb2312", "gbk"), ("koi8-r", "koi8-r")),
        *(("utf-7", None), ("hz-gb-2312", None), ("iso-2022-kr", None), ("nonsense", None), ("", None)),
    ],
)
def test_labels_mean_what_the_encoding_standard_says(label, encoding):
    assert encoding_of(label) == encoding


@pytest.mark.parametrize(
    ("data", "content_type", "charset", "declared"),
    [
        (b"\xef\xbb\xbf" + GERMAN.encode(), "text/html; charset=cp1252", "utf-8", "bom"),
        (b"\xff\xfe" + GERMAN.encode("utf-16-le"), "text/html", "utf-16-le", "bom"),
        (GERMAN.encode("cp1252"), 'text/html; Charset="latin1"', "cp1252", "header"),
        (b'<meta charset="latin-1">' + GERMAN.encode("cp1252"), "text/html", "cp1252", "meta"),
        (b"<meta http-equiv=a content='text/html;charset=utf-16'>" + GERMAN.encode(), None, "utf-8", "meta"),
        (
            b"<!-- <meta charset=koi8-r> --><meta charset=windows-1252>" + GERMAN.encode("cp1252"),
            None,
            "cp1252",
            "meta",
        ),
        (b'<meta charset="utf-8">' + GERMAN.encode("cp1252"), "text/html; charset=iso-8859-1", "cp1252", "header"),
        (GERMAN.encode(), "text/html; charset=iso-8859-1", "utf-8", "header"),
        (GERMAN.encode(), "text/html; charset=bogus", "utf-8", "default"),
        (GERMAN.encode(), None, "utf-8", "default"),
    ],
)
def test_the_order_of_evidence(data, content_type, charset, declared):
    found = decode(data, content_type)
    assert (found.charset, found.declared) == (charset, declared)
    assert found.text.endswith(GERMAN)


def test_a_label_that_cannot_be_true_is_passed_over():
    russian = ("<p>" + "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 20).encode("cp1251")
    found = decode(russian, "text/html; charset=utf-8")
    assert (found.charset, found.declared) == ("cp1251", "detected")
    assert "булок" in found.text


def test_a_page_cut_off_within_a_character_is_still_utf8():
    assert decode(GERMAN.encode() * 3 + "ü".encode()[:1]).charset == "utf-8"


@given(
    st.binary(max_size=200),
    st.sampled_from([None, "text/html; charset=utf-8", "text/html; charset=big5", "x; charset=\x00"]),
)
def test_any_bytes_decode_to_what_can_be_written(data, content_type):
    decode(data, content_type).text.encode()


@given(st.text(min_size=1).filter(lambda text: not text.isascii() and text[0] not in "\ufeff\ufffe"))
def test_utf8_comes_through_whatever_one_byte_encoding_is_declared(text):
    assert decode(text.encode(), "text/html; charset=windows-1252").text == text
