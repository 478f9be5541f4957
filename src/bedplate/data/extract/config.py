"""`ExtractConfig`: how pages become text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bedplate.config import Config


class ExtractConfig(Config):
    """The `extract` section of a curation recipe."""

    extractor: Literal["resiliparse", "trafilatura"] = Field(
        "resiliparse",
        description="What finds a page's main text: resiliparse is several times as fast, trafilatura leaves less "
        "boilerplate in.",
    )
    format: Literal["markdown", "text"] = Field(
        "markdown", description="Whether headings, lists, code blocks and tables are kept as Markdown, or as bare text."
    )
    comments: bool = Field(False, description="Whether readers' comments below an article are a part of it.")
    tables: bool = Field(True, description="Whether tables are kept; only trafilatura can leave them out.")
    links: bool = Field(False, description="Whether links keep their addresses, as Markdown.")
    boilerplate: bool = Field(
        True,
        description="resiliparse: whether lines of links, calls to share or subscribe, notices and stubs around the "
        "main text are cleared away.",
    )
    repair: bool = Field(
        True,
        description="Whether text that was decoded wrongly (mojibake, stray control characters) is mended, in "
        "documents that aren't source code.",
    )
    largest_html: int = Field(
        8_000_000, ge=1, description="Pages of more bytes than this are dropped before they are parsed."
    )

    @model_validator(mode="after")
    def _possible(self) -> ExtractConfig:
        if self.extractor == "resiliparse" and not self.tables:
            raise ValueError("resiliparse can't leave tables out: set tables=true, or extractor=trafilatura")
        if self.extractor == "trafilatura" and not self.boilerplate:
            raise ValueError("boilerplate=false goes with resiliparse: trafilatura always clears boilerplate away")
        if self.links and self.format == "text":
            raise ValueError("links are kept as Markdown: set format=markdown, or links=false")
        return self
