"""What each kind of model learns from real data in minutes, beside a simple rival at the same places.

    python benchmarks/families.py [--only protein,masked,spans,experts,middle] [--seeds 3] [--data FOLDER] [--steps N]

Trains by the recipes of this repository, in a folder that `--work` names; what is there already isn't trained again.

protein  recipes/protein.yaml on 20,000 UniProt sequences, DATA/protein_mmseqs2/DB.fasta.gz, split by cluster of related
         sequences (bedplate.data.clusters: single linkage of those that share a tenth of their 6-letter words)
masked   recipes/encoder.yaml, a BERT on Python's standard library
spans    recipes/encoder-decoder.yaml, a T5 on the same
experts  recipes/mixture-of-experts.yaml, 8 experts of which a token takes 2, against a dense model of the same active
         size at as many steps
middle   recipes/fill-in-the-middle.yaml with and without its objective: ordinary text, and one hidden line in functions
         of held-out files

Perplexities of `masked` and `protein` are over the places that show the mask token. A tenth of the chosen places show
the true token instead and a tenth a random one (BERT's 80/10/10): over all chosen places the perplexity is far lower
with nothing learnt of the language, so that figure stands in the JSON alone, beside a unigram that knows the trick. A
unigram has the frequencies of the training tokens, and is scored at the very same places. Each figure is the median
over seeds, with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bedplate
from bedplate.data.clusters import sequence_clusters
from bedplate.data.fasta import fasta_sequences
from bedplate.machine.probe import processor

sys.path.insert(0, str(Path(__file__).parent))
from families_scores import Figures, infilling, masked, spans

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("BEDPLATE_DATA", ROOT.parent / "shared" / "data"))
PROTEINS = Path("protein_mmseqs2") / "DB.fasta.gz"
VALIDATION_TOKENS = 200_000
# Of the recipe's mixture: two experts of 256 are 512 wide.
DENSE = (
    "model.architecture={hidden_size: 192, intermediate_size: 512, num_hidden_layers: 4, num_attention_heads: 3, "
    "num_key_value_heads: 3, tie_word_embeddings: true}",
    "model.objective={name: next-token}",
)
PLAIN = ("model.objective={name: next-token}",)


class SkippedError(Exception):
    """Why a case can't be measured here."""


@dataclass
class Bench:
    """A folder to work in, and what all cases are told."""

    work: Path
    data: Path
    steps: int | None
    threads: int | None
    facts: dict[str, Any] = field(default_factory=dict)

    def prepared(self, recipe: str, *overrides: str) -> Path:
        """Raw documents to tokens; returns the tokens."""
        for verb in ("curate", "train-tokenizer", "tokenize"):
            self._bedplate(verb, recipe, *overrides)
        return self.work / "runs" / recipe / "tokens"

    def trained(self, recipe: str, name: str, seed: int, *overrides: str) -> bedplate.Artefact:
        """One run of the recipe's model, or the one that is there."""
        steps: tuple[str, ...] = ()
        if self.steps is not None:
            steps = (f"model.steps={self.steps}", f"model.schedule.warmup={self.steps // 15}")
        threads = () if self.threads is None else (f"model.threads={self.threads}",)
        out = self.work / "runs" / recipe / f"{name}-{seed}"
        told = (f"model.seed={seed}", f"model.out={out}", f"model.validation_tokens={VALIDATION_TOKENS}")
        last = ("model.validate_every=1000000",)  # the time is for training
        self._bedplate("pretrain", recipe, *overrides, *told, *steps, *threads, *last)
        return bedplate.open_artefact(out)

    def _bedplate(self, verb: str, recipe: str, *overrides: str) -> None:
        command = [sys.executable, "-m", "bedplate", verb, str(ROOT / "recipes" / f"{recipe}.yaml"), *overrides]
        subprocess.run(command, cwd=self.work, check=True, stdout=sys.stderr)


Case = Callable[[Bench, int], Figures]


def protein(bench: Bench, seed: int) -> Figures:
    source = bench.data / PROTEINS
    if not source.is_file():
        raise SkippedError(f"{source} isn't there; --data names the folder that has {PROTEINS.parent}")
    made = bench.work / "proteins.jsonl"
    if not made.exists():
        sequences = list(dict.fromkeys(s.letters for s in fasta_sequences(source, 1 << 22) if s.letters))
        clusters = sequence_clusters(sequences)
        lines = (json.dumps({"text": s, "cluster": int(c)}) + "\n" for s, c in zip(sequences, clusters, strict=True))
        made.with_suffix(".part").write_text("".join(lines))
        made.with_suffix(".part").rename(made)
    clusters = np.array([json.loads(line)["cluster"] for line in made.open()])
    sizes = np.bincount(clusters)
    bench.facts["protein"] = {
        "sequences": len(clusters), "clusters": len(sizes), "alone": int((sizes == 1).sum()),
        "largest": int(sizes.max()),
    }  # fmt: skip
    given = "corpus.sources=[{jsonl: proteins.jsonl, group_field: cluster, license: CC-BY-4.0}]"
    tokens = bench.prepared("protein", given)
    run = bench.trained("protein", "model", seed, given)
    return {"": masked(run, tokens, None) | pace(run)}


