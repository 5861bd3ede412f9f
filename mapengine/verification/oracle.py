"""What transformers is asked: offline, in silence, and without running code of the checkpoint."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mapengine.errors import Problem, suggest

_SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_PLAIN_ATTENTION: dict[str, Any] = {"attn_implementation": "eager"}
"""A config may name an attention kernel to fetch; this one is always there."""
_READ, _TOLD = 10_000, 300  # characters of an error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither bars, logs nor warnings, and afterwards everything as it was."""
    with warnings.catch_warnings(), contextlib.ExitStack() as redirected:
        warnings.simplefilter("ignore")
        import torch  # noqa: F401  (its log handlers are to take the real streams)
        from transformers.utils import logging as library

        verbosity, bars = library.get_verbosity(), library.is_progress_bar_enabled()
        library.set_verbosity(logging.CRITICAL + 1)
        library.disable_progress_bar()  # type: ignore[no-untyped-call]
        nowhere = io.StringIO()
        redirected.enter_context(contextlib.redirect_stdout(nowhere))
        redirected.enter_context(contextlib.redirect_stderr(nowhere))
        try:
            yield
        finally:
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()  # type: ignore[no-untyped-call]


def load_config(folder: Path) -> Any:
    """The config of a folder as transformers' own class, or the `Problem` with it."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(folder), **_SAFE, **_PLAIN_ATTENTION)
    except Exception as error:  # whatever a config class may raise
        return Problem("ME721", f"transformers refuses config.json: {sentence(error)}")


def fields(config: Any) -> dict[str, Any]:
    """What a config holds, the number of layers by its usual name too."""
    return {**vars(config), "num_hidden_layers": getattr(config, "num_hidden_layers", None)}


def model_class(config: Any) -> Any:
    """The class of transformers that a config names first, or the `Problem` with the name."""
    import transformers

    names = config.architectures
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        return Problem("ME722", "config.json names no model class in `architectures`")
    try:
        found = getattr(transformers, names[0], None)
    except Exception as error:  # its module cannot be imported here
        return Problem("ME722", f"{names[0]} cannot be imported: {sentence(error)}")
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        version = f"transformers {transformers.__version__}"
        message = f"{version} has no model class {names[0][:80]!r}, which config.json names"
        return Problem("ME722", message, help=suggest(names[0][:80], _class_names(transformers)))
    wanted: Any = found.config_class
    own = getattr(wanted, "model_type", None)
    if own and not isinstance(config, wanted):
        message = f"{names[0]} is for model_type {own!r}, config.json has {config.model_type!r}"
        return Problem("ME723", message)
    return found


def _class_names(library: Any) -> list[str]:
    endings = ("LM", "Model", "Generation", "Classification")
    return [name for name in dir(library) if name.endswith(endings)]


def meta_model(cls: Any, config: Any) -> Any:
    """A model without data. Raises whatever its class raises."""
    import torch

    with torch.device("meta"):
        return cls(config)


def passed_over(model: Any) -> Callable[[str], bool]:
    """Whether the model's class says that it passes over a key it does not know."""
    patterns = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    return lambda key: any(re.search(pattern, key) for pattern in patterns)


def loading_info(cls: Any, config: Any, folder: Path, on_meta: bool) -> dict[str, Any]:
    """The loading report of `from_pretrained`. Raises whatever that raises."""
    options: dict[str, Any] = {"dtype": "auto"} if is_v5() else {"torch_dtype": "auto"}
    if on_meta:
        options["device_map"] = {"": "meta"}
    _, info = cls.from_pretrained(
        str(folder),
        config=config,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # told in the report then, not raised
        weights_only=True,
        **_SAFE,
        **_PLAIN_ATTENTION,
        **options,
    )
    return dict(info)


def whole_model(cls: Any, config: Any, folder: Path) -> Any:
    """The model with its weights, in float32. Raises whatever `from_pretrained` raises."""
    options: dict[str, Any] = {"dtype": "float32"} if is_v5() else {"torch_dtype": "float32"}
    return cls.from_pretrained(
        str(folder), config=config, weights_only=True, **_SAFE, **_PLAIN_ATTENTION, **options
    )


def is_v5() -> bool:
    import transformers

    return int(transformers.__version__.split(".")[0]) >= 5


def available_memory() -> int:
    """Bytes that could be taken now, the limit of a container counted."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        free = int(kilobytes) * 1024
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))  # "max": no limit
        free = min(free, limit - int((group / "memory.current").read_text(encoding="ascii")))
    return free


def sentence(error: Exception) -> str:
    """What an error says, as one line that is not long; its kind alone where it says nothing."""
    lines = [line.strip() for line in str(error)[:_READ].splitlines()]
    told = "; ".join(line for line in lines if line).replace(":; ", ": ")
    told = told if len(told) <= _TOLD else told[:_TOLD] + "..."
    return f"{type(error).__name__}: {told}" if told else type(error).__name__
