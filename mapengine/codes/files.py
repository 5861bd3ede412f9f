"""ME5xx: files of a checkpoint."""

from __future__ import annotations

from mapengine.codes.code import Code

FILES = {
    "ME501": Code(
        "not a tensor file",
        "The file is not there, cannot be read, or is of no kind that is read: a Git LFS pointer, "
        "a TorchScript program, a bare pickle.",
        "ME501 model.safetensors: a Git LFS pointer, not the file itself",
        "Download the file itself; save a state dict with torch.save or safetensors.",
    ),
    "ME502": Code(
        "truncated",
        "The file ends before what its headers promise: a download that broke off.",
        "ME502 model.safetensors: truncated: tensors take 8,192 bytes, 4,096 are there",
        "Download it again.",
    ),
    "ME503": Code(
        "contradicts itself",
        "Lengths, offsets or shapes in the file do not go together: it is damaged, or was made to "
        "deceive.",
        "ME503 model.safetensors: tensor 'a' at 16 overlaps the one before, which ends 24",
        "Get the file from where it was published; do not trust this one.",
    ),
    "ME504": Code(
        "a pickle that asks for more",
        "The pickle in a torch file asks for code or objects that a state dict does not need. "
        "It is never run.",
        "ME504 model.pt: its pickle asks for 'os.system', not part of a state dict",
        "If nothing of it is wanted, name its class under `ignore.objects` of the mapping: then it "
        "is passed over. Or load the file with its own code, where you trust it, and save the "
        "state dict alone.",
    ),
    "ME505": Code(
        "a zip archive that torch.save did not make",
        "The archive is compressed, encrypted, in parts, or its records contradict each other.",
        "ME505 model.pt: member 'data.pkl' is compressed; torch.save only stores",
        "Save it again with torch.save.",
    ),
    "ME506": Code(
        "a kind of tensor that is not supported",
        "Sparse, quantised or subclassed tensors, and nesting other than in dicts, are not read.",
        "ME506 model.pt: sparse tensors are not supported (torch._utils._rebuild_sparse_tensor)",
        "Save plain, dense tensors in a dict.",
    ),
    "ME507": Code(
        "cannot be written in this format",
        "The format has no such dtype, key or nesting.",
        "ME507 safetensors cannot hold 'a' of dtype complex128",
        "Cast it, or take another `--format`.",
    ),
    "ME510": Code(
        "none of the side's files",
        "The folder has no file of the names that the mapping gives the tensors.",
        "ME510 source.tensors: there is no model.safetensors in ./model",
        "Check the folder; is it the checkpoint of this mapping?",
    ),
    "ME511": Code(
        "a file is missing",
        "A shard that an index names, or that a file pattern makes, is not there.",
        "ME511 model-00002-of-00003.safetensors is missing: the index puts 41 tensors in it",
        "Download it.",
    ),
    "ME512": Code(
        "a file too many",
        "A file looks like those of the pattern, and the ranges of its indices do not make it.",
        "ME512 layer_05.pt is there, but layer_{layer:02}.pt does not make it",
        "Remove it, if it is left from another checkpoint; else correct the config.",
    ),
    "ME513": Code(
        "a tensor in two files",
        "Two files of the checkpoint have the same key.",
        "ME513 3 tensors are both in a.pt and in b.pt; first: norm.weight",
        "Remove the copy; parts of one whole are told apart by `prefix` or by an index in the "
        "file pattern.",
    ),
    "ME514": Code(
        "a malformed index",
        "The index of the shards has no map of keys to files, or points outside the folder.",
        "ME514 model.safetensors.index.json has no weight_map of keys to file names",
        "Download the index again.",
    ),
    "ME515": Code(
        "an index that lies",
        "The index puts tensors where they are not, or does not name tensors that are there.",
        "ME515 model.safetensors.index.json puts in the wrong file: h.{0…3}.a (4 tensors)",
        "Download index and shards again, from one revision.",
    ),
    "ME516": Code(
        "a config that cannot be read",
        "A JSON or YAML file of the checkpoint does not parse, or is nested too deep.",
        "ME516 config.json: Expecting ',' delimiter: line 3 column 1 (char 27)",
        "Correct the file, or download it again.",
    ),
    "ME517": Code(
        "damaged bytes",
        "The bytes of a tensor do not have the checksum that the file has for them.",
        "ME517 model.pt: the bytes of member 'data/3' are damaged",
        "Download it again.",
    ),
    "ME518": Code(
        "a link out of the folder",
        "A file of the folder is a link, and what it leads to lies elsewhere: whoever made the "
        "folder chose where. Links within it are followed, and those of the Hub's cache.",
        "ME518 model/config.json is a link that leads out of its folder, to /etc/passwd",
        "Copy what it leads to into the folder; or follow every link, with `--follow-links`.",
    ),
    "ME520": Code(
        "a place that cannot be spoken with",
        "A package for this kind of URL is missing, there is no such kind, or the URL holds a "
        "password or a query.",
        "ME520 s3://models/one: what reads s3:// is not installed",
        "`pip install 'mapengine[s3]'` (or `[gs]`); credentials belong where the tools of the "
        "place look for them.",
    ),
    "ME521": Code(
        "access denied",
        "The place answers that whoever asks may not, or no credentials were found.",
        "ME521 s3://models/one: access is denied (403)",
        "See that the tool of the place itself can read it (`aws s3 ls`, `hf auth whoami`) in "
        "the same shell.",
    ),
    "ME522": Code(
        "a place that does not answer",
        "Time ran out, connections broke, or the server said that it is too busy (429, 500, 502, "
        "503, 504), each time of several; or it gave an answer that nobody expects.",
        "ME522 s3://models/one/model.safetensors: SlowDown (503), 6 times",
        "Try again later: what is finished is kept.",
    ),
}
