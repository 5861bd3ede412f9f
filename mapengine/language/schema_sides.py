"""Both sides and the config fields as schema."""

from __future__ import annotations

from mapengine.language.schema_parts import (
    DTYPE,
    EXPRESSION,
    WHEN,
    Schema,
    list_of,
    object_of,
    text,
)

_PATHS: Schema = {
    "description": "A path in the side's config; a list of paths, all of them; or one per layout: "
    "`{native: dim, hub: hidden_size}`.",
    "examples": ["hidden_size", ["vocab_size", "embedding.rows"]],
    "type": ["string", "array", "object"],
    "items": {"type": "string"},
    "additionalProperties": {
        "type": ["string", "array"],
        "items": {"type": "string"},
        "description": "The path in this layout.",
        "examples": ["dim"],
    },
}
_FILE: Schema = {
    "type": ["string", "object"],
    "description": "A file name, a glob or a pattern; or that with the prefix its keys get.",
    "examples": ["model.safetensors", "consolidated.{rank:02}.pth"],
    "properties": {
        "files": text("The file name, glob or pattern.", "layer_{block:02}.pt"),
        "prefix": text("Where the file's keys hang.", "h.{block}."),
    },
    "required": ["files"],
    "additionalProperties": False,
}
_FILES: Schema = {**_FILE, "type": ["string", "object", "array"], "items": _FILE}
_CONFIG_FILE: Schema = {
    "type": ["string", "object"],
    "description": "The config file; or the object in it, or in a tensor file, that is the config: "
    "`{file: model.pt, at: args}`.",
    "examples": ["params.json"],
    "properties": {
        "file": text("The file; without it, the tensor files.", "model.pt"),
        "at": text("The object in it.", "args"),
    },
    "minProperties": 1,
    "additionalProperties": False,
}
_ROOT = text("The object in a tensor file that is the checkpoint.", "model/")
LAYOUT = object_of(
    "One published form: what of the side it says differently.",
    {"tensors": _FILES, "config": _CONFIG_FILE, "root": _ROOT},
    tensors="consolidated.*.pth",
    config="params.json",
)
_LAYOUT_CHOICE: Schema = {
    "type": "object",
    "description": "Layouts by name, of which exactly one is there.",
    "examples": [
        {"native": {"tensors": "consolidated.*.pth"}, "hub": {"tensors": "model.safetensors"}}
    ],
    "additionalProperties": {"$ref": "#/$defs/layout"},
    "minProperties": 1,
}
SIDE = object_of(
    "One side of the mapping: a folder with tensors and a config.",
    {
        "config": _CONFIG_FILE,
        "tensors": _FILES,
        "layouts": {
            **_LAYOUT_CHOICE,
            "type": ["object", "array"],
            "items": _LAYOUT_CHOICE,
            "description": "The published forms, of which exactly one is there; "
            "or a list of such choices, independent of one another.",
        },
        "ignore": object_of(
            "What is left behind by name when this side is read.",
            {
                "tensors": list_of(
                    text("A key; ending in a dot, all below it.", "rope.freqs"),
                    "Tensors, by key; an entry ending in a dot covers all below it.",
                    ["rope.freqs", "optimizer."],
                ),
                "config": list_of(
                    text("A path; ending in a dot, all below it.", "use_cache"),
                    "Config keys, by path; an entry ending in a dot covers all below it.",
                    ["use_cache", "training."],
                ),
                "objects": list_of(
                    text("A class by its full name; ending in a dot, all below it.", "numpy."),
                    "Classes whose objects in torch files are passed over: nothing of them is made "
                    "or run. Without this a file that holds one is refused.",
                    ["numpy.", "megatron."],
                ),
            },
            tensors=["rope.freqs"],
            config=["use_cache"],
        ),
        "dtype": {
            **DTYPE,
            "description": "Every floating tensor written here is cast to this.",
            "examples": ["bfloat16"],
        },
        "root": _ROOT,
        "model": text("The transformers class it is for; `verify` asks it.", "DemoForCausalLM"),
    },
    config="config.json",
    tensors="model.safetensors",
)

FIELD: Schema = {
    "type": ["string", "object"],
    "description": "A config field: one path for both sides, or its place on either: "
    "`{source: dim, target: hidden_size}`.",
    "examples": ["vocab_size"],
    "properties": {
        "source": _PATHS,
        "target": _PATHS,
        "default": {
            "description": "The value where the path is absent: of the source, or by side: "
            "`{source: 10000.0, target: true}`.",
            "examples": ["heads", 10000.0],
        },
        "value": {
            "description": "A constant, or one per layout (`{native: false, hub: true}`); what is "
            "there must be equal.",
            "examples": ["demo"],
        },
        "compute": {
            **EXPRESSION,
            "description": "An expression; what is there must be equal.",
            "examples": ["hidden // heads", "dtype('norm.weight')"],
        },
        "type": {
            "enum": ["int", "float", "str", "bool"],
            "description": "What the value is converted to on reading.",
            "examples": ["int"],
        },
        "values": {
            "type": "object",
            "description": "Values of the source, and the target's for them: words in quotes, "
            "or numbers, true and false as they are.",
            "examples": [{"squared-relu": "relu2"}],
        },
        "when": {
            **WHEN,
            "type": [*WHEN["type"], "object"],
            "description": "Written where this holds; or a condition for one side: "
            "`{source: window != null}`.",
            "properties": {"source": EXPRESSION, "target": EXPRESSION},
            "additionalProperties": False,
            "examples": ["scaled"],
        },
        "optional": {
            "type": "boolean",
            "description": "Null is left out.",
            "examples": [True],
            "default": False,
        },
        "each": text("A list with one value per index; in rules, the one at that index.", "layer"),
    },
    "additionalProperties": False,
}
