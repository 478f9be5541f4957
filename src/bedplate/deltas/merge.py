"""`bedplate merge ADAPTER OUT`: a base and its adapter become one model, with a certificate that it answers as they do.

artefact = merge_adapter(adapter, out, base=None, dtype=None, console=console)
fold(net, delta)            # in place, in memory: linear maps hold W + s B A
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bedplate.config import Config
from bedplate.config.model import execution
from bedplate.errors import InputError
from bedplate.families.imports import Dtype
from bedplate.ledger.artefact import Artefact
from bedplate.ledger.stage import Inputs, SourceInput, Stage

if TYPE_CHECKING:
    from torch import nn

    from bedplate.console import Console
    from bedplate.deltas.lora import LoraDelta
    from bedplate.deltas.subset import SubsetDelta
    from bedplate.ledger.work import Work

_BASE, _ADAPTER = "model|run|release", "adapter"
LOSSY_SHARE = 0.1
"""Part of what an adapter changes (mean KL to its base) beyond which the loss by rounding is said."""


class MergeConfig(Config):
    """One model of a base and an adapter."""

    base: str | None = execution(None, description="a base that isn't an artefact: its folder")
    adapter: str | None = execution(None, description="an adapter that isn't an artefact: its folder")
    dtype: Dtype | None = Field(None, description="what the weights are stored in; as the base's are where absent")


MERGE = Stage(
    name="merge",
    version=1,
    kind="model",
    config=MergeConfig,
    inputs={"base": f"{_BASE}?", "adapter": f"{_ADAPTER}?"},
    run="bedplate.deltas.merge:run",
    sources="bedplate.deltas.merge:sources",
    resumes=False,
)


def merge_adapter(
    adapter: str | Path,
    out: str | Path,
    *,
    base: str | Path | None = None,
    dtype: Dtype | None = None,
    console: Console,
    replace: bool = False,
) -> Artefact:
    """Merge an adapter, ours or PEFT's, into its base: a Hugging Face folder at `out`.

    base: its folder; where the adapter's manifest says it if None. dtype: what the weights are stored in, as the base's
    if None. Raises UserError where there is no base, WeightsError where the adapter isn't this base's or the result
    doesn't answer as the two do: in float32 a greatest logit error of 1e-4 (1e-5 of the greatest logit, where that is
    more), and what rounding may cost in narrower types.
    """
    from bedplate.deltas.lineage import base_of
    from bedplate.ledger.production import produce

    inputs: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for role, kind, path in (("adapter", _ADAPTER, Path(adapter)), ("base", _BASE, Path(base or base_of(adapter)))):
        found = _artefact(path, kind)
        if found is None:
            sources[role] = str(path)
        else:
            inputs[role] = found
    config = MergeConfig.model_validate(sources | {"dtype": dtype})
    return produce(MERGE, config, inputs, Path(out), name=Path(out).name, console=console, replace=replace)


def _artefact(path: Path, kind: str) -> Artefact | None:
    from bedplate.ledger.artefact import open_artefact
    from bedplate.ledger.manifest import MANIFEST

    return open_artefact(path, kind) if (path / MANIFEST).is_file() else None


def sources(config: MergeConfig) -> list[SourceInput]:
    """The files of a base and an adapter that aren't artefacts."""
    from bedplate.families.imports import ImportConfig
    from bedplate.families.imports import sources as model_sources

    found = [] if config.base is None else model_sources(ImportConfig(source=config.base))
    return found if config.adapter is None else [*found, _adapter_source(Path(config.adapter))]


def _adapter_source(folder: Path) -> SourceInput:
    from bedplate.deltas.adapter import is_adapter
    from bedplate.ledger.digests import sha256_file

    if not is_adapter(folder):
        raise InputError(f"{folder}: no adapter in it", "Give the folder that adapt or PEFT wrote.")
    files = sorted(f for f in folder.iterdir() if f.is_file() and f.suffix in (".json", ".safetensors"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{sha256_file(file)}\n".encode())
    return SourceInput(folder, digest.hexdigest(), sum(f.stat().st_size for f in files), len(files))


def run(config: MergeConfig, inputs: Inputs, work: Work) -> None:
    """Load both in fp32, ask them, fold, store, read back, ask again, compare."""
    import warnings

    from bedplate.deltas.adapter import AdapterWarning, load_adapter
    from bedplate.deltas.merge_certificate import Before, certify_merge
    from bedplate.families.imports import Located, read_source
    from bedplate.families.model import DTYPES, model_folder

    base, base_name, known = _place("base", config.base, inputs)
    adapter, adapter_name, _ = _place("adapter", config.adapter, inputs)
    model, facts = read_source(Located(model_folder(base)))
    stored = str(config.dtype or facts["natural_dtype"])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", AdapterWarning)
        delta = load_adapter(adapter, model, base=base, trainable=True)
    notes = [*facts["notes"], *(str(w.message) for w in said if w.category is AdapterWarning), *_left_out(adapter)]
    for note in notes:
        work.console.warn(note)
    what = f"{base_name} merged with {adapter_name}"
    before = Before.of(model, delta, what)
    fold(model.net, delta)
    model.save(work.path, dtype=DTYPES[stored])
    work.console.say(f"stored as {stored}; comparing it with its base and adapter")
    parameters = model.parameter_count()
    certificate = certify_merge(before, model, work.path, stored=stored, what=what)
    if stored != "float32" and certificate.change_lost > LOSSY_SHARE * certificate.change:
        notes.append(
            f"storing as {stored} moves the answers by {certificate.change_lost:.2g} nats, and the adapter itself "
            f"moves them by {certificate.change:.2g}: dtype=float32 keeps all of it"
        )
        work.console.warn(notes[-1])
    certificate.save(work.path)
    work.volatile("certificate.json")
    work.measures |= {"parameters": parameters, "license": known or facts["license"], "notes": notes}
    work.measures |= {"delta": delta.kind, "certificate": certificate.facts()}


def fold(net: nn.Module, delta: LoraDelta | SubsetDelta) -> None:
    """Make the delta part of the net's own weights, in place; `delta` is then of no more use. Weights are computed in
    fp32 and stay so; parameters that a delta replaces stand in their places already."""
    from bedplate.deltas.lora import LoraDelta as Lora

    for path, layer in delta.layers.items() if isinstance(delta, Lora) else ():
        owner, _, leaf = path.rpartition(".")
        setattr(net.get_submodule(owner), leaf, layer.merged())


def _place(role: str, source: str | None, inputs: Inputs) -> tuple[Path, str, str | None]:
    """The folder of an input, its name, and the licence that its manifest says."""
    artefact = inputs.get(role)
    if isinstance(artefact, Artefact):
        known = artefact.measures.get("license")
        return artefact.path, artefact.name, known if isinstance(known, str) else None
    if source is None:
        raise InputError(f"merge: no {role}", f"Give the stage an input `{role}`, or an option `{role}`.")
    return Path(source), Path(source).resolve().name, None


def _left_out(adapter: Path) -> list[str]:
    from bedplate.deltas.peft_folder import WEIGHTS
    from bedplate.deltas.subset import TENSORS

    others = sorted(f.name for f in adapter.glob("*.safetensors") if f.name not in (WEIGHTS, TENSORS))
    return [f"{adapter}: {', '.join(others)} isn't part of a model's folder and is left out"] if others else []
