"""`RightsConfig`: which licences, owners and sites a corpus may hold documents of."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator

from bedplate.config import Config
from bedplate.data.rights.directives import PERMITS
from bedplate.data.rights.spdx import known

Signal = Literal["robots-meta", "x-robots-tag", "tdm-reservation", "content-usage", "robots.txt", "ai.txt"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)

AGENTS = (
    *("GPTBot", "CCBot", "Google-Extended", "ClaudeBot", "anthropic-ai", "Applebot-Extended", "Bytespider"),
    *("Meta-ExternalAgent", "FacebookBot", "PerplexityBot", "cohere-ai", "Amazonbot", "AI2Bot", "Diffbot", "omgili"),
)
"""Product tokens under which pages are fetched, or used, for training models."""


class RightsConfig(Config):
    """The `rights` section of a curation recipe."""

    allow: tuple[str, ...] = Field(
        (),
        description="The licences that documents may have: SPDX identifiers, patterns such as CC-BY-*, and `unknown` "
        "for documents without one; empty: any.",
    )
    deny: tuple[str, ...] = Field((), description="The licences that documents may not have, written as in `allow`.")
    opt_out: Literal["drop", "mark"] = Field(
        "drop",
        description="Whether documents whose owners opted out are dropped, or only marked in the column opt_out.",
    )
    signals: tuple[Signal, ...] = Field(
        SIGNALS,
        description="What counts as opting out: robots-meta and x-robots-tag (by `directives`), tdm-reservation, "
        "content-usage, robots.txt and ai.txt (by `agents`; from `site_files`, and from the crawl as far as it holds "
        "them before the page).",
    )
    directives: tuple[str, ...] = Field(
        ("noai", "noimageai"),
        description="The words in a page's robots <meta> or X-Robots-Tag header that opt out: any word, as noindex, "
        "which `none` says too.",
    )
    agents: tuple[str, ...] = Field(
        AGENTS, description="The agents that robots.txt has to allow a page; one that is forbidden it opts it out."
    )
    site_files: tuple[str, ...] = Field(
        (),
        description="Where sites' robots.txt, ai.txt and tdmrep.json are: folders with HOST/robots.txt and so on, WARC "
        "files that hold such records. Those of the crawl itself are known without.",
    )
    allowed_domains: tuple[str, ...] = Field(
        (), description="Only documents of these domains and what is below them, where any are given."
    )
    blocked_domains: tuple[str, ...] = Field(
        (), description="No documents of these domains and what is below them: example.org is also a.example.org."
    )
    blocked: tuple[str, ...] = Field(
        (),
        description="Files that list domains, a line each, or url=... and so on: what they match is dropped.",
    )
    opted_out: tuple[str, ...] = Field(
        (),
        description="Files that list url=, domain=, sha256=, id= or owner= whose owners opted out; .csv, .jsonl too.",
    )
    taken_down: tuple[str, ...] = Field(
        (), description="Files of the same form that list what was ordered or asked to be taken down."
    )

    @field_validator("allow", "deny")
    @classmethod
    def _known(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if strange := [pattern for pattern in patterns if not known(pattern)]:
            raise ValueError(
                f"{strange[0]!r} is no SPDX identifier, nor a pattern that fits one: write MIT, CC-BY-*, unknown, or "
                "LicenseRef-... for one of your own"
            )
        return patterns

    @field_validator("directives")
    @classmethod
    def _refusing(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if strange := [word for word in words if word.lower() in PERMITS]:
            raise ValueError(f"{strange[0]!r} permits, and opts nothing out")
        return words

    @field_validator("directives", "agents")
    @classmethod
    def _words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if strange := [word for word in words if not word.strip() or any(mark in word for mark in " ,;:/")]:
            raise ValueError(f"{strange[0]!r} isn't one word")
        return words
