"""`transformers`: LlamaForCausalLM as its users train it (bf16 autocast, fused AdamW, the model's own loss)."""

from __future__ import annotations

import torch
import transformers
from step_timing import SHAPE, UPDATE, arguments, prepare, report

VARIANTS = ("sdpa", "eager", "sdpa-compiled", "eager-compiled")


def main() -> None:
    options = arguments(VARIANTS)
    prepare(options)
    attention, _, compiled = options.variant.partition("-")
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=SHAPE.vocabulary,
            hidden_size=SHAPE.hidden_size,
            intermediate_size=SHAPE.feed_forward,
            num_hidden_layers=SHAPE.layers,
            num_attention_heads=SHAPE.heads,
            num_key_value_heads=SHAPE.kv_heads,
            max_position_embeddings=SHAPE.length,
            rms_norm_eps=SHAPE.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": SHAPE.rope_theta},
            tie_word_embeddings=True,
            use_cache=False,
            attn_implementation=attention,
            dtype=torch.float32,
        )
    ).train()
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
            # `shift_labels` are targets that are shifted already: every position of the row is supervised.
            loss = forward(input_ids=tokens, labels=targets, shift_labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), UPDATE.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    report("transformers", step, parameters, options, transformers=transformers.__version__)


if __name__ == "__main__":
    main()
