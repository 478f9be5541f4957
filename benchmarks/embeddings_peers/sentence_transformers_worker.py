"""sentence-transformers: `encode`, in batches of its own choice (32) and larger ones, with both kinds of attention."""

from __future__ import annotations

import embed_timing
import sentence_transformers
import torch
import transformers

VARIANTS = tuple(
    f"{dtype}-{attention}-{size}"
    for dtype in ("float32", "bfloat16")
    for attention in ("sdpa", "eager")
    for size in (16, 32, 128)
)


def main() -> None:
    options = embed_timing.arguments(VARIANTS)
    dtype, attention, size = options.variant.split("-")
    settings = {"dtype": getattr(torch, dtype), "attn_implementation": attention}
    model = sentence_transformers.SentenceTransformer(str(options.model), device="cpu", model_kwargs=settings)
    embed_timing.report(
        "sentence-transformers",
        lambda texts: model.encode(list(texts), batch_size=int(size), show_progress_bar=False),
        options,
        sentence_transformers=sentence_transformers.__version__,
        transformers=transformers.__version__,
    )


if __name__ == "__main__":
    main()
