"""The pages that are served: each one file with nothing from elsewhere, and the policy that holds a browser to that."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources

from starlette.responses import Response


@cache
def _page(package: str) -> tuple[str, str]:
    """The page, and a Content-Security-Policy that names its own script and style by their hashes."""
    html = resources.files(package).joinpath("page.html").read_text(encoding="utf-8")

    def hashes(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    policy = (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def page(package: str) -> Response:
    """The `page.html` of a package as a response."""
    html, policy = _page(package)
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache", "X-Frame-Options": "DENY"}
    return Response(html, media_type="text/html", headers=headers)
