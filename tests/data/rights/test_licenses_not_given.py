"""Licences that stand somewhere, and that nobody gave to the text at hand."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bedplate.data.documents import Document
from bedplate.data.rights.creative_commons import license_by_url
from bedplate.data.rights.license import find_license
from bedplate.data.rights.license_text import header_notice, is_license_file, license_of, spdx_tag
from bedplate.data.rights.page_signals import PageSignals, page_signals

BY = "https://creativecommons.org/licenses/by/4.0/"
CC = f'<a href="{BY}">CC BY</a>'
MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files, to deal in the Software. The above copyright notice and this permission notice shall be included in
all copies or substantial portions of the Software."""


def linked(*types: str) -> str:
    kind = f'"{types[0]}"' if len(types) == 1 else str(list(types)).replace("'", '"')
    return f'<script type="application/ld+json">{{"@type": {kind}, "license": "{BY}"}}</script>'


@pytest.mark.parametrize(
    "html",
    [
        f'<article class="post category-human-rights"><p>Of {CC} pictures.</p></article>',
        f'<div class="football-news"><p>What {CC} means in the sport.</p></div>',
        f'<div class="licensed-players footballers"><p>{CC}</p></div>',
        f'<ol class="footnotes"><li>Photo by Jane, {CC}</li></ol>',
        f'<div class="copyright"><figure><a rel="license" href="{BY}">x</a></figure></div>',
        f'<div class="wp-caption"><p class="license">{CC}</p></div>',
        f"<p>This text is not licensed under {CC}.</p>",
        f"<p>Dieser Text steht nicht unter {CC}.</p>",
        f'<p>The photo above is licensed under <a rel="license" href="{BY}">CC BY</a>.</p>',
        f'<div id="comments-copyright"><p>I like {CC}</p></div>',
        f'<li class="comment"><footer>{CC}</footer></li>',
        f"<blockquote><footer>{CC}</footer></blockquote>",
        f"<footer>(c) ACME. All rights reserved. Icons: {CC}</footer>",
        f"<footer><div><p>© ACME. All rights reserved.</p></div><ul><li><div><p>{CC}</p></div></li></ul></footer>",
        f"<footer><p>Theme by Joe, {CC}</p></footer>",
        f"<footer>Portions of this site: {CC}</footer>",
        '<footer><a href="https://evil.example/?go=creativecommons.org/licenses/by/4.0/">x</a></footer>',
        linked("Photograph"),
        linked("VideoObject"),
        linked("Dataset"),
        linked("Article", "ImageObject"),
        f'<meta name="copyright" content="Not under {BY} at all">',
    ],
)
def test_pages(html):
    assert page_signals(f"<html><body><p>words</p>{html}</body></html>").licenses == {}


@pytest.mark.parametrize(
    "html",
    [
        f'<div class="copyright">{CC}</div>',
        f'<p id="colophon">{CC}</p>',
        f'<footer><p>This work is licensed under a <a href="{BY}">Creative Commons Attribution-Non-Commercial-No '
        "Derivatives 4.0 International License</a></p></footer>",
        f"<p>Dieser Inhalt steht unter {CC.replace('CC BY', 'Nicht-kommerziell - Keine Bearbeitung 4.0 Lizenz')}.</p>",
        f"<p>Except where otherwise noted, text and images are available under {CC}.</p>",
        f"<footer>Text is available under {CC}; other terms may apply. Of X, a non-profit organization.</footer>",
        linked("https://schema.org/BlogPosting"),
        linked("Article", "CreativeWork"),
        f'<body class="single comments-open"><footer>{CC}</footer></body>',
    ],
)
def test_licences_that_are_given(html):
    assert list(page_signals(f"<html><body>{html}</body></html>").licenses) == ["CC-BY-4.0"]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/creativecommons.org/licenses/by/4.0/",
        "https://creativecommons.org.evil.example/licenses/by/4.0/",
        "https://creativecommons.org@evil.example/licenses/by/4.0/",
        "https://notcreativecommons.org/licenses/by/4.0/",
        "see creativecommons.org/licenses/by/4.0/",
        "https://evil.example/?x=opensource.org/licenses/MIT",
    ],
)
def test_addresses(url):
    assert license_by_url(url) is None


def of_source(text: str, **more):
    found = find_license(Document("r/a.py", text, language="python", **more), PageSignals())
    return found.license, found.conflict


