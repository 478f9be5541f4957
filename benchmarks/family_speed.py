"""Every family against its `transformers` twin: forward pass and training step, interleaved in one process.

    python benchmarks/family_speed.py                         all families, fp32, about five minutes on two cores
    python benchmarks/family_speed.py --families gpt2 llama --dtype bfloat16 --rounds 9
    python benchmarks/family_speed.py --threads 1 --clock processor       on a machine that others use too

A twin is a random model of transformers of about 6M parameters; ours has the very same weights, read from the folder
that it saves. A forward pass gives all logits, without gradients; a training step is forward, cross-entropy, backward
and AdamW on fp32 parameters, with activations in --dtype (transformers by autocast, as it is trained in bf16).
transformers is timed with SDPA and with explicit attention and shown at its faster. Everybody has a turn in each of
--rounds; shown are the median and, of the ratios theirs / ours of each round, the median and the extremes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.utils import logging

from bedplate.families.opening import load_any
from bedplate.machine.load import foreign_cpu_share
from bedplate.machine.probe import processor
from bedplate.nn.cross_entropy import chunked_cross_entropy

VOCABULARY, ROWS, LENGTH = 8192, 8, 256
_LLAMA = {
    "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCABULARY, "max_position_embeddings": LENGTH, "tie_word_embeddings": True,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_BERT = {
    "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 4,
    "vocab_size": VOCABULARY, "max_position_embeddings": LENGTH + 2, "pad_token_id": 0,
}  # fmt: skip
_EXPERTS = {"num_experts": 8, "num_local_experts": 8, "num_experts_per_tok": 2}
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2Config",
        "GPT2LMHeadModel",
        {"n_embd": 256, "n_layer": 6, "n_head": 4, "vocab_size": VOCABULARY, "n_positions": LENGTH}
        | {"bos_token_id": 1, "eos_token_id": 2},
    ),
    "llama": ("LlamaConfig", "LlamaForCausalLM", _LLAMA),
    "mistral": ("MistralConfig", "MistralForCausalLM", _LLAMA | {"sliding_window": 64, "head_dim": 64}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", _LLAMA),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", _LLAMA | {"head_dim": 64}),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", _LLAMA | {"head_dim": 64, "sliding_window": 64}),
    "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", _LLAMA | {"head_dim": 64, "sliding_window": 64}),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", _LLAMA),
    "olmo2": ("Olmo2Config", "Olmo2ForCausalLM", _LLAMA),
    "granite": ("GraniteConfig", "GraniteForCausalLM", _LLAMA),
    "starcoder2": ("Starcoder2Config", "Starcoder2ForCausalLM", _LLAMA | {"sliding_window": 64}),
    "gpt-neox": (
        "GPTNeoXConfig",
        "GPTNeoXForCausalLM",
        {k: v for k, v in _LLAMA.items() if k != "num_key_value_heads"} | {"intermediate_size": 1024},
    ),
    "mixtral": (
        "MixtralConfig",
        "MixtralForCausalLM",
        _LLAMA | {"intermediate_size": 352, "num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "qwen3-moe": (
        "Qwen3MoeConfig",
        "Qwen3MoeForCausalLM",
        _LLAMA | {"head_dim": 64, "moe_intermediate_size": 352, "num_experts": 8, "num_experts_per_tok": 2},
    ),
    "deepseek-v3": (
        "DeepseekV3Config",
        "DeepseekV3ForCausalLM",
        _LLAMA
        | {
            "num_key_value_heads": 4, "q_lora_rank": 96, "kv_lora_rank": 64, "qk_nope_head_dim": 32,
            "qk_rope_head_dim": 32, "v_head_dim": 64, "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2,
            "topk_group": 1, "moe_intermediate_size": 352, "first_k_dense_replace": 1, "n_shared_experts": 1,
        },
    ),
    "bert": ("BertConfig", "BertForMaskedLM", _BERT),
    "roberta": ("RobertaConfig", "RobertaForMaskedLM", _BERT | {"pad_token_id": 1, "type_vocab_size": 1}),
    "modernbert": (
        "ModernBertConfig",
        "ModernBertForMaskedLM",
        _BERT | {"intermediate_size": 704, "global_attn_every_n_layers": 3, "local_attention": 64}
        | {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "albert": (
        "AlbertConfig", "AlbertForMaskedLM", _BERT | {"embedding_size": 64, "bos_token_id": 1, "eos_token_id": 2}
    ),
    "esm": ("EsmConfig", "EsmForMaskedLM", _BERT | {"vocab_size": 33, "position_embedding_type": "rotary"}
            | {"mask_token_id": 32, "token_dropout": True}),
    "bart": (
        "BartConfig",
        "BartForConditionalGeneration",
        {"d_model": 256, "encoder_layers": 4, "decoder_layers": 4, "vocab_size": VOCABULARY}
        | {"encoder_attention_heads": 4}
        | {"decoder_attention_heads": 4, "encoder_ffn_dim": 1024, "decoder_ffn_dim": 1024}
        | {"max_position_embeddings": LENGTH, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        | {"decoder_start_token_id": 0, "forced_eos_token_id": None},
    ),
    "t5": (
        "T5Config",
        "T5ForConditionalGeneration",
        {"d_model": 256, "d_kv": 64, "d_ff": 1024, "num_layers": 4, "num_heads": 4, "vocab_size": VOCABULARY}
        | {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """The same weights here and there."""

    kind: str
    ours: nn.Module
    theirs: nn.Module
    vocabulary: int


def pair(name: str, attention: str, folder: Path) -> Pair:
    config_class, model_class, keys = FAMILIES[name]
    config = getattr(transformers, config_class)(**keys)
    config._attn_implementation = attention
    torch.manual_seed(0)
    theirs = getattr(transformers, model_class)(config)
    for module in theirs.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for key in ("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "dropout_rate"):
        for module in theirs.modules():
            if isinstance(getattr(module, key, None), float):
                setattr(module, key, 0.0)
    theirs.save_pretrained(folder)
    ours = load_any(folder, dtype="float32", device="cpu").net
    kind = "seq2seq" if model_class.endswith("ConditionalGeneration") else "causal"
    kind = "masked" if model_class.endswith("MaskedLM") else kind
    return Pair(kind, ours, theirs, keys["vocab_size"])


def our_logits(p: Pair, tokens: Tensor) -> Tensor:
    hidden = p.ours(tokens, tokens) if p.kind == "seq2seq" else p.ours(tokens)
    logits: Tensor = p.ours.readout.logits(p.ours.head_states(hidden))
    return logits


def our_loss(p: Pair, tokens: Tensor, targets: Tensor, keep: Tensor) -> Tensor:
    hidden = p.ours(tokens, tokens) if p.kind == "seq2seq" else p.ours(tokens)
    if p.kind == "masked":
        hidden, targets = p.ours.head_states(hidden[keep]), targets[keep]
        keep = torch.ones_like(targets, dtype=torch.bool)
    return chunked_cross_entropy(hidden, p.ours.readout, targets, keep) / keep.sum()


def their_logits(p: Pair, tokens: Tensor) -> Tensor:
    extra = {"decoder_input_ids": tokens} if p.kind == "seq2seq" else {}
    logits: Tensor = (
        p.theirs(input_ids=tokens, use_cache=False, **extra).logits
        if p.kind != "masked"
        else p.theirs(input_ids=tokens).logits
    )
    return logits


def their_loss(p: Pair, tokens: Tensor, targets: Tensor, keep: Tensor) -> Tensor:
    extra = {"decoder_input_ids": tokens} if p.kind == "seq2seq" else {}
    if p.kind != "masked":
        extra["use_cache"] = False
    loss: Tensor = p.theirs(input_ids=tokens, labels=targets.masked_fill(~keep, -100), **extra).loss
    return loss


WHAT = ("forward", "step")
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


class Contest:
    """One family, ours and theirs, on the same tokens. what: "forward" or "step"."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        # transformers has no soft-capping in SDPA.
        kinds = ("eager",) if name == "gemma2" else ("sdpa", "eager")
        with tempfile.TemporaryDirectory() as folder:
            self.variants = {attention: pair(name, attention, Path(folder)) for attention in kinds}
        self.first = next(iter(self.variants.values()))
        self.dtype = dtype
        self.first.ours.compute_dtype = None if dtype == torch.float32 else dtype  # type: ignore[assignment]
        generator = torch.Generator().manual_seed(0)
        self.tokens, self.targets = (
            torch.randint(3, self.first.vocabulary - 1, (ROWS, LENGTH), generator=generator) for _ in range(2)
        )
        self.keep = torch.ones_like(self.tokens, dtype=torch.bool)
        if self.first.kind == "masked":
            self.keep = torch.rand(ROWS, LENGTH, generator=generator) < 0.15
        nets = [self.first.ours, *(p.theirs for p in self.variants.values())]
        self.optimisers = {id(net): torch.optim.AdamW(net.parameters(), fused=True) for net in nets}

    def ours(self, what: str) -> None:
        p = self.first
        if what == "step":
            self._step(p.ours, lambda: our_loss(p, self.tokens, self.targets, self.keep))
        else:
            self._forward(p.ours, lambda: our_logits(p, self.tokens))

    def theirs(self, what: str, attention: str) -> None:
        p, wide = self.variants[attention], self.dtype == torch.float32
        with contextlib.nullcontext() if wide else torch.autocast("cpu", self.dtype):
            if what == "step":
                self._step(p.theirs, lambda: their_loss(p, self.tokens, self.targets, self.keep))
            else:
                self._forward(p.theirs, lambda: their_logits(p, self.tokens))

    def _step(self, net: nn.Module, loss: Callable[[], Tensor]) -> None:
        net.train()
        loss().backward()  # type: ignore[no-untyped-call]
        self.optimisers[id(net)].step()
        self.optimisers[id(net)].zero_grad(set_to_none=True)

    def _forward(self, net: nn.Module, logits: Callable[[], Tensor]) -> None:
        net.eval()
        with torch.no_grad():
            logits()

    def rounds(self, what: str, count: int, clock: Callable[[], float]) -> dict[str, Any]:
        """Seconds and ratios, everybody's turn in each round, in an order that alternates."""
        turns: dict[str, Callable[[], None]] = {"ours": partial(self.ours, what)}
        turns |= {attention: partial(self.theirs, what, attention) for attention in self.variants}
        for turn in turns.values():
            turn()  # to warm up
        seconds: dict[str, list[float]] = {name: [] for name in turns}
        for number in range(count):
            for name in list(turns)[:: 1 if number % 2 else -1]:
                seconds[name].append(timed(turns[name], clock))
        best = min(self.variants, key=lambda attention: statistics.median(seconds[attention]))
        ratios = [t / o for t, o in zip(seconds[best], seconds["ours"], strict=True)]
        return {
            "ours_s": statistics.median(seconds["ours"]),
            "theirs_s": statistics.median(seconds[best]),
            "attention": best,
            "ratio": statistics.median(ratios),
            "least": min(ratios),
            "greatest": max(ratios),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, help="as many as torch takes where absent")
    parser.add_argument(
        "--clock", default="wall", choices=list(CLOCKS), help="processor: for a machine that isn't quiet"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    share = foreign_cpu_share(1.0)
    print(f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, transformers "
          f"{transformers.__version__}; {ROWS} x {LENGTH} tokens, {arguments.dtype}; foreign load {share}")  # fmt: skip
    print(f"{'family':12} {'forward, ours':>14} {'theirs/ours':>22} {'step, ours':>12} {'theirs/ours':>22}")
    results, failed = {}, []
    for name in arguments.families:
        try:
            contest = Contest(name, getattr(torch, arguments.dtype))
            found = {what: contest.rounds(what, arguments.rounds, CLOCKS[arguments.clock]) for what in WHAT}
        except Exception as error:
            # The others are still worth measuring; the exit status tells of this one.
            print(f"{name:12} failed: {type(error).__name__}: {error}", file=sys.stderr)
            failed.append(name)
            continue
        results[name] = found
        cells = []
        for what in WHAT:
            f = found[what]
            spread = f"({f['least']:.2f} to {f['greatest']:.2f})"
            cells.append(f"{f['ours_s'] * 1e3:9.1f} ms   {f['ratio']:5.2f} {spread:16} {f['attention']:5}")
        print(f"{name:12} {'   '.join(cells)}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"dtype": arguments.dtype, "families": results}, indent=2) + "\n")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
