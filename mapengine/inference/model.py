"""The checkpoint that a model class of transformers expects, its sizes those of a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mapengine.errors import CheckpointError, NotFoundError, Problem, suggest
from mapengine.inference.contents import Checkpoint
from mapengine.inference.fields import leaves
from mapengine.inference.files import Address, Entries, FilesEntry
from mapengine.inference.names import likeness, shared
from mapengine.specs import StoredTensor, TensorLocation, TensorSpec, contiguous_strides

_ALIKE = 0.6
_LABELS = 2  # of a classifier, where nothing says how many
_UNSAID = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "id2label", "label2id")
_FLOATS = ("bfloat16", "float16", "float32", "float64")
_FFN = frozenset({"ffn", "gate", "up", "down", "expert"})


def as_checkpoint(name: str, source: Checkpoint) -> Checkpoint:
    """What the class would save; its config from the source's sizes, and its values by name.

    Raises `NotFoundError` for a class that transformers does not have.
    """
    from mapengine.verification.oracle import quiet, sentence

    with quiet():
        found = _class(name)
        try:
            return _saved(found, _config(found, source), source)
        except Exception as error:  # whatever a class may raise
            message = f"{name} cannot be made of the sizes of this source: {sentence(error)}"
            help = "put a config.json of the right sizes in a folder, and name that as --target"
            raise CheckpointError(Problem("ME722", message, help=help)) from None


def of_config(folder: Path, source: Checkpoint) -> Checkpoint:
    """What the class would save that a folder's config.json names. Raises `CheckpointError`."""
    from mapengine.verification.oracle import load_config, model_class, quiet, sentence

    with quiet():
        config = load_config(folder)
        found = config if isinstance(config, Problem) else model_class(config)
        if isinstance(found, Problem):
            raise CheckpointError(found)
        try:
            return _saved(found, config, source)
        except Exception as error:
            message = f"{found.__name__} cannot be made of config.json: {sentence(error)}"
            raise CheckpointError(Problem("ME722", message)) from None


def _saved(found: Any, config: Any, source: Checkpoint) -> Checkpoint:
    """The keys and shapes of a model on torch's meta device, as a checkpoint without data."""
    from mapengine.verification.expected_keys import expected_keys
    from mapengine.verification.oracle import meta_model

    shapes = expected_keys(meta_model(found, config))
    dtypes = [one.spec.dtype for one in source.tensors.values() if one.spec.dtype in _FLOATS]
    dtype = max(set(dtypes), key=dtypes.count) if dtypes else _FLOATS[0]
    tensors = {
        Address(key): StoredTensor(
            TensorSpec(dtype, shape),
            TensorLocation("model.safetensors", 0, contiguous_strides(shape)),
        )
        for key, shape in shapes.shapes.items()
        if key not in shapes.tied
    }
    name = found.__name__
    written = {**config.to_dict(), "architectures": [name]}
    for unsaid in _UNSAID:
        written.pop(unsaid, None)
    if (labels := getattr(config, "num_labels", _LABELS)) != _LABELS:
        written["num_labels"] = labels  # or the head that opens it has another size
    entries: Entries = {FilesEntry("model.safetensors"): ((),)}
    return Checkpoint(Path(name), tensors, entries, {"config.json": written}, "config.json", "", ())


def _class(name: str) -> Any:
    import transformers

    found = getattr(transformers, name, None)
    if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
        return found
    known = [one for one in dir(transformers) if one.endswith(("LM", "Model", "Generation"))]
    message = f"transformers {transformers.__version__} has no model class {name!r}"
    raise NotFoundError(Problem("ME722", message, help=suggest(name, known)))


def _config(found: Any, source: Checkpoint) -> Any:
    """The class's config with the source's sizes: those of its tensors, and by the likest names."""
    default = found.config_class()
    sizes = _sizes(source, default)
    told = {
        leaf.word: leaf.value
        for leaf in leaves(source)
        if isinstance(leaf.value, int | float) and not isinstance(leaf.value, bool)
    }
    names = {**default.to_dict(), **{name: getattr(default, name, 0) for name in sizes}}
    pairs = sorted(
        ((likeness(word, name), name, word) for word, value in told.items()
         for name, known in names.items()
         if _of_a_kind(value, known) and (word == name or shared(word, name) >= _ALIKE)),
        reverse=True,
    )  # fmt: skip
    chosen: dict[str, Any] = {}
    used = {word for word, value in told.items() if value in sizes.values()}
    for _, name, word in pairs:
        if name not in chosen and name not in sizes and (word not in used or word == name):
            chosen[name] = told[word]
            used.add(word)
    return found.config_class(**{**chosen, **sizes})


def _of_a_kind(value: float, known: Any) -> bool:
    """Whether a number can stand where the class has what it has: null stands for a whole one."""
    if isinstance(known, bool):
        return False
    return isinstance(value, int if known is None or isinstance(known, int) else float) and (
        known is None or isinstance(known, int | float)
    )


def _sizes(source: Checkpoint, default: Any) -> dict[str, Any]:
    """What the tensors alone say: layers, the table's sizes, and the width between two layers."""
    from mapengine.inference.keys import keys_of, meaning

    listed = keys_of(source.tensors)
    counts = [len(one.column(0)) for one in listed if one.numbers[0] and not one.pattern.is_rank(0)]
    matrices = [one for one in listed if len(one.shape) == 2 and not one.pattern.ranked]
    tables = [one.shape for one in matrices if not one.numbers[0]]
    sizes: dict[str, Any] = {}
    if counts:
        sizes["num_hidden_layers"] = max(set(counts), key=counts.count)
    if tables:
        sizes["vocab_size"], sizes["hidden_size"] = max(tables)
        inner = [
            size
            for one in matrices
            if one.numbers[0] and meaning(one) & _FFN
            for size in one.shape
            if size != sizes["hidden_size"]
        ]
        if inner:
            sizes["intermediate_size"] = max(set(inner), key=lambda n: (inner.count(n), n))
    return {name: size for name, size in sizes.items() if hasattr(default, name)}