@pytest.mark.parametrize(
    "text",
    [
        'TEMPLATE = "SPDX-License-Identifier: MIT"\n',
        'TEMPLATE = """\n# SPDX-License-Identifier: MIT\n# Licensed under the MIT license\n"""\n',
        "const T = `\n// SPDX-License-Identifier: MIT\n`;\n",
        "# see also: SPDX-License-Identifier: MIT for the tests\n",
        'x = "released under the MIT License"\n',
        "# Parts from jQuery, released under the MIT License.\n",
        "# Portions of this file are licensed under the MIT License.\n",
        "# Third-party code is licensed under the MIT License.\n",
    ],
)
def test_sources(text):
    assert of_source(text) == (None, None)
    assert of_source(text, metadata={"license_file": "ISC"}) == ("ISC", None)


@pytest.mark.parametrize(
    "text",
    [
        "# Copyright ACME. All rights reserved. Proprietary and confidential.\n# Parts are under the MIT license\n",
        "# This file is NOT licensed under the MIT license.\n",
        "# SPDX-License-Identifier: LicenseRef-Own AND nonsense\n",
        "# SPDX-License-Identifier: MIT\n# SPDX-License-Identifier: nonsense\n",
    ],
)
def test_a_head_that_refuses_outweighs_the_project(text):
    for more in ({}, {"metadata": {"license_file": "MIT"}}, {"license": "MIT"}):
        license, conflict = of_source(text, **more)
        assert license is None
        assert conflict


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\n# SPDX-License-Identifier: MIT\n",
        "<?php\n/*\n SPDX-License-Identifier: MIT\n*/",
        '"""A module.\n\nSPDX-License-Identifier: MIT\n"""',
        "<!-- SPDX-License-Identifier: MIT -->",
        "REM SPDX-License-Identifier: MIT",
        "(* SPDX-License-Identifier: MIT *)",
        "import a\n# SPDX-License-Identifier: MIT",
        "/* one\n * two */\n// SPDX-License-Identifier: MIT",
    ],
)
def test_tags_in_comments(text):
    assert spdx_tag(text) == "MIT"


def test_notices_in_comments_that_say_more():
    grant = "// " + MIT.replace("\n", "\n// ")
    assert header_notice(f"package a;\n{grant}") == "MIT"
    assert header_notice(f"// Copyright X. All rights reserved.\n{grant}") == "MIT"
    assert header_notice("x = 1\n# Licensed under the MIT license") is None
    plain = "# the format is proprietary, and writing it not available on Windows\n"
    assert of_source(plain, license="MIT") == ("MIT", None)


@pytest.mark.parametrize(
    "text",
    [
        f'"Commons Clause" License Condition v1.0. It does not grant to you the right to sell.\n{MIT}',
        f"{MIT}\nCommons Clause: you may not sell the Software.",
        f"ACME PROPRIETARY LICENSE. You may not copy or redistribute.\n\nTHIRD PARTY NOTICES\nlibfoo:\n{MIT}",
        "Words of our own. " * 400 + MIT,
        "Redistribution and use in source and binary forms, with or without modification, are permitted for "
        "non-commercial research only. Redistributions in binary form must reproduce the notice.",
        "You may not redistribute it. Uses a library under the Apache License, Version 2.0, January 2004.",
        "This project is not licensed under the MIT license.",
    ],
)
def test_license_files(text):
    assert license_of(text) is None


def test_license_files_of_systems():
    for name, license in (
        ("GPL-3", "GPL-3.0-only"),
        ("GPL-2", "GPL-2.0-only"),
        ("Apache-2.0", "Apache-2.0"),
        ("BSD", "BSD-3-Clause"),
    ):
        path = Path("/usr/share/common-licenses") / name
        if path.is_file():
            text = path.read_text()
            assert license_of(text) == license
            assert license_of(f"Copyright (c) 2001 Jane Doe\n\n{text}") == license
            assert license_of(f"{text}\nThe Commons Clause applies.") is None


def test_names_of_license_files():
    assert not is_license_file("LICENSE-3RD-PARTY.txt")
    assert not is_license_file("LICENSES/../LICENSE.third_party")
    assert is_license_file("LICENSE-MIT")


def test_hostile_pages_take_little_time():
    began = time.process_time()
    page_signals("<div class='a b c'>" * 190 + f"<p>{'x ' * 20_000}{CC}" * 60)
    page_signals(f"<footer>{'no ' * 100_000}{CC * 60}</footer>")
    license_of("no license " * 9000 + MIT)
    of_source("# not " * 900)
    assert time.process_time() - began < 5
