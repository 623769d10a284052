"""The public API as text: python3 api.py compares it with api.txt, and python3 api.py --update-api writes that."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import im_sdk
import im_sdk.backend

DUMP = Path(__file__).parent / "api.txt"


def describe(module: ModuleType) -> Iterator[str]:
    """The public names of a module, each with what can be done with it."""
    yield f"module {module.__name__}"
    for name in sorted(module.__all__):
        value = getattr(module, name)
        if inspect.isclass(value):
            yield from describe_class(name, value)
        elif inspect.isfunction(value):
            yield f"def {name}{signature(value)}"
        else:
            yield f"{name} = {text(value)}"


def describe_class(name: str, value: type) -> Iterator[str]:
    """A class, with its public members that are its own or of a private base."""
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object and not base.__name__.startswith("_"))
    yield f"class {name}({bases})" if bases else f"class {name}"
    if issubclass(value, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in value)
        return
    members: dict[str, Any] = {}
    for base in reversed(value.__mro__[:-1]):
        if base is value or base.__name__.startswith("_"):
            members.update(vars(base))
    if not dataclasses.is_dataclass(value) and "__init__" in vars(value):
        yield f"    def __init__{signature(value.__init__)}"
    for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        if not field.name.startswith("_"):
            default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
            yield f"    {field.name}: {field.type}{default}"
            members.pop(field.name, None)
    for member, found in sorted(members.items()):
        if member.startswith("_") and member not in ("__aenter__", "__aiter__"):
            continue
        if isinstance(found, property) and found.fget is not None:
            yield f"    {member}: {found.fget.__annotations__.get('return')}"
        elif isinstance(found, (classmethod, staticmethod)):
            yield f"    {type(found).__name__} {prefix(found.__func__)}def {member}{signature(found.__func__)}"
        elif inspect.isfunction(found):
            yield f"    {prefix(found)}def {member}{signature(found)}"


def prefix(function: Any) -> str:
    """What stands before a coroutine function."""
    return "async " if inspect.iscoroutinefunction(function) else ""


def signature(function: Any) -> str:
    """The arguments and the result, with their types as they are written."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))


def text(value: Any) -> str:
    """A type alias."""
    return str(value).replace("typing.", "")


def main() -> int:
    """Returns the exit code."""
    dump = "\n".join([*describe(im_sdk), "", *describe(im_sdk.backend), ""])
    generated = [line for line in dump.splitlines() if "_native" in line or "im_ffi" in line]
    if generated:
        print("types of the generated module are public:", *generated, sep="\n", file=sys.stderr)
        return 1
    if "--update-api" in sys.argv:
        DUMP.write_text(dump)
        return 0
    before = DUMP.read_text() if DUMP.exists() else ""
    if before == dump:
        return 0
    sys.stderr.writelines(difflib.unified_diff(before.splitlines(True), dump.splitlines(True), "api.txt", "the public API"))
    print("the public API has changed: if that is meant, run bindings/python/test.sh --update-api", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
