"""Compares the public API of the Swift client with the one that is listed, or lists it:

    python3 api.py [--update] IMClient.symbols.json api/IMClient.txt
"""

import json
import pathlib
import sys


def declarations(graph):
    """One line for each public declaration, behind those around it."""
    names = {symbol["identifier"]["precise"]: ".".join(symbol["pathComponents"]) for symbol in graph["symbols"]}
    conformances = {}
    for relation in graph["relationships"]:
        if relation["kind"] == "conformsTo":
            protocol = names.get(relation["target"]) or relation["targetFallback"]
            conformances.setdefault(relation["source"], []).append(protocol.removeprefix("Swift."))
    lines = []
    for symbol in graph["symbols"]:
        # Leaves out the members that the compiler adds to every enum and struct.
        if "::SYNTHESIZED::" in symbol["identifier"]["precise"]:
            continue
        text = "".join(fragment["spelling"] for fragment in symbol["declarationFragments"])
        text = " ".join(text.split())
        protocols = sorted(set(conformances.get(symbol["identifier"]["precise"], [])) - IMPLIED)
        if protocols:
            text += " : " + ", ".join(protocols)
        path = symbol["pathComponents"]
        lines.append((path, "    " * (len(path) - 1) + text))
    return "".join(line + "\n" for _, line in sorted(lines))


# Every type has them.
IMPLIED = {"Copyable", "Escapable", "SendableMetatype"}


def main(arguments):
    update = arguments[:1] == ["--update"]
    graph, listed = map(pathlib.Path, arguments[1 if update else 0 :])
    actual = declarations(json.loads(graph.read_text()))
    if "IMBridge" in actual or "im_ffi" in actual:
        return "bindings/swift: a generated type is part of the public API"
    if update:
        listed.parent.mkdir(exist_ok=True)
        listed.write_text(actual)
    if not listed.exists() or listed.read_text() != actual:
        return f"bindings/swift: the public API is not the one of {listed}: if it is meant so, run ./test.sh --update"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
