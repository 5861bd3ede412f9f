"""ME34x and ME43x: adapters."""

from __future__ import annotations

from mapengine.codes.code import Code

_MERGE = "Merge the adapter into the weights with PEFT, and map those."

ADAPTERS = {
    "ME340": Code(
        "the update does not go through an op",
        "An adapter adds a product of two thin matrices. An op of the rule computes with values, "
        "or would need a part of the update that no product of such matrices is.",
        "ME340 rules[3].ops[0]: its values are computed with, not moved or multiplied",
        _MERGE,
    ),
    "ME341": Code(
        "what it becomes cannot be adapted",
        "The tensor that the update comes to is no weight of a layer that PEFT adapts, or of a "
        "kind or dtype that holds no update.",
        "ME341 rules[5]: it becomes int8, which holds no small updates",
        _MERGE,
    ),
    "ME342": Code(
        "an adapter of something else",
        "No rule takes the modules of the adapter, or the shape of a tensor that they need is not "
        "stated.",
        "ME342 tensors: the adapter is of what no rule takes from the "
        "source:\n  encoder.{0...11}.q",
        "Is it an adapter of this mapping's source? `--reverse` reads one of the target.",
    ),
    "ME343": Code(
        "part of a module is not there",
        "The adapter holds a tensor whole, and not the one with which it becomes one.",
        "ME343 rules[2]: it would be saved whole, and its norm.bias is not in the adapter",
        "Save the adapter with all parts of the module.",
    ),
    "ME344": Code(
        "PEFT could not be told",
        "What is to be written has no words in PEFT's config: names that it would match too, or "
        "settings that are one for all modules.",
        "ME344 PEFT saves model.lm_head too where it saves lm_head",
        "Map adapters of fewer modules, one by one.",
    ),
    "ME345": Code(
        "an adapter by two mappings",
        "`--adapter` goes by one mapping at a time.",
        "ME345 an adapter goes by one mapping at a time",
        "Map it by one, and what comes of that by the other.",
    ),
    "ME430": Code(
        "a damaged adapter",
        "adapter_config.json has a value of a wrong kind, or the file has no pairs of lora_A and "
        "lora_B.",
        "ME430 adapter_config.json: r is -1, where a whole number from 1 is wanted",
        "Save it again with PEFT.",
    ),
    "ME431": Code(
        "an adapter of a kind that is not mapped",
        "The adapter is no plain LoRA: it changes the weights otherwise, matches modules by a "
        "regular expression, or has settings that are not known.",
        'ME431 adapter_config.json: peft_type is "IA3", and only LORA can be mapped',
        _MERGE,
    ),
}