def encoder(bench: Bench, seed: int) -> Figures:
    tokens = bench.prepared("encoder")
    run = bench.trained("encoder", "model", seed)
    return {"": masked(run, tokens, VALIDATION_TOKENS) | pace(run)}


def encoder_decoder(bench: Bench, seed: int) -> Figures:
    tokens = bench.prepared("encoder-decoder")
    run = bench.trained("encoder-decoder", "model", seed)
    return {"": spans(run, tokens, VALIDATION_TOKENS) | pace(run)}


def experts(bench: Bench, seed: int) -> Figures:
    bench.prepared("mixture-of-experts")
    runs = {
        "experts": bench.trained("mixture-of-experts", "model", seed),
        "dense": bench.trained("mixture-of-experts", "dense", seed, *DENSE),
    }
    figures = {name: {"bits/byte": bits(run)} | pace(run) for name, run in runs.items()}
    return figures | {"difference": {"bits/byte": figures["experts"]["bits/byte"] - figures["dense"]["bits/byte"]}}


def middle(bench: Bench, seed: int) -> Figures:
    tokens = bench.prepared("fill-in-the-middle")
    runs = {
        "fill-in-the-middle": bench.trained("fill-in-the-middle", "model", seed),
        "plain": bench.trained("fill-in-the-middle", "plain", seed, *PLAIN),
    }
    corpus = tokens.with_name("corpus")
    figures = {n: {"bits/byte of text": bits(r)} | infilling(r, corpus) | pace(r) for n, r in runs.items()}
    return figures


CASES: dict[str, Case] = {
    "protein": protein, "masked": encoder, "spans": encoder_decoder, "experts": experts, "middle": middle,
}  # fmt: skip


def bits(run: bedplate.Artefact) -> float:
    """Of ordinary text of held-out documents, left to right."""
    return float(run.measures["validation"]["bits_per_byte"])


def pace(run: bedplate.Artefact) -> dict[str, float]:
    measures, resources = run.measures, run.manifest.resources
    return {
        "minutes": resources["wall_s"].value / 60,
        "processor minutes": resources["cpu_s"].value / 60,
        "steps": measures["steps"],
        "million parameters": measures["parameters"] / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"cases with commas between them, of {', '.join(CASES)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of real data")
    parser.add_argument("--steps", type=int, help="of every run; the recipes' own by default")
    parser.add_argument("--threads", type=int, help="of every run; chosen by default")
    parser.add_argument("--work", type=Path, help="where to train; a temporary folder by default")
    parser.add_argument("--json", type=Path, help="where the figures of every run go as well")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(CASES)
    if unknown := sorted(set(chosen) - set(CASES)):
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    with tempfile.TemporaryDirectory(prefix="bedplate-families-") as temporary:
        work = (options.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(work, options.data.resolve(), options.steps, options.threads)
        found: dict[str, Any] = {
            "machine": processor().name, "cores": os.cpu_count(), "torch": torch.__version__, "cases": {}, "facts": {},
        }  # fmt: skip
        for name in chosen:
            runs: list[Figures] = []
            for seed in range(options.seeds):
                try:
                    runs.append(CASES[name](bench, seed))
                except SkippedError as reason:
                    print(f"{name}: skipped: {reason}", file=sys.stderr)
                    found["cases"][name] = {"skipped": str(reason)}
                    break
                found["cases"][name] = {"seeds": list(range(seed + 1)), "runs": runs, "over seeds": summary(runs)}
                found["facts"] = bench.facts
                if options.json:
                    options.json.write_text(json.dumps(found, indent=2) + "\n")
        table(found)
        print(json.dumps(found))


def summary(runs: list[Figures]) -> dict[str, dict[str, dict[str, float]]]:
    """Median, least and most of each figure over the seeds."""
    return {
        variant: {
            what: {"median": statistics.median(v), "least": min(v), "most": max(v)}
            for what in figures
            for v in [[run[variant][what] for run in runs]]
        }
        for variant, figures in runs[0].items()
    }


def table(found: dict[str, Any]) -> None:
    print(f"{found['machine']}, {found['cores']} cores, torch {found['torch']}")
    for name, case in found["cases"].items():
        if "skipped" in case:
            print(f"\n{name}: skipped: {case['skipped']}")
            continue
        facts = ", ".join(f"{what} {value:,}" for what, value in found["facts"].get(name, {}).items())
        print(f"\n{name}, {len(case['seeds'])} seeds{': ' if facts else ''}{facts}")
        for variant, figures in case["over seeds"].items():
            for what, over in figures.items():
                spread = f"{over['least']:10.3f} to {over['most']:.3f}" if over["least"] != over["most"] else ""
                print(f"  {variant:<20}{what:<44}{over['median']:10.3f}{spread}")


if __name__ == "__main__":
    main()
