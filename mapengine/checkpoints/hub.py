"""The Hugging Face Hub: a revision pinned to its commit, and ranges of its files."""

from __future__ import annotations

from datetime import datetime
from typing import Any

_TIMEOUT = 30


def at_commit(fs: Any, root: str) -> tuple[str, datetime | None]:
    """A folder of the Hub at the commit that its revision stands for now, and when that came."""
    at = fs.resolve_path(root)
    if not hasattr(at, "repo_id"):  # a bucket has no revisions
        return root, None
    info = fs._api.repo_info(at.repo_id, repo_type=at.repo_type, revision=at.revision)
    kind = "" if at.repo_type == "model" else f"{at.repo_type}s/"
    below = f"/{at.path_in_repo}" if at.path_in_repo else ""
    return f"{kind}{at.repo_id}@{info.sha}{below}", info.last_modified


def hub_range(fs: Any, path: str, start: int, end: int) -> bytes:
    """A range of a file. Raises the HTTP library's errors, once: whoever calls tries again."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    headers = {**build_hf_headers(token=fs.token), "Range": f"bytes={start}-{end - 1}"}
    answer = get_session().get(fs.url(path), headers=headers, timeout=_TIMEOUT)
    hf_raise_for_status(answer)
    return bytes(answer.content)
