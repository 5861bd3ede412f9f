"""ME3xx: tensors, ops and the plan."""

from __future__ import annotations

from mapengine.codes.code import Code

TENSORS = {
    "ME301": Code(
        "an op refuses its tensor",
        "The tensor does not have the rank, the size or the dtype that the op needs: a split that "
        "is not even, an axis that is not there, heads that do not divide the rows.",
        "tensors:\n  - a.{layer} -> b.{layer}: {shape: [heads * 4, hidden], ops: [{transpose: "
        "[0, 2]}]}",
        "Compare the op's arguments with the shape that is named; `mapengine plan` shows shapes.",
    ),
    "ME302": Code(
        "the indices do not come out",
        "An index stands on one side of a rule alone, and no op makes it or uses it up; or a rule "
        "makes another number of tensors than it has keys.",
        "tensors:\n  - a.{layer} -> b: {shape: [heads * 4, hidden]}",
        "Write the index on both sides, or `split`, `unstack`, `copy` `into` it, `concat`, "
        "`stack`, `same`, `mean` `over` it.",
    ),
    "ME303": Code(
        "an expression without a good value",
        "A shape or an op's argument comes to something that cannot be: a negative size, a "
        "fraction, a division by zero.",
        "tensors:\n  - a.{layer} -> b.{layer}: {shape: [heads - 4, hidden]}",
        "Correct the expression, or the value in the config that it is made of.",
    ),
    "ME304": Code(
        "an op's arguments contradict each other",
        "The arguments of an op do not go together, whatever the tensor: axes of `rearrange` that "
        "are not on both sides, a `split` without a name for what it makes.",
        'tensors:\n  - a.{layer} -> b.{layer}: {shape: [heads * 4, hidden], ops: [{rearrange: "(a '
        'b -> a b"}]}',
        "See the op in docs/language.md.",
    ),
    "ME305": Code(
        "values that the dtype does not hold",
        "A cast, a sum or a product leaves the range of the dtype, or makes NaN.",
        "ME305 rules[0]: a: 1 of 2 values do not fit float16, up to 70000",
        "Take a wider dtype, or say what is to become of them: `overflow: saturate` or `allow`.",
    ),
    "ME306": Code(
        "tensors that should be equal are not",
        "A rule takes several tensors for the same (`same`), or a tensor for a constant (`value`), "
        "and their bytes differ.",
        "ME306 rules[0]: embed: the tensors that should be the same are not, in model.safetensors",
        "They are not tied in this checkpoint: choose the rule by a config name with `when`.",
    ),
    "ME307": Code(
        "an op before one that must be first",
        "`dequantize` takes the tensors as they are stored; an op before it would move numbers "
        "apart from their scales.",
        "tensors:\n  - a, s -> b:\n      shape: [[heads * 4, hidden], [1, 1]]\n      ops:\n"
        "        - transpose: [0, 1]\n        - dequantize: {format: fp8_e4m3, to: bfloat16}",
        "Put it first.",
    ),
    "ME310": Code(
        "missing from the checkpoint",
        "Rules name tensors that the checkpoint does not have. The help says where the ranges of "
        "the indices come from: a config of another model, a file that is missing, or a rule "
        "that this variant does not need.",
        "ME310 rules[1]: 10 tensors are missing from the checkpoint:\n  h.{0…9}.attn.bias  ×10",
        "Check the config beside the tensors; give the rule a `when`, or `optional: true`.",
    ),
    "ME311": Code(
        "not of the stated shape",
        "The header of a tensor has another shape than the rule states, so that this config does "
        "not belong to these weights, or the rule is wrong.",
        "ME311 rules[1].shape: qkv is [16, 2] in model.safetensors, and [3 * hidden, 2] is [24, 2]",
        "Compare the names in the help with the checkpoint's config.",
    ),
    "ME312": Code(
        "a tensor used twice",
        "Two rules read the same tensor. If both were meant, the second could not be reversed.",
        "tensors:\n  - a -> b: {shape: [hidden]}\n  - a -> c: {shape: [hidden]}",
        "Write one rule with both targets: `a -> b, c` with the op `copy`.",
    ),
    "ME313": Code(
        "a tensor made twice",
        "Two rules write the same key.",
        "tensors:\n  - a -> b: {shape: [hidden]}\n  - c -> b: {shape: [hidden]}",
        "Correct one, or give both a `when` of which one holds at a time.",
    ),
    "ME314": Code(
        "matches no rule",
        "The checkpoint has tensors that no rule reads. Nothing is left behind unless the mapping "
        "says so by name.",
        "ME314 tensors: 2 tensors match no rule:\n  rope.freqs\n  lm_head.bias",
        "Add a rule, or the keys to `ignore.tensors` of the side that is read.",
    ),
    "ME315": Code(
        "fewer tensors than promised",
        "A plan would write fewer tensors than the rules promise. This is a mistake of mapengine.",
        "ME315 69 tensors are to be made, and 68 were",
        "Please report it, with the mapping.",
    ),
    "ME316": Code(
        "too little memory allowed",
        "What `--memory` allows is not enough to make even the smallest piece of this plan.",
        "ME316 1,000,000 bytes of memory are too little: this plan takes 12 MB",
        "Allow as much as the help says.",
    ),
    "ME317": Code(
        "not of the stated dtype",
        "The header of a tensor has another dtype than the rule states.",
        "ME317 rules[0].dtype: a.0 is bfloat16 in model.safetensors, not float32",
        "Is it the checkpoint of this mapping? Else give the other form a layout of its own.",
    ),
    "ME318": Code(
        "nothing to select",
        "No tensor that would be written has a key that fits what `--select` says.",
        "ME318 no tensor that would be written is called model.layers.9.*",
        "Keys are those of the output; `mapengine plan` shows them. `*` stands for any text.",
    ),
    "ME320": Code(
        "does not come back",
        "The proof took the example forward and back, and an element, or a config value, is lost, "
        "doubled or in another place.",
        "ME320 rules[2]: 6 of the 12 elements of a do not come back to where they were; the first "
        "is [0, 1]",
        "Look at the ops of the rule: a permutation with other heads than its inverse, a tensor "
        "cut differently than it is joined.",
    ),
    "ME330": Code(
        "no way back",
        "The mapping cannot be reversed: a cast says no `from`, or the source's config is of a "
        "format that is only read.",
        "tensors:\n  - a.{layer} -> b.{layer}: {shape: [heads * 4, hidden], ops: [{cast: "
        "float16}]}",
        "`cast: {to: float16, from: float32}` names the way back; leave the note where none is "
        "wanted.",
        note=True,
    ),
    "ME331": Code(
        "a value that the way back does not find",
        "A field is read and written nowhere, and has no default: the reverse must be told it.",
        "config: {hidden: hidden, layers: layers, heads: heads, old: {source: old}}\n"
        "example: {hidden: 6, layers: 2, heads: 2, old: 1}",
        "Give it a `default`, or a place in the target; else `--set` when reversing.",
        note=True,
    ),
    "ME332": Code(
        "an order that no shape tells",
        "Tensors of one shape are joined. Were they in another order, every check of shapes would "
        "pass.",
        "tensors:\n  - a, c -> b: {shape: [hidden], ops: [{concat: {dim: 0}}]}",
        "Compare the order with the original code.",
        note=True,
    ),
    "ME333": Code(
        "a square that is not turned",
        "A square matrix stays as it is beside a sibling that is transposed; no shape tells "
        "whether it should be too.",
        "tensors:\n  - a -> b: {shape: [hidden, heads], ops: [{transpose: [0, 1]}]}\n"
        "  - c -> d: {shape: [hidden, hidden]}",
        "Compare with the original code.",
        note=True,
    ),
    "ME334": Code(
        "told apart by their names alone",
        "Rules of one scope have the same shape and ops; were their targets swapped, every check "
        "of shapes would pass.",
        "tensors:\n  - a -> b: {shape: [hidden]}\n  - c -> d: {shape: [hidden]}",
        "Compare the names with the original code.",
        note=True,
    ),
    "ME335": Code(
        "a rule that the example does not try",
        "No index of the example keeps this rule, so that nothing has been proven of it.",
        "tensors:\n  - a.{layer} -> b.{layer}: {shape: [heads * 4, hidden]}\n"
        "  - c -> d: {shape: [hidden], when: heads > 4}",
        "Choose the example's values so that the condition holds, where that can be.",
        note=True,
    ),
    "ME336": Code(
        "something of no use",
        "A config field has a place on neither side, and no expression, shape or op asks for it; "
        "or an index of `dims` is in no key and no file; or `ignore` names a path that a field "
        "reads, or a file of which nothing is read.",
        "config: {hidden: hidden, layers: layers, heads: heads, head_dim: {compute: hidden // "
        "heads}}",
        "Leave it out, or ask for it: perhaps a rule says the same in other words.",
        note=True,
    ),
}
