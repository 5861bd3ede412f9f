"""Whether the model can be run at all: a few tokens in, finite numbers out."""

from __future__ import annotations

from typing import Any

from mapengine.errors import Problem
from mapengine.verification.check import Check
from mapengine.verification.model import not_askable
from mapengine.verification.oracle import available_memory, quiet, sentence, whole_model
from mapengine.verification.subject import Subject

_NAME = "the model runs: logits of a few tokens"
_TOKENS = 8


def check_logits(subject: Subject) -> Check:
    """Runs the model in float32 on the first tokens of its vocabulary.

    Logits, `[1, tokens, vocabulary]`, must be finite, and differ from token to token. That finds
    what no shape shows only where it breaks the model altogether; it is no comparison.
    """
    if reason := not_askable(subject):
        return Check(_NAME, skipped=reason)
    needed, free = sum(spec.numel * 4 for spec in subject.specs.values()), available_memory()
    if needed > free / 2:
        return Check(_NAME, skipped=f"{needed:,} bytes are more than half of the free memory")
    try:
        with quiet():
            logits = _logits(subject)
    except Exception as error:  # whatever a model may raise
        message = f"{subject.model_class.__name__} does not run: {sentence(error)}"
        return Check(_NAME, (Problem("ME751", message),))
    if logits is None:
        return Check(_NAME, skipped=f"{subject.model_class.__name__} takes no tokens alone")
    return Check(_NAME, tuple(_wrong(logits)), _told(logits))


def _logits(subject: Subject) -> Any:
    """`[1, tokens, vocabulary]`, or None where the model makes no such thing of tokens."""
    import torch

    model = whole_model(subject.model_class, subject.config, subject.path)
    if model.main_input_name != "input_ids" or model.config.is_encoder_decoder:
        return None
    count = min(_TOKENS, int(getattr(model.config.get_text_config(), "vocab_size", _TOKENS)))
    with torch.no_grad():
        made = model.eval()(input_ids=torch.arange(count).unsqueeze(0))
    return getattr(made, "logits", None)


def _wrong(logits: Any) -> list[Problem]:
    count = int((~logits.isfinite()).sum())
    if count:
        return [Problem("ME752", f"{count:,} of {logits.numel():,} logits are not finite")]
    if logits.shape[1] > 1 and bool((logits == logits[:, :1]).all()):
        return [Problem("ME752", "the logits are the same whatever the token")]
    return []


def _told(logits: Any) -> str:
    low, high = float(logits.min()), float(logits.max())
    return f"{logits.shape[1]} tokens, logits from {low:.3g} to {high:.3g}"
