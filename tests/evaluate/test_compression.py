"""Compressed sizes are those of the real programs, header and all."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from bedplate.evaluate.compression import compress

TEXTS = ["def f(x):\n    return x + 1\n" * 40, "", "import os\nprint('é', os.getcwd())\n" * 3]


@pytest.mark.parametrize(("index", "program"), [(0, ["gzip", "-9nc"]), (1, ["xz", "-9c"])])
def test_sizes_are_those_of_the_programs(index, program, tmp_path):
    if shutil.which(program[0]) is None:
        pytest.skip(f"no {program[0]} program here")
    result = compress(TEXTS)[index]
    sizes = [
        8 * len(subprocess.run(program, input=data, capture_output=True, check=True).stdout)
        for data in (text.encode() for text in [*TEXTS, "".join(TEXTS)])
    ]
    # The xz program checks with CRC64 and the library too; only gzip's header may differ, by no byte.
    assert [*result.bits, result.concatenated_bits] == sizes
