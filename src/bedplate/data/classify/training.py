"""Training a filter: split, choose the strength and the threshold on training examples, fit, judge on the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bedplate.config.randomness import fold_in
from bedplate.data.classify.examples import Example, Read, corpus_texts, read_examples, text_key
from bedplate.data.classify.fitting import Fit, Matrix, fit, matrix
from bedplate.data.classify.judging import choose_threshold, judge
from bedplate.data.classify.model import LinearClassifier, Settings
from bedplate.data.classify.train_filter import TrainFilterConfig
from bedplate.errors import InputError

if TYPE_CHECKING:
    from bedplate.ledger import Artefact, Work

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

VALIDATION = 0.2
"""Of the training examples: strength and threshold are chosen on it, then it is trained on."""
LEAST = 10
"""Examples of each side: fewer can't be split three ways."""


def run(config: TrainFilterConfig, inputs: dict[str, Artefact], work: Work) -> None:
    """Read, train, judge, and write `classifier.safetensors` and `classifier.json`."""
    corpus = inputs.get("corpus")
    read = read_examples(config, corpus)
    for reason, count in sorted(read.left_out.items()):
        work.console.warn(f"{count} of {read.rows} rows left out: {reason.replace('_', ' ')}")
    work.measures["examples"] = {
        "read": read.rows,
        "used": len(read.examples),
        "repeated": read.repeated,
        "left_out": dict(sorted(read.left_out.items())),
        "labels": dict(sorted(read.labels.items())),
    }
    examples = read.examples
    if config.weak is not None:
        weak, work.measures["weak"] = weak_examples(config, corpus, {example.key for example in examples})
        examples = [*examples, *weak]
    classifier, measures = train(config, examples, labels=read)
    classifier.save(work.path)
    work.measures.update(measures)


def weak_examples(
    config: TrainFilterConfig, corpus: Artefact | None, known: set[str]
) -> tuple[list[Example], dict[str, Any]]:
    """Texts that labelling functions put on a side, without those whose key is known, and what each function did."""
    from bedplate.data.classify.weak_labels import combine, labelling_functions, votes_on
    from bedplate.data.row_files import read_rows

    weak = config.weak
    assert weak is not None
    if not weak.texts and corpus is None:
        raise InputError("weak: no texts to label", "Give weak.texts, or the input corpus.")
    given = (str(row.values.get(file.text_field) or "") for file in weak.texts for row in read_rows(file.path))
    texts = given if corpus is None or weak.texts else corpus_texts(corpus)
    functions = labelling_functions(weak.functions)
    read, votes = votes_on(texts, functions, weak.most)
    joint, facts = combine(votes, functions, weak.combine, weak.least_votes)
    seen, examples = set(known), []
    for text, label in zip(read, joint, strict=True):
        key = text_key(text)
        if label is None or key in seen or not text.strip():
            continue
        if label in config.positive or config.negative is None or label in config.negative:
            seen.add(key)
            examples.append(Example(text, label in config.positive, key, weak=True))
    told = {f.name: {"spoke": f.spoke, "agreed": f.agreed, "weight": round(f.weight, 4)} for f in facts}
    return examples, {"texts": len(read), "labelled": len(examples), "functions": told}


def train(
    config: TrainFilterConfig, examples: Sequence[Example], *, labels: Read | None = None
) -> tuple[LinearClassifier, dict[str, Any]]:
    """The classifier and its measures. The same examples in any order are split alike. Weak examples are trained on and
    held out only where there are no others. Raises InputError where a side has too few examples."""
    examples = sorted(examples, key=lambda example: example.key)
    positive = np.array([example.positive for example in examples], dtype=bool)
    _check_sides(config, positive, labels)
    own = np.array([not example.weak for example in examples], dtype=bool)
    held_weak = not own.any()
    held = _drawn(examples, positive, own | held_weak, config.held_out, fold_in(config.seed, "held out"))
    left = _without(len(examples), held)
    tuned = _drawn_of(left, examples, positive, VALIDATION, fold_in(config.seed, "validation"))
    x = matrix([examples[i].text for i in left], config.features)
    place = {int(i): n for n, i in enumerate(left)}
    valid = np.array([place[int(i)] for i in tuned], dtype=np.int64)
    y = positive[left]
    strength, threshold, met, tried = _tune(config, x, y, valid)
    fitted = fit(x, y, _importance(config, y), strength)
    classifier = _classifier(config, x, fitted, threshold, labels)
    judged = judge(
        classifier.score([examples[i].text for i in held]), positive[held], threshold, fold_in(config.seed, "judge")
    )
    measures: dict[str, Any] = {
        "trained_on": {"positive": int(y.sum()), "negative": int((~y).sum()), "weak": int((~own[left]).sum())},
        "held_out": {
            "positive": int(positive[held].sum()),
            "negative": int((~positive[held]).sum()),
            "labels": "weak" if held_weak else "own",
        },
        "features": len(x.buckets),
        "strength": strength,
        "validation_loss": tried,
        "converged": fitted.converged,
        "threshold": {"value": round(threshold, 6), "aim": config.aim.model_dump(exclude_none=True), "reached": met},
        **judged,
    }
    classifier.settings = classifier.settings.model_copy(update={"measures": measures})
    return classifier, measures


