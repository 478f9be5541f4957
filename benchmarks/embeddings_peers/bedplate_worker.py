"""Ours: `EncoderModel.embed_counted` as it comes."""

from __future__ import annotations

import embed_timing

from bedplate import __version__
from bedplate.families.encoder_model import EncoderModel

VARIANTS = ("float32", "bfloat16")


def main() -> None:
    options = embed_timing.arguments(VARIANTS)
    model = EncoderModel.load(options.model, dtype=options.variant, device="cpu")
    embed_timing.report("bedplate", lambda texts: model.embed_counted(texts).vectors, options, bedplate=__version__)


if __name__ == "__main__":
    main()
