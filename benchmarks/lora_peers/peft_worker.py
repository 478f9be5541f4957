"""`transformers` and PEFT as their users train a LoRA: bf16 base, fp32 factors, bf16 autocast, the model's own loss.

A variant is the attention (sdpa, or transformers' explicit one), the rows computed at once (8, or 2 with accumulation,
which is exact here since every row has as many tokens), and whether the model is compiled.
"""

from __future__ import annotations

import itertools

import peft
import torch
import transformers
from lora_timing import TASK, arguments, report

ATTENTION = {"sdpa": "sdpa", "explicit": "eager"}
VARIANTS = tuple(
    f"{attention}-{rows}{compiled}"
    for attention, rows, compiled in itertools.product(ATTENTION, (8, 2), ("", "-compiled"))
)


def main() -> None:
    options = arguments(VARIANTS)
    attention, rows, *compiled = options.variant.split("-")
    at_once = int(rows)
    base = transformers.AutoModelForCausalLM.from_pretrained(
        options.base, dtype=torch.bfloat16, attn_implementation=ATTENTION[attention]
    )
    model = peft.get_peft_model(
        base,
        peft.LoraConfig(r=TASK.rank, lora_alpha=TASK.alpha, target_modules="all-linear", task_type="CAUSAL_LM"),
    ).train()
    factors = [p for p in model.parameters() if p.requires_grad]
    assert all(p.dtype == torch.float32 for p in factors)
    optimiser = torch.optim.AdamW(factors, lr=TASK.lr, betas=TASK.betas, eps=TASK.eps, weight_decay=0.0, fused=True)
    forward = torch.compile(model) if compiled else model

    def step(tokens: torch.Tensor, targets: torch.Tensor) -> float:
        total = 0.0
        for a in range(0, TASK.rows, at_once):
            part, wanted = tokens[a : a + at_once], targets[a : a + at_once]
            with torch.autocast("cpu", dtype=torch.bfloat16):
                # `shift_labels` are targets that are shifted already: every position of the row is supervised.
                loss = forward(input_ids=part, labels=wanted, shift_labels=wanted, use_cache=False).loss
            loss = loss * (at_once / TASK.rows)
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(factors, TASK.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return total

    trained = sum(p.numel() for p in factors)
    report("peft", step, trained, options, peft=peft.__version__, transformers=transformers.__version__)


if __name__ == "__main__":
    main()
