"""A Jinja environment for templates that came with a model from somewhere: they can't reach Python, nor run for ever.

Jinja's immutable sandbox keeps a template from attributes and mutations that lead out of it. It doesn't bound what a
template may cost: nested loops over `range`, `"x" * 10**10`, a list put into itself forty times and then printed.
Here every loop, macro, call, filter and operator draws on a `Budget`, which ends the rendering when its time or its
total of created characters and items is used up. Steps that can grow their operands are measured before they are
carried out, so no single one is large. All of it runs in the calling thread: no signals, no processes, any platform.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


class LimitError(Exception):
    """The template used up its budget."""


@dataclass(frozen=True)
class Limits:
    """What one rendering may take."""

    seconds: float = 10.0
    largest: int = 32 * 2**20
    """Characters of one text (the output is one), items of one list."""
    total: int = 2**30
    """Characters and items created in all."""
    template: int = 256 * 2**10
    """Characters of the template itself."""


class Budget:
    """What is left to one rendering."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._deadline = time.monotonic() + limits.seconds
        self._left = limits.total

    def tick(self) -> None:
        if time.monotonic() > self._deadline:
            raise LimitError(f"it ran for more than {self._limits.seconds:g} s")

    def spend(self, size: int) -> None:
        """Announce the creation of a text or list of this size."""
        self.tick()
        if size > self._limits.largest:
            raise LimitError(f"it builds a text or list of more than {self._limits.largest} characters or items")
        self._left -= size
        if self._left < 0:
            raise LimitError(f"it builds more than {self._limits.total} characters and items in all")

    def weigh(self, value: object) -> int:
        """About the characters of a value written out, and never fewer than its texts have; stops at the limit."""
        total, stack = 0, [value]
        while stack:
            item = stack.pop()
            total += 16  # a place in a structure, with its brackets and escapes; also bounds the time of this walk
            if isinstance(item, str):
                total += len(item)
            elif isinstance(item, int) and not isinstance(item, bool):
                total += item.bit_length() // 3
            elif isinstance(item, dict):
                stack.extend(item.keys())
                stack.extend(item.values())
            elif isinstance(item, (list, tuple, set, frozenset)):
                stack.extend(item)
            if total + len(stack) > self._limits.largest:
                raise LimitError(f"it builds a text or list of more than {self._limits.largest} characters or items")
        self.tick()
        return total


_budget: ContextVar[Budget] = ContextVar("budget of the rendering under way")
_marks: ContextVar[tuple[str, str]] = ContextVar("what opens and closes a generation block", default=("", ""))


@contextmanager
def limited(limits: Limits) -> Iterator[None]:
    """Compile and render templates inside this; each use starts a new budget."""
    token = _budget.set(Budget(limits))
    try:
        yield
    finally:
        _budget.reset(token)


@contextmanager
def marking(opening: str, closing: str) -> Iterator[None]:
    """Templates rendered inside this write the two marks around what their `{% generation %}` blocks write."""
    token = _marks.set((opening, closing))
    try:
        yield
    finally:
        _marks.reset(token)


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """The immutable sandbox, with whitespace handling and tags as Hugging Face's chat templates expect, on a budget."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols], finalize=_finalize
        )
        self.globals.pop("lipsum")
        self.globals["namespace"] = PrivateNamespace
        self.filters = {name: _bounded_filter(name, function) for name, function in self.filters.items()}

    # Called from compiled templates, through the nodes that `_generate` puts in.
    @staticmethod
    def tick() -> str:
        _budget.get().tick()
        return ""

    @staticmethod
    def generation_mark(which: int) -> str:
        return _marks.get()[which]

    def has_generation(self, source: str) -> bool:
        """Whether a template has `{% generation %}` blocks. Call inside `limited`."""
        attributes = self.parse(source).find_all(nodes.EnvironmentAttribute)
        return any(a.name == "generation_mark" for a in attributes)

    @staticmethod
    def concatenate(*parts: object) -> str:
        budget = _budget.get()
        budget.spend(sum(budget.weigh(p) for p in parts))
        return "".join(map(str, parts))

    @staticmethod
    def weighed(value: object) -> object:
        if isinstance(value, (list, tuple, dict)):
            _budget.get().weigh(value)
        return value

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_instrument(source), *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = _budget.get()
        if operator == "+":
            budget.spend(_size(left) + _size(right))
        elif operator == "%" and isinstance(left, str):
            _check_format(left, right if isinstance(right, tuple) else (right,), budget)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            budget.spend(left.bit_length() * max(right, 0) * 64)  # a power costs more than its size
        elif operator == "*":
            if isinstance(left, int) and isinstance(right, int):
                budget.spend((left.bit_length() + right.bit_length()) * 64)
            else:
                times = left if isinstance(left, int) else right if isinstance(right, int) else 1
                budget.spend(max(_size(left), _size(right)) * max(times, 0))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        _budget.get().tick()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, (str, bytes, int)):
            _check_growth(getattr(__obj, "__name__", ""), owner, (*args, *kwargs.values()))
        result = super().call(__context, __obj, *args, **kwargs)
        if not isinstance(__obj, Macro):
            _budget.get().spend(_size(result))
        return result

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        formatting = super().wrap_str_format(value)
        if formatting is None:
            return None

        def bounded(*args: Any, **kwargs: Any) -> str:
            _check_format(value.__self__, (*args, *kwargs.values()), _budget.get())
            return formatting(*args, **kwargs)

        return bounded


class PrivateNamespace(Namespace):
    """A namespace that stores no underscored names and doesn't write itself out: it may contain itself."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, rest = args[0], args[1:]
        values = dict(*rest, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


class GenerationTag(Extension):
    """`{% generation %}...{% endgeneration %}` says what the assistant writes. It is rendered as its body, between the
    marks of `marking` where there are some."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own declaration)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        opening, closing = (
            nodes.Output([_through("generation_mark", [nodes.Const(which)], line)], lineno=line) for which in (0, 1)
        )
        return [opening, nodes.Scope(body).set_lineno(line), closing]


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"the name {name!r} begins with an underscore")


def _instrument(template: nodes.Template) -> nodes.Template:
    """Put the budget's checks into a parsed template: a tick in every repeatable body, measured `~` and comparisons."""
    bodies: list[list[nodes.Node]] = [
        *(node.body for node in template.find_all(nodes.For)),
        *(node.body for node in template.find_all(nodes.Macro)),
        *(node.body for node in template.find_all(nodes.CallBlock)),
        *(node.body for node in template.find_all(nodes.Block)),
    ]
    for body in bodies:
        body.insert(0, nodes.ExprStmt(nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None)).set_lineno(1))
    for comparison in list(template.find_all(nodes.Compare)):
        comparison.expr = _through("weighed", [comparison.expr], comparison.lineno)
        for operand in comparison.ops:
            operand.expr = _through("weighed", [operand.expr], comparison.lineno)
    _replace_concatenations(template)
    template.set_environment(template.environment)  # type: ignore[arg-type]
    return template


