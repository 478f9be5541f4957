"""MMLU from its original headerless CSV files: question, four choices, the answer's letter.

The prompt is lm-eval's: a description that names the subject, the first five rows of dev as examples, then the
question; the four letters are scored. Source: Hendrycks et al., Measuring Massive Multitask Language
Understanding, 2021 (arXiv 2009.03300).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from bedplate.errors import InputError
from bedplate.tasks.item import FEWSHOT_DELIMITER, TARGET_DELIMITER, MultipleChoice

LETTERS = ("A", "B", "C", "D")


@dataclass(frozen=True)
class Row:
    question: str
    choices: tuple[str, ...]
    answer: int


def read_mmlu(folder: Path, shots: int = 5) -> list[MultipleChoice]:
    """Every test item of every subject under `folder` (which holds dev/ and test/), subjects in alphabetical order."""
    files = sorted((folder / "test").glob("*_test.csv"))
    if not files:
        raise InputError(f"{folder / 'test'}: no *_test.csv files", "Give the folder that holds the task's data.")
    items = []
    for file in files:
        subject = file.stem.removesuffix("_test")
        examples = read_rows(folder / "dev" / f"{subject}_dev.csv")[:shots] if shots else []
        if len(examples) < shots:
            raise InputError(f"{folder / 'dev' / subject}_dev.csv: {len(examples)} rows, {shots} examples are needed")
        head = preamble(subject, examples)
        items += [
            MultipleChoice(f"{subject}:{number}", head + prompt(row), LETTERS, row.answer, group=subject)
            for number, row in enumerate(read_rows(file), start=1)
        ]
    return items


def preamble(subject: str, examples: list[Row]) -> str:
    """The description and the worked examples, up to where the question starts."""
    name = subject.replace("_", " ")
    shown = [prompt(row) + TARGET_DELIMITER + LETTERS[row.answer] + FEWSHOT_DELIMITER for row in examples]
    return f"The following are multiple choice questions (with answers) about {name}.\n\n" + "".join(shown)


def prompt(row: Row) -> str:
    lines = [row.question.strip()]
    lines += [f"{letter}. {choice}" for letter, choice in zip(LETTERS, row.choices, strict=True)]
    return "\n".join([*lines, "Answer:"])


def read_rows(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            records = list(csv.reader(file))
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV file ({error})") from error
    rows = []
    for number, record in enumerate(records, start=1):
        if len(record) != 6 or record[5] not in LETTERS:
            raise InputError(
                f"{path} record {number}: expected question, four choices and A, B, C or D; got {record!r:.120}"
            )
        rows.append(Row(record[0], tuple(record[1:5]), LETTERS.index(record[5])))
    return rows
