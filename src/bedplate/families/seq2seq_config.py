"""What every encoder-decoder's configuration says besides. No torch here."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from bedplate.families.family_config import MAX_LAYERS, FamilyConfig, TokenId


class Seq2SeqConfig(FamilyConfig):
    """num_hidden_layers are the encoder's."""

    num_decoder_layers: int | None = Field(
        None, gt=0, le=MAX_LAYERS, description="blocks of the decoder; as many as the encoder's if absent"
    )
    decoder_start_token_id: TokenId | None = Field(
        None, description="what every written text begins after; pad_token_id if absent"
    )

    @property
    def decoder_layers(self) -> int:
        return self.num_decoder_layers or self.num_hidden_layers

    @property
    def parts(self) -> int:
        return self.num_hidden_layers + self.decoder_layers

    @property
    def start_token(self) -> int:
        """What the decoder is given first."""
        found = self.pad_token_id if self.decoder_start_token_id is None else self.decoder_start_token_id
        assert found is not None  # checked when it was made
        return found

    @property
    def longest(self) -> int | None:
        """Most tokens that can be read and written, None where positions are relative and nothing ends them."""
        return None

    @model_validator(mode="after")
    def _starts(self) -> Self:
        if self.decoder_start_token_id is None and self.pad_token_id is None:
            raise ValueError("neither decoder_start_token_id nor pad_token_id: the decoder has nothing to begin from")
        if self.decoder_start_token_id is not None and self.decoder_start_token_id >= self.vocab_size:
            raise ValueError(
                f"decoder_start_token_id {self.decoder_start_token_id} is beyond the {self.vocab_size} rows of the "
                "embedding"
            )
        return self
