"""Training, validation and test: split by hash, by a column or by files, and proven to share nothing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bedplate.errors import InputError, RecipeError
from bedplate.tasks.examples import Example
from bedplate.tasks.near_copies import canonical, groups, plain
from bedplate.tasks.task_rows import Row

Splits = dict[str, list[Example]]
"""train, validation, test."""

NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
FEWEST = 2
"""Training examples of each class: with fewer there is nothing to learn it from."""

SHOWN = 5


def by_hash(examples: Sequence[Example], validation: float, test: float) -> Splits:
    """Each example goes where a hash of its text sends it, whatever other rows there are; copies and near copies of a
    text go where the first of them goes."""
    splits: Splits = {"train": [], "validation": [], "test": []}
    first = groups([example.input for example in examples])
    for example, origin in zip(examples, first, strict=True):
        place = hash_share(examples[origin].input)
        name = "test" if place < test else "validation" if place < test + validation else "train"
        splits[name].append(example)
    return splits


def hash_share(text: str, salt: str = "split") -> float:
    """A number in [0, 1) that depends on the words of the text alone."""
    digest = hashlib.sha256(f"{salt}\0{canonical(text)}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def by_column(examples: Sequence[Example], rows: Sequence[Row], column: str, path: Path) -> Splits:
    """Where the column says. Raises InputError naming the line for another word than train, validation, test."""
    splits: Splits = {"train": [], "validation": [], "test": []}
    for example, row in zip(examples, rows, strict=True):
        if column not in row.fields:
            raise InputError(
                f'{path} line {row.line}: no field "{column}" (fields: {", ".join(map(str, list(row.fields)[:20]))})',
                "Set task.split to the field that says train, validation or test, or leave it out.",
            )
        word = str(row.fields[column]).strip().casefold()
        if word not in NAMES:
            raise InputError(
                f'{path} line {row.line}: the field "{column}" says {row.fields[column]!r}',
                "It must say train, validation or test.",
            )
        splits[NAMES[word]].append(example)
    return splits


def check_apart(splits: Splits, place: Callable[[Example], str]) -> None:
    """Raise InputError, naming rows, where a test example stands in training or validation, or a validation example in
    training: the same, the same but for case, spacing and punctuation, or long and nearly the same."""
    order = [(name, example) for name in ("train", "validation", "test") for example in splits[name]]
    origin = groups([example.input for _, example in order])
    members: dict[int, list[int]] = {}
    for index, root in enumerate(origin):
        members.setdefault(root, []).append(index)
    shared: list[tuple[str, Example, str, Example]] = []
    for group in members.values():
        for index in group:
            name, example = order[index]
            earlier = next((i for i in group if _RANK[order[i][0]] < _RANK[name]), None)
            if earlier is not None:
                shared.append((name, example, *order[earlier]))
    if not shared:
        return
    worst = max((name for name, *_ in shared), key=_RANK.__getitem__)
    shared = sorted((found for found in shared if found[0] == worst), key=lambda found: found[1].row)
    lines = "".join(
        f"\n  {place(example)} is in {other}: {place(copy)}{_how(example, copy)}"
        for _, example, other, copy in shared[:SHOWN]
    )
    more = f"\n  and {len(shared) - SHOWN:,} more" if len(shared) > SHOWN else ""
    raise InputError(
        f"{_many(len(shared), 'example')} of the {worst} split found in another split, so the score would measure "
        f"memory:{lines}{more}",
        "Take them out of one of the two. (Without a split column or a test file the split is made so that none is "
        "shared.)",
    )


_RANK = {"train": 0, "validation": 1, "test": 2}


def _how(one: Example, other: Example) -> str:
    if plain(one.input) == plain(other.input):
        return ""
    return " (but for punctuation)" if canonical(one.input) == canonical(other.input) else " (nearly)"


def check_classes(splits: Splits, place: Callable[[Example], str], *, split_is_ours: bool) -> None:
    """Raise InputError for one class only, two labels of one text, labels that differ in case only, a class that
    training lacks, and classes with too few training examples."""
    every = [example for name in ("train", "validation", "test") for example in splits[name]]
    labels: dict[str, Example] = {}
    spelt: dict[str, Example] = {}
    texts: dict[str, Example] = {}
    for example in every:
        labels.setdefault(example.target, example)
        like = spelt.setdefault(plain(example.target), example)
        if like.target != example.target:
            raise InputError(
                f"two spellings of one label: {like.target!r} ({place(like)}) and {example.target!r} "
                f"({place(example)})",
                "Write a label the same way everywhere.",
            )
        same = texts.setdefault(plain(example.input), example)
        if same.target != example.target:
            raise InputError(
                f"one text with two labels: {same.target!r} ({place(same)}) and {example.target!r} ({place(example)}): "
                f"{_short(example.input)!r}",
                "Decide for one, or take both rows out.",
            )
    if len(labels) < 2:
        raise InputError(
            f"all {len(every):,} examples are of one class, {every[0].target!r}: there is nothing to tell apart",
            "Give examples of at least two classes.",
        )
    counts = Counter(example.target for example in splits["train"])
    for name in ("test", "validation"):
        unseen = [example for example in splits[name] if example.target not in counts]
        if unseen:
            _refuse_unseen(name, unseen, place, split_is_ours=split_is_ours)
    few = {label: count for label, count in counts.items() if count < FEWEST}
    if few:
        listed = ", ".join(f"{label!r} ({count})" for label, count in sorted(few.items())[:SHOWN])
        more = f" and {len(few) - SHOWN} more" if len(few) > SHOWN else ""
        raise InputError(
            f"{_many(len(few), 'class', 'classes')} with fewer than {FEWEST} training examples: {listed}{more}",
            "Give more examples of them, take their rows out, or lower task.validation and task.test.",
        )


def check_sizes(splits: Splits, path: Path) -> None:
    """Raise InputError for a split without examples."""
    for name in ("train", "validation", "test"):
        if not splits[name]:
            told = ", ".join(f"{key} {len(value):,}" for key, value in splits.items())
            raise InputError(
                f"{path}: no examples for the {name} split ({told})",
                "Give more examples, or other shares: task.validation, task.test.",
            )


def check_shares(validation: float, test: float) -> None:
    """Raise RecipeError unless the shares leave something to train on."""
    if validation + test >= 1:
        raise RecipeError(
            f"task.validation {validation:g} and task.test {test:g} leave nothing for training",
            "Choose shares that add up to less than 1.",
        )


def _refuse_unseen(
    name: str, unseen: Sequence[Example], place: Callable[[Example], str], *, split_is_ours: bool
) -> None:
    label = unseen[0].target
    rows = [place(example) for example in unseen if example.target == label]
    others = len({example.target for example in unseen}) - 1
    also = f", and {_many(others, 'label')} more" if others else ""
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    fix = "Give training examples of it, or take those rows out."
    if split_is_ours:
        fix = "Give more examples of it: the hash of their texts sent all to one side; or say the split in a column."
    raise InputError(
        f"the label {label!r} of the {name} split is unseen in training ({', '.join(rows[:SHOWN])}{more}){also}", fix
    )


def _many(count: int, noun: str, plural: str | None = None) -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
