"""What can be said of tokens that a model shall have besides its own. No torch here."""

from __future__ import annotations

from pydantic import Field

from bedplate.config import Config


class ExtensionConfig(Config):
    """Which tokens to add, and how."""

    tokens: tuple[str, ...] = Field(min_length=1, description="The texts that shall be one token each.")
    special: bool = Field(False, description="Parsed in rendered prompts alone, and left out of decoded text.")
    whole_words: bool = Field(False, description="Not inside longer words.")
    multiple: int = Field(1, ge=1, le=1 << 16, description="The embedding's rows are rounded up to a multiple of this.")
