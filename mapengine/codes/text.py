"""ME1xx: the YAML text, and names that a command was given."""

from __future__ import annotations

from mapengine.codes.code import Code

TEXT = {
    "ME100": Code(
        "no such file",
        "The file that was named is not there, is no regular file, or may not be read.",
        "ME100 mappings/demo.yaml is not a file",
        "Check the path and the permissions.",
    ),
    "ME101": Code(
        "not YAML",
        "The text cannot be read as YAML 1.2. Mostly a value begins with a sign that means "
        "something in YAML ({, *, a quote), a line is indented with a tab, or a bracket is never "
        "closed.",
        "source: {config: config.json, tensors: part.{layer}.pt}",
        "Put quotes around a pattern that begins with { or *, or that stands inside [ ] or { }; "
        "indent with spaces.",
    ),
    "ME102": Code(
        "something is here twice",
        "A key of an object, or an anchor, is written twice. YAML readers often keep the last one "
        "without a word.",
        "dims: {layer: layers, layer: heads}",
        "Keep one of them.",
    ),
    "ME103": Code(
        "too large or too deep",
        "The file is larger, deeper nested, or longer through its aliases than a mapping can "
        "sensibly be. The limits keep a hostile file from taking memory or time.",
        "example: " + "[" * 70 + "]" * 70,
        "Say it with fewer aliases, or with `dims` and `scope`, which repeat rules.",
    ),
    "ME104": Code(
        "YAML that a mapping does not use",
        "Tags (!!int), merge keys (<<), directives (%YAML) and second documents (---) are "
        "refused: a mapping is one document of plain data.",
        "example: {hidden: !!int 6, layers: 2, heads: 2}",
        "Leave it out. To share entries, share the whole value: &name once, *name elsewhere.",
    ),
    "ME105": Code(
        "a key that is no word",
        "A key is a number, a list, an object, true, false or null. An unquoted { at the "
        "beginning of a key opens an object.",
        "presets:\n  7: {hidden: 6}",
        "Quote the key.",
    ),
    "ME106": Code(
        "characters that text cannot hold",
        "The file is not UTF-8, or holds control characters.",
        "ME106 the text is not UTF-8 from here on",
        "Save the file as UTF-8. In double quotes such characters can be escaped, but no name in "
        "a mapping needs them.",
    ),
    "ME107": Code(
        "no mapping of this name",
        "What was named is no file, and no mapping that ships has this name.",
        "ME107 there is no mapping 'mixtrl'",
        "`mapengine list` has the names; a path needs its suffix: ./NAME.yaml",
    ),
    "ME108": Code(
        "nothing of this name to explain",
        "What `explain` was asked for is no key and no config field of either side, and no word of "
        "the language.",
        "ME108 there is no tensor and no config field called 'norm.wieght'",
        "Take one of the nearest, which are listed.",
    ),
}