def _replace_concatenations(node: nodes.Node) -> None:
    for name, value in node.iter_fields():
        items = value if isinstance(value, list) else [value]
        for index, item in enumerate(items):
            if not isinstance(item, nodes.Node):
                continue
            _replace_concatenations(item)
            if isinstance(item, nodes.Concat):
                call = _through("concatenate", item.nodes, item.lineno)
                if isinstance(value, list):
                    value[index] = call
                else:
                    setattr(node, name, call)


def _through(function: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    call = nodes.Call(nodes.EnvironmentAttribute(function), arguments, [], None, None)
    call.set_lineno(line, override=False)
    return call


def _finalize(value: Any) -> Any:
    """Measures whatever is about to be written out."""
    budget = _budget.get()
    budget.spend(len(value) if isinstance(value, str) else budget.weigh(value))
    return value


def _size(value: object) -> int:
    if isinstance(value, (str, bytes, list, tuple, dict, range)):
        return len(value)
    return value.bit_length() // 3 if isinstance(value, int) else 0


_CHEAP = frozenset(
    (
        *("length", "count", "first", "last", "list", "items", "default", "d", "reverse"),
        *("map", "select", "reject", "selectattr", "rejectattr"),
    )
)
"""Filters that neither write out nor compare what they are given, so it needn't be measured."""


def _bounded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    passes = getattr(function, "jinja_pass_arg", None)

    def bounded(*args: Any, **kwargs: Any) -> Any:
        budget = _budget.get()
        budget.tick()
        given = args[1:] if passes is not None else args
        if name not in _CHEAP:
            for argument in given:
                budget.weigh(argument)
        if name == "format":
            _check_format(str(given[0]), (*given[1:], *kwargs.values()), budget)
        elif given:
            _check_growth(name, given[0], (*given[1:], *kwargs.values()))
        result = function(*args, **kwargs)
        budget.spend(_size(result))
        return result

    if passes is not None:
        bounded.jinja_pass_arg = passes  # type: ignore[attr-defined]
    return bounded


def _check_growth(name: str, subject: Any, arguments: tuple[Any, ...]) -> None:
    """Refuse a method or filter whose result would be too large, before it is carried out."""
    budget = _budget.get()
    size = _size(subject)
    if name == "replace" and len(arguments) >= 2:
        text, old, new = str(subject), str(arguments[0]), str(arguments[1])
        budget.spend(size + (text.count(old) if old else len(text) + 1) * len(new))
    elif name == "join":
        if isinstance(subject, str):  # the method: separator.join(parts)
            separator, parts = subject, arguments[0] if arguments else ()
        else:  # the filter: parts | join(separator)
            separator, parts = (str(arguments[0]) if arguments else ""), subject
        count = len(parts) if hasattr(parts, "__len__") else size
        budget.spend(budget.weigh(parts) + count * len(separator))
    else:
        numbers = [_amount(a) for a in arguments]
        largest = max(numbers, default=0)
        # Indentation and tab stops multiply (once for each line); widths and counts add.
        budget.spend(size * (1 + largest) if name in ("indent", "tojson", "expandtabs") else size + largest)


def _amount(argument: object) -> int:
    if isinstance(argument, bool):
        return 0
    if isinstance(argument, int):
        return max(argument, 0)
    return len(argument) if isinstance(argument, str) else 0


def _check_format(pattern: str, arguments: tuple[Any, ...], budget: Budget) -> None:
    """Refuse huge widths, given in the pattern or as arguments, and patterns that repeat huge arguments."""
    widths = [int(number[:19]) for number in re.findall(r"\d+", pattern)]
    nested = "*" in pattern or re.search(r"\{[^}]*\{", pattern) is not None
    if nested:
        widths += [_amount(a) for a in arguments if isinstance(a, int)]
    fields = pattern.count("%") + pattern.count("{")
    widest = max((budget.weigh(a) for a in arguments), default=0) + max(widths, default=0)
    budget.spend(len(pattern) + fields * widest)
