"""ME4xx: the config, and what the command was told."""

from __future__ import annotations

from mapengine.codes.code import Code

CONFIG = {
    "ME401": Code(
        "a name that no file says",
        "The config lacks a value that the mapping needs, and the field has no default.",
        "ME401 config.context: no file says context (max_seq_len)",
        "Say it: `--set context=2048`, or `--preset` where the mapping has one.",
    ),
    "ME402": Code(
        "no config, or several",
        "The config file is not there, is no object, or the tensor files hold different ones.",
        "ME402 source.config: args.pt holds nothing at args",
        "Put the config beside the tensors; `config: {file: NAME, at: ...}` says where it is.",
    ),
    "ME403": Code(
        "read by no field",
        "The config has keys that no field reads. One of them may change what the weights mean.",
        "ME403 config.json: sliding_window is read by no field",
        "Add a field, `carry` the key, or name it under `ignore.config`.",
    ),
    "ME404": Code(
        "a circle",
        "Fields are computed from one another.",
        "config:\n  hidden: hidden\n  layers: layers\n  heads: heads\n"
        "  one: {target: one, compute: two}\n  two: {target: two, compute: one}",
        "Give one of them a path or a value.",
    ),
    "ME405": Code(
        "a config value that is not right",
        "A value is of another kind than the mapping wants, is none of its words, differs between "
        "two files, or an expression over it cannot be computed.",
        'ME405 config.hidden: params.json: dim is "8", where a number is wanted',
        "Correct the config, or say the `type`, the `values` or the `when` of the field.",
    ),
    "ME406": Code(
        "an option that the mapping does not know",
        "`--set`, `--preset` or `--dtype` names something that is not there.",
        "ME406 --set hiden: the mapping has no such name",
        "Take a name of the mapping's `config` or `presets`.",
    ),
    "ME407": Code(
        "a constant that the file denies",
        "A field has a `value` or is computed, and what stands in the config is not that: the "
        "checkpoint is of another model than the mapping is for.",
        'ME407 config.family: params.json: family is "b", where "a" is wanted',
        "Take the mapping for this model.",
    ),
    "ME409": Code(
        "a path that is written twice",
        "Two fields write the same path of the target's config, or a value cannot be written "
        "there.",
        "config: {hidden: hidden, layers: layers, heads: heads, n: {source: n, target: hidden}}\n"
        "example: {hidden: 6, layers: 2, heads: 2, n: 6}",
        "Give one of them another path, or both a `when`.",
    ),
    "ME420": Code(
        "no layout fits",
        "The folder has the files, config paths and keys of none of the mapping's layouts.",
        "ME420 no layout fits: there is no params.json in ./model",
        "Compare with the files that the help lists; is it the checkpoint of this mapping?",
    ),
    "ME421": Code(
        "several layouts fit",
        "What is in the folder is as near to one layout as to another.",
        "ME421 native and hub both fit what is in ./model",
        "Say which: `--layout NAME`.",
    ),
    "ME422": Code(
        "unknown layout",
        "`--layout` names a layout that the mapping does not have.",
        "ME422 there is no layout 'hubb'",
        "Take one of those listed.",
    ),
}