def _check_sides(config: TrainFilterConfig, positive: Flags, labels: Read | None) -> None:
    found = "" if labels is None else ", ".join(f"{label} {n}" for label, n in sorted(labels.labels.items())[:20])
    seen = f" (labels found: {found})" if found else ""
    if not len(positive):
        raise InputError(f"no examples to learn from{seen}", "Check positive and negative against the labels.")
    for side, count in (("positive", int(positive.sum())), ("negative", int((~positive).sum()))):
        if count < LEAST:
            wanted = config.positive if side == "positive" else config.negative or ("any other label",)
            raise InputError(
                f"{count} {side} examples of {', '.join(wanted)}{seen}; both sides need {LEAST} different texts",
                "Label more documents, or correct positive and negative.",
            )


def _drawn(examples: Sequence[Example], positive: Flags, allowed: Flags, share: float, seed: int) -> Ids:
    """A share of each side of the allowed ones, ascending: those whose key comes first when it is mixed with the seed.
    Which they are doesn't depend on the order of the files."""
    chosen: list[int] = []
    for side in (True, False):
        members = [int(i) for i in np.flatnonzero(allowed & (positive == side))]
        members.sort(key=lambda i: fold_in(seed, examples[i].key))
        chosen += members[: max(1, round(share * len(members)))]
    return np.array(sorted(chosen), dtype=np.int64)


def _drawn_of(left: Ids, examples: Sequence[Example], positive: Flags, share: float, seed: int) -> Ids:
    allowed = np.zeros(len(examples), dtype=bool)
    allowed[left] = True
    return _drawn(examples, positive, allowed, share, seed)


def _without(count: int, taken: Ids) -> Ids:
    free = np.ones(count, dtype=bool)
    free[taken] = False
    return np.flatnonzero(free)


def _importance(config: TrainFilterConfig, positive: Flags) -> npt.NDArray[np.float64]:
    """What each example counts; the mean is 1."""
    if not config.balance:
        return np.ones(len(positive))
    sides = np.where(positive, positive.mean(), 1 - positive.mean())
    return 0.5 / sides


def _tune(config: TrainFilterConfig, x: Matrix, y: Flags, valid: Ids) -> tuple[float, float, bool, dict[str, float]]:
    """The strength with the least balanced loss on the validation part, the threshold chosen there with it, whether
    the aim is reached, and the loss of each strength."""
    rest = _without(x.count, valid)
    part, check = x.some(rest), x.some(valid)
    tried: dict[str, float] = {}
    best: tuple[float, float, npt.NDArray[np.float64]] | None = None
    for strength in config.strengths:
        logits = fit(part, y[rest], _importance(config, y[rest]), strength).logits(check)
        signs = np.where(y[valid], 1.0, -1.0)
        loss = float((_importance(config, y[valid]) * np.logaddexp(0.0, -signs * logits)).mean())
        tried[f"{strength:g}"] = round(loss, 5)
        if best is None or loss < best[0]:
            best = loss, strength, 0.5 + 0.5 * np.tanh(0.5 * logits)
    assert best is not None
    threshold, met = choose_threshold(best[2], y[valid], config.aim)
    return best[1], threshold, met, tried


def _classifier(
    config: TrainFilterConfig, x: Matrix, fitted: Fit, threshold: float, labels: Read | None
) -> LinearClassifier:
    weight = np.zeros(config.features.buckets, dtype=np.float32)
    idf = np.zeros(config.features.buckets, dtype=np.float32)  # n-grams never seen say nothing
    weight[x.buckets] = fitted.weight
    idf[x.buckets] = x.idf
    others = () if labels is None else tuple(sorted(set(labels.labels) - set(config.positive)))
    settings = Settings(
        features=config.features,
        positive=config.positive,
        negative=config.negative or others or ("other",),
        threshold=threshold,
    )
    return LinearClassifier(settings, weight, idf, float(np.float32(fitted.bias)))
