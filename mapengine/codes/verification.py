"""ME7xx: what `verify` finds in a converted checkpoint."""

from __future__ import annotations

from mapengine.codes.code import Code

_AGAIN = "Convert it again, or copy the folder again."

VERIFICATION = {
    "ME701": Code(
        "no tensor file",
        "The folder holds no safetensors and no torch file.",
        "ME701 there is no tensor file in the folder",
        "Name the folder that holds the checkpoint.",
    ),
    "ME702": Code(
        "two checkpoints in one folder",
        "The folder holds the files of two checkpoints, and readers differ in which they take.",
        "ME702 model.safetensors and pytorch_model.bin are two checkpoints",
        "Keep one of them.",
    ),
    "ME703": Code(
        "shards without an index",
        "There are several shards and no index that names them all.",
        "ME703 model-00001-of-00002.safetensors and 1 more, but no model.safetensors.index.json "
        "that names them",
        _AGAIN,
    ),
    "ME704": Code(
        "a wrong total in the index",
        "The index promises another number of bytes or parameters than the files hold.",
        "ME704 model.safetensors.index.json has total_size 100, its files hold 120",
        _AGAIN,
    ),
    "ME705": Code(
        "metadata without `format: pt`",
        "Some readers refuse a safetensors file whose metadata does not say that it is for torch.",
        "ME705 model.safetensors: the metadata does not say 'format': 'pt'",
        "Save it with metadata {'format': 'pt'}.",
    ),
    "ME711": Code(
        "a receipt that is none",
        "mapengine.json is there and does not say what a run writes into it.",
        "ME711 mapengine.json lists no files and sizes",
        _AGAIN,
    ),
    "ME712": Code(
        "a file of the receipt is missing",
        "The run wrote a file that is not there any more.",
        "ME712 tokenizer.json is missing: mapengine.json lists it",
        _AGAIN,
    ),
    "ME713": Code(
        "another size than in the receipt",
        "A file does not have the size with which it was written.",
        "ME713 config.json has 12 bytes, mapengine.json says 640",
        _AGAIN,
    ),
    "ME714": Code(
        "other bytes than were written",
        "A tensor or a file does not have the SHA-256 that the receipt has for it.",
        "ME714 norm.weight in model.safetensors is not what was written",
        _AGAIN,
    ),
    "ME715": Code(
        "other bytes than the mapping makes",
        "The tensors were made again of the source, and these bytes are not those.",
        "ME715 norm.weight in model.safetensors: 4 of 128 bytes are others",
        _AGAIN,
    ),
    "ME721": Code(
        "no good config.json",
        "config.json is missing, is no object, or transformers refuses it.",
        "ME721 config.json is not a JSON object",
        "Compare it with that of a published checkpoint of the same class.",
    ),
    "ME722": Code(
        "no model class that is known",
        "config.json names no class, or one that this version of transformers does not have.",
        "ME722 config.json names no model class in `architectures`",
        "Install the version that has the class.",
    ),
    "ME723": Code(
        "another class than the mapping's",
        "config.json names another class than the mapping is for.",
        "ME723 config.json names DemoModel, the mapping is for DemoForCausalLM",
        "Verify what this mapping has written.",
    ),
    "ME724": Code(
        "a dtype that the tensors are not",
        "The dtype in config.json is not that of the tensors; the model would be loaded in it.",
        "ME724 config.json has dtype 'float16', the tensors are bfloat16",
        "Correct it, or let the mapping compute it: dtype('key').",
    ),
    "ME731": Code(
        "missing keys",
        "The model class has parameters that the files do not have; they would be random.",
        "ME731 MISSING model.norm.weight",
        "Add a rule for them.",
    ),
    "ME732": Code(
        "unexpected keys",
        "The files have tensors that the model class does not know; they would be dropped.",
        "ME732 UNEXPECTED model.norm.bias",
        "Correct the target key, or ignore the source's tensor.",
    ),
    "ME733": Code(
        "other shapes",
        "Tensors have other shapes than the model class has for this config.",
        "ME733 MISMATCH lm_head.weight: [32, 8], the model has [64, 8]",
        "Compare config.json with the tensors.",
    ),
    "ME734": Code(
        "no model can be made of this config",
        "The class cannot be made of config.json, or would be larger than can be.",
        "ME734 DemoForCausalLM cannot be made of config.json: 6 is not divisible by 4",
        "Correct the config fields of the mapping.",
    ),
    "ME741": Code(
        "from_pretrained fails",
        "transformers cannot load the folder.",
        "ME741 from_pretrained fails: OSError: no file named model.safetensors",
        "See the other findings first.",
    ),
    "ME742": Code(
        "its load report is not empty",
        "transformers has loaded the folder and reports keys that are missing, unexpected or of "
        "other shapes.",
        "ME742 from_pretrained reports missing: model.norm.weight",
        "Add or correct the rules of these keys.",
    ),
    "ME751": Code(
        "the model does not run",
        "transformers has loaded the folder, and the model fails on a few tokens.",
        "ME751 DemoForCausalLM does not run: RuntimeError: shapes do not go together",
        "See the other findings first; compare config.json with that of a published checkpoint.",
    ),
    "ME752": Code(
        "logits that are of no use",
        "What the model says of a few tokens is not finite, or the same whatever the token.",
        "ME752 12 of 256 logits are not finite",
        "Look for a tensor that is zero, not finite or in another place: `verify --source`.",
    ),
}
