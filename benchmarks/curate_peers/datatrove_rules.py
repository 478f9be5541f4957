"""What each of datatrove's rules says of each text: `datatrove_rules.py TEXTS OUT`, untimed.

Reads the JSON Lines files of the folder TEXTS (`text` and `url`), writes to OUT a line for each document: {url,
filters: {filter: reason or null}, rules: {reason: whether it objects, null where the rule itself failed}}. Every filter
and rule sees the text as it was read; in a pipeline C4 changes it for those behind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter, get_filter_result
from datatrove_rules_table import filters, rules


def verdict(judge: BaseFilter, text: str) -> tuple[bool, str | None]:
    """Whether it objects, and its reason."""
    kept, reason = get_filter_result(judge.filter(Document(text=text, id="")))
    return not kept, reason


def main(texts: Path, out: Path) -> None:
    whole, single = filters(), rules()
    with out.open("w") as file:
        for path in sorted(texts.glob("*.jsonl")):
            for line in path.open():
                row = json.loads(line)
                said: dict[str, dict[str, object]] = {"filters": {}, "rules": {}}
                for judge in whole:
                    said["filters"][type(judge).__name__] = verdict(judge, row["text"])[1]
                for name, judge in single.items():
                    try:
                        said["rules"][name] = verdict(judge, row["text"])[0]
                    except (ZeroDivisionError, ValueError):  # of a text with no words or no lines
                        said["rules"][name] = None
                file.write(json.dumps({"url": row["url"]} | said) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
