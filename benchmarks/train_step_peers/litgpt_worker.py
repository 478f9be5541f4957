"""LitGPT: its GPT with Llama's parts, trained as its `pretrain` does (bf16-mixed, its chunked loss, tied embeddings).

The variants with "whole" take its loss without chunks. AdamW is fused in all of them, though
LitGPT itself asks for that on CUDA alone.
"""

from __future__ import annotations

from importlib.metadata import version

import torch
from litgpt import GPT, Config
from litgpt.utils import chunked_cross_entropy
from step_timing import SHAPE, UPDATE, arguments, prepare, report

VARIANTS = ("chunked", "whole", "chunked-compiled", "whole-compiled")


def main() -> None:
    options = arguments(VARIANTS)
    prepare(options)
    loss_kind, _, compiled = options.variant.partition("-")
    chunk = 0 if loss_kind == "whole" else 128
    model = GPT(
        Config(
            block_size=SHAPE.length,
            vocab_size=SHAPE.vocabulary,
            padded_vocab_size=SHAPE.vocabulary,
            n_layer=SHAPE.layers,
            n_embd=SHAPE.hidden_size,
            n_head=SHAPE.heads,
            n_query_groups=SHAPE.kv_heads,
            intermediate_size=SHAPE.feed_forward,
            rotary_percentage=1.0,
            rope_base=int(SHAPE.rope_theta),
            parallel_residual=False,
            bias=False,
            lm_head_bias=False,
            norm_class_name="RMSNorm",
            norm_eps=SHAPE.norm_eps,
            mlp_class_name="LLaMAMLP",
        )
    )
    model.apply(model._init_weights)
    model.transformer.wte.weight = model.lm_head.weight
    parameters = sum(parameter.numel() for parameter in model.parameters())
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=UPDATE.lr,
        betas=UPDATE.betas,
        eps=UPDATE.eps,
        weight_decay=UPDATE.weight_decay,
        fused=True,
    )
    forward = torch.compile(model) if compiled else model

    def step(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = chunked_cross_entropy(forward(tokens), targets, chunk_size=chunk)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), UPDATE.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    report("litgpt", step, parameters, options, litgpt=version("litgpt"))


if __name__ == "__main__":
    main()
