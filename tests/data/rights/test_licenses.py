"""Licences: SPDX expressions, headers of sources, LICENSE files, and pages' links to Creative Commons."""

from __future__ import annotations

import importlib.metadata

import pytest

from bedplate.data.documents import Document
from bedplate.data.rights.config import RightsConfig
from bedplate.data.rights.creative_commons import license_by_url
from bedplate.data.rights.license_text import header_notice, is_license_file, license_of, spdx_tag
from bedplate.data.rights.page_signals import PageSignals, page_signals
from bedplate.data.rights.spdx import LICENSES, canonical, forbids, known, permits
from bedplate.data.rights.step import step

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction. %s THE SOFTWARE IS
PROVIDED "AS IS"."""
NOTICE = (
    "The above copyright notice and this permission notice shall be included in all copies or substantial portions."
)
BSD = """Redistribution and use in source and binary forms, with or without modification, are permitted provided:
1. Redistributions of source code must retain the above copyright notice.
2. Redistributions in binary form must reproduce the above copyright notice. %s"""


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        *(("mit", "MIT"), ("apache-2.0", "Apache-2.0"), ("GPL-2.0", "GPL-2.0-only"), ("GPL-2.0+", "GPL-2.0-or-later")),
        ("MIT or (Apache-2.0 and bsd-3-clause)", "MIT OR (Apache-2.0 AND BSD-3-Clause)"),
        ("MIT OR Apache-2.0 AND ISC", "MIT OR (Apache-2.0 AND ISC)"),
        ("(MIT)", "MIT"),
        ("GPL-2.0-or-later WITH classpath-exception-2.0", "GPL-2.0-or-later WITH Classpath-exception-2.0"),
        ("LicenseRef-ours", "LicenseRef-ours"),
        *((wrong, None) for wrong in ("", "GPL", "MIT OR", "(MIT", "MIT MIT", "MIT WITH nothing", "all, rights", None)),
        ("(" * 55 + "MIT", None),
        ("MIT OR " * 100 + "MIT", None),
    ],
)
def test_expressions(written, spelled):
    assert canonical(written) == spelled


def test_every_identifier_stands_for_itself():
    assert len(LICENSES) > 120
    assert all(canonical(name) == name for name in LICENSES)


@pytest.mark.parametrize(
    ("patterns", "license", "permitted"),
    [
        *((("MIT",), "MIT", True), (("MIT",), "mit", True), (("MIT",), "ISC", False), (("MIT",), None, False)),
        *((("MIT",), "MIT OR GPL-3.0-only", True), (("MIT",), "MIT AND GPL-3.0-only", False)),
        *((("CC-BY-*",), "CC-BY-SA-4.0", True), (("CC-BY-4.0",), "CC-BY-SA-4.0", False)),
        *((("unknown",), None, True), (("unknown",), "all rights reserved", True), (("unknown",), "MIT", False)),
        *((("GPL-2.0",), "GPL-2.0-only WITH GCC-exception-2.0", True), ((), "MIT", False)),
    ],
)
def test_what_a_list_permits(patterns, license, permitted):
    assert permits(patterns, license) is permitted


def test_what_a_list_forbids():
    assert forbids(("CC-*-NC-*",), "CC-BY-NC-SA-4.0")
    assert forbids(("GPL-3.0",), "MIT AND GPL-3.0-only")
    assert not forbids(("GPL-3.0",), "MIT OR GPL-3.0-only")
    assert not forbids((), None)
    assert known("CC-BY-*")
    assert not known("Apache2")
    with pytest.raises(ValueError, match="Apache2"):
        RightsConfig(allow=["Apache2"])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIT % NOTICE, "MIT"),
        (MIT % "", "MIT-0"),
        (BSD % "", "BSD-2-Clause"),
        (
            BSD % "3. Neither the name may be used to endorse or promote products derived from this software",
            "BSD-3-Clause",
        ),
        ("# Apache License\n   Version 2.0, January 2004\n http://www.apache.org/licenses/", "Apache-2.0"),
        ("GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "GPL-3.0-only"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "LGPL-3.0-only"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3, 19 November 2007", "AGPL-3.0-only"),
        ("Mozilla Public License Version 2.0\n=====\n\n1. Definitions", "MPL-2.0"),
        ("Creative Commons Legal Code\n\nCC0 1.0 Universal", "CC0-1.0"),
        ("Creative Commons Attribution-ShareAlike 4.0 International Public License", "CC-BY-SA-4.0"),
        ("This is free and unencumbered software released into the public domain.", "Unlicense"),
        (
            "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is "
            "hereby granted, provided that the above copyright notice and this permission notice appear in all copies.",
            "ISC",
        ),
        ("All rights reserved.", None),
        ("", None),
    ],
)
def test_license_files(text, name):
    assert license_of(text) == name


def test_real_license_files():
    """Those that the installed packages bring, beside the identifier that the packages declare."""
    right = wrong = 0
    for package in importlib.metadata.distributions():
        declared = canonical(package.metadata.get("License-Expression"))
        files = [file for file in package.files or () if is_license_file(file.name)]
        if declared is None or len(files) != 1 or not files[0].locate().is_file():
            continue
        found = license_of(files[0].locate().read_text(errors="replace"))
        right += found == declared
        wrong += found is not None and found not in declared and found.replace("-only", "-or-later") != declared
    assert right >= 10
    assert wrong <= (right + wrong) * 0.05


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("// SPDX-License-Identifier: (GPL-2.0+ OR MIT)\nint x;", "GPL-2.0-or-later OR MIT"),
        ("/* SPDX-License-Identifier: Apache-2.0 */", "Apache-2.0"),
        ("# SPDX-License-Identifier: MIT\n# SPDX-License-Identifier: ISC", "MIT AND ISC"),
        ("# SPDX-License-Identifier: Nonsense-1.0", None),
        ("x\n" * 9000 + "# SPDX-License-Identifier: MIT", None),
    ],
)
def test_spdx_tags(text, name):
    assert spdx_tag(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('# Licensed under the Apache License, Version 2.0 (the "License");', "Apache-2.0"),
        (
            "/* This program is free software; you can redistribute it and/or modify\n * it under the terms of the "
            "GNU General Public License as published by\n * the Free Software Foundation; either version 2 "
            "of the License, or\n * (at your option) any later version. */",
            "GPL-2.0-or-later",
        ),
        (
            "// you can redistribute it and/or modify it under the terms of the GNU Lesser General Public License "
            "version 2.1",
            "LGPL-2.1-only",
        ),
        ("// This Source Code Form is subject to the terms of the Mozilla Public\n// License, v. 2.0.", "MPL-2.0"),
        ("# " + (MIT % NOTICE).replace("\n", "\n# "), "MIT"),
        ("# Licensed to PSF under a Contributor Agreement.", "PSF-2.0"),
        ("# Copyright 2020 Someone", None),
        ("# how the GNU General Public License differs from others", None),
    ],
)
def test_notices_in_headers(text, name):
    assert header_notice(text) == name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("http://www.creativecommons.org/licenses/by-nc-sa/3.0/deed.de", "CC-BY-NC-SA-3.0"),
        ("//creativecommons.org/licenses/by-sa/3.0/de/", "CC-BY-SA-3.0-DE"),
        ("https://creativecommons.org/licenses/by/3.0/nz/", "CC-BY-3.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("https://creativecommons.org/licenses/by/", None),
        ("https://creativecommons.org/licenses/by/9.9/", None),
        ("https://www.gnu.org/copyleft/fdl-1.3.html", "GFDL-1.3-only"),
        ("https://opensource.org/licenses/MIT", "MIT"),
        ("https://example.org/terms", None),
    ],
)
def test_licenses_by_address(url, name):
    assert license_by_url(url) == name


BY = "https://creativecommons.org/licenses/by/4.0/"


@pytest.mark.parametrize(
    ("html", "own", "mentioned"),
    [
        (f'<p>text</p><footer><a href="{BY}">CC</a></footer>', ["CC-BY-4.0"], ()),
        (f'<a rel="license" href="{BY}">CC</a>', ["CC-BY-4.0"], ()),
        (f'<link rel="license" href="{BY}">', ["CC-BY-4.0"], ()),
        (f'<meta name="dcterms.license" content="{BY}">', ["CC-BY-4.0"], ()),
        (f'<div id="site-footer"><p><a href="{BY}">x</a></p></div>', ["CC-BY-4.0"], ()),
        (f'<p>Except where otherwise noted, content is under <a href="{BY}">CC BY</a>.</p>', ["CC-BY-4.0"], ()),
        (f'<article><p>Lawyers wrote <a href="{BY}">a deed</a> in 2013.</p></article>', [], ("CC-BY-4.0",)),
        (
            f'<figure><img><figcaption>Photo: <a rel="license" href="{BY}">CC</a></figcaption></figure>',
            [],
            ("CC-BY-4.0",),
        ),
        (f'<script type="application/ld+json">{{"@type": "Article", "license": "{BY}"}}</script>', ["CC-BY-4.0"], ()),
        (f'<script type="application/ld+json">{{"@type": "ImageObject", "license": "{BY}"}}</script>', [], ()),
        ("<p>nothing</p>", [], ()),
    ],
)
def test_a_pages_own_licence_is_told_from_one_that_it_mentions(html, own, mentioned):
    found = page_signals(f"<html><body>{html}</body></html>")
    assert list(found.licenses) == own
    assert found.mentions == mentioned
    assert PageSignals.from_metadata(found.as_metadata()) == found


def rights_of(document: Document, **config) -> Document:
    step(RightsConfig(**config))([document])
    return document


def test_evidence_and_conflicts():
    code = rights_of(Document("repo/a.py", "# SPDX-License-Identifier: MIT\nx = 1", license="GPL-3.0-only"))
    assert (code.license, code.columns["license_evidence"]) == ("MIT", "spdx-header")
    assert code.metadata["rights"]["license_conflict"] == "declared GPL-3.0-only"
    prose = rights_of(Document("books/a.txt", "How to write SPDX-License-Identifier: MIT in a file", license="cc0-1.0"))
    assert (prose.license, prose.columns["license_evidence"]) == ("CC0-1.0", "declared")
    file = rights_of(Document("repo/LICENSE", MIT % NOTICE))
    assert (file.license, file.columns["license_evidence"]) == ("MIT", "license-file")
    beside = rights_of(Document("repo/b.py", "x = 1", metadata={"license_file": MIT % NOTICE}))
    assert (beside.license, beside.columns["license_evidence"]) == ("MIT", "license-file")
    none = rights_of(Document("repo/b.py", "x = 1", license="unknown"))
    assert (none.license, none.columns["license_evidence"]) == (None, None)
    two = Document(
        "p", "text", metadata={"rights": {"licenses": {"CC-BY-4.0": "footer", "CC-BY-SA-3.0": "rel-license"}}}
    )
    assert rights_of(two).license == "CC-BY-4.0 AND CC-BY-SA-3.0"
    assert two.columns["license_evidence"] == "cc-link"


def test_licences_decide():
    config = {"allow": ["MIT", "CC-BY-*", "unknown"], "deny": ["CC-*-NC-*"]}
    fates = {}
    for license in ("MIT", "CC-BY-4.0", "CC-BY-NC-4.0", "GPL-3.0-only", None):
        fates[license] = rights_of(Document("a", "text", license=license), **config).reason
    no = "license_not_allowed"
    assert fates == {"MIT": None, "CC-BY-4.0": None, "CC-BY-NC-4.0": no, "GPL-3.0-only": no, None: None}
    assert rights_of(Document("a", "text"), deny=["unknown"]).detail == "no licence known"
