"""ME2xx: what a mapping says."""

from __future__ import annotations

from mapengine.codes.code import Code

MAPPING = {
    "ME202": Code(
        "unknown word",
        "The language has no such word here: it is misspelt, or stands a level too deep or too "
        "high.",
        "tensors:\n  - a.{layer} -> b.{layer}: {shpae: [heads * 4, hidden]}",
        "`mapengine schema` has every word; an editor that knows the schema completes them.",
    ),
    "ME203": Code(
        "something is missing",
        "A word that must be there is not: a part of the mapping, or an argument of an op.",
        "tensors:\n  - a.{layer} -> b.{layer}: {ops: [rope_permute]}",
        "Add it.",
    ),
    "ME204": Code(
        "a value of another kind",
        "A list stands where an object is wanted, a number where a text is wanted, and the like. "
        "A line that is indented wrongly often makes one out of the other.",
        "dims: [layer]",
        "Write the kind that is named; quotes make a text of a number.",
    ),
    "ME205": Code(
        "none of the words that can stand here",
        "The value is one of a few words, and this is none of them.",
        "target: {config: config.json, tensors: model.safetensors, dtype: bfloat}",
        "Take one of the words that are listed.",
    ),
    "ME206": Code(
        "two keys in one item",
        "A rule, or an op, is an object of one key. Here a second key stands beside it: mostly "
        "the body of the rule, not indented.",
        "tensors:\n  - a.{layer} -> b.{layer}:\n    shape: [heads * 4, hidden]",
        "Indent the body deeper than the rule; begin each rule and each op with `- `.",
    ),
    "ME207": Code(
        "an empty value, or a bad name",
        "There is nothing where something must be, or the name is not made of small letters, "
        "digits and _.",
        "name: My Model",
        "Write a value; call it `my_model`.",
    ),
    "ME211": Code(
        "no expression",
        "The text does not read as an expression, or asks for something that expressions do not "
        "have (attributes, indexing, other functions).",
        "dims: {layer: layers +}",
        "Expressions have arithmetic, comparisons, and/or/not, `a if c else b`, and the functions "
        "that docs/language.md lists.",
    ),
    "ME212": Code(
        "no pattern, or no rule",
        "A key pattern or a rule does not read: a brace that is not closed, a second arrow, an "
        "arrow with nothing on its right.",
        "tensors:\n  - a.{layer -> b.{layer}: {shape: [heads * 4, hidden]}",
        "A rule is `source -> target`; literal braces are doubled; what is left behind stands "
        "under `ignore`.",
    ),
    "ME213": Code(
        "a file outside the folder",
        "Files are named as they are called in the checkpoint's folder; this is a path to "
        "somewhere else.",
        "target: {config: ../config.json, tensors: model.safetensors}",
        "Write the name alone.",
    ),
    "ME214": Code(
        "a layout that is there twice",
        "Two choices under `layouts` have a layout of the same name, so that its name says "
        "neither.",
        "source:\n  config: config.json\n  layouts:\n    - {hub: {tensors: a.pt}, own: {tensors: "
        "b.pt}}\n    - {hub: {}, meta: {}}",
        "Rename one.",
    ),
    "ME215": Code(
        "unknown layout",
        "Something is kept for a layout that neither side has.",
        "tensors:\n  - a.{layer} -> b.{layer}: {shape: [heads * 4, hidden], layout: hub}",
        "Name a layout of `source.layouts` or `target.layouts`.",
    ),
    "ME216": Code(
        "as many shapes as sources",
        "`shape` is one shape for all sources of the rule, or a list with one shape for each.",
        "tensors:\n  - a.{layer} -> b.{layer}: {shape: [[heads * 4, hidden], [hidden]]}",
        "Give one shape, or as many as there are sources.",
    ),
    "ME217": Code(
        "no config path",
        "A path has nothing beside one of its dots.",
        "config: {hidden: moe..hidden, layers: layers, heads: heads}",
        r"Write `moe.hidden`; a dot in a name is `\.`.",
    ),
    "ME218": Code(
        "unknown name",
        "An expression, a pattern, a preset or the example names something that is neither a "
        "config field nor an index, or an index where it has no value.",
        "tensors:\n  - a.{layr} -> b.{layr}: {shape: [heads * 4, hidden]}",
        "Correct the name, add a field under `config`, or an index under `dims`.",
    ),
    "ME219": Code(
        "a name that cannot be used here",
        "A field has the name of an index or of a function; a file's suffix is of no format that "
        "is written; a root does not end in /.",
        "target: {config: config.json, tensors: model.onnx}",
        "Call it something else.",
    ),
    "ME221": Code(
        "no example, or not all of it",
        "The mapping has no `example`, so there is nothing to plan without a checkpoint; or a "
        "config name has no value in it.",
        "example: {hidden: 6, layers: 2}",
        "Give every config name that no file says a small value under `example`.",
    ),
    "ME222": Code(
        "a rule without a shape",
        "The example's tensors are made from the rules' shapes, and this rule states none.",
        "tensors:\n  - a.{layer} -> b.{layer}",
        "Add `shape`, in config names.",
    ),
    "ME223": Code(
        "an example that no file can hold",
        "The names of the example's files cannot be made, or a tensor of the example belongs to "
        "none of them.",
        'source:\n  config: config.json\n  tensors: {files: "part_{layer}.pt", prefix: '
        '"h.{layer}."}',
        "See that every key begins with the prefix of one of the files.",
    ),
    "ME224": Code(
        "layouts that make different things",
        "All layouts of a mapping must make the same tensors of the example; in one of them a "
        "tensor is missing or has another shape or dtype.",
        "source:\n  config: config.json\n  layouts: {one: {tensors: a.pt}, two: {tensors: b.pt}}\n"
        "tensors:\n  - a.{layer} -> b.{layer}: {shape: [heads * 4, hidden]}\n"
        "  - c -> d: {shape: [hidden], layout: one}",
        "Give the other layout the rule that it lacks.",
    ),
    "ME225": Code(
        "the dtype of a tensor that is cast",
        "A field computes `dtype('key')`, and a rule casts that tensor: what would be written "
        "into the config is not what is written into the file.",
        "config:\n  hidden: hidden\n  layers: layers\n  heads: heads\n"
        "  kind: {target: dtype, compute: dtype('a')}\n"
        "tensors:\n  - a -> b: {shape: [heads * 4, hidden], ops: [{cast: float16}]}",
        "Ask a tensor that no rule casts.",
    ),
    "ME226": Code(
        "a formula that the example denies",
        "A field is computed, and the example gives it another value.",
        "config:\n  hidden: hidden\n  layers: layers\n  heads: heads\n"
        "  width: {target: width, compute: hidden * 2}\n"
        "example: {hidden: 6, layers: 2, heads: 2, width: 11}",
        "Correct the formula, or the example.",
    ),
    "ME227": Code(
        "a word of constants in a rule with a source, or the reverse",
        "`value` and `dtype` say a tensor that no source has; a rule that has a source takes them "
        "from it. A constant in turn takes no ops.",
        "tensors:\n  - a.{layer} -> b.{layer}: {shape: [heads * 4, hidden], value: zeros}",
        "Leave the source out (`-> key`), or the word.",
    ),
    "ME228": Code(
        "an index that is empty in the example",
        "The size of an index is 0 in the example, so that nothing of its rules would be tried.",
        "example: {hidden: 6, layers: 0, heads: 2}",
        "Give the names that it is made of a value in `example`.",
    ),
}
