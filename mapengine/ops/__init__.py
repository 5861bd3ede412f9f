"""The ops of the language: one file per inverse pair, one visible table.

A new op is a file and an entry here; the schema, the reference page and the round-trip tests
read this table. Importing it imports no torch.
"""

from __future__ import annotations

from mapengine.ops.arithmetic import Add, Mul
from mapengine.ops.cast import Cast
from mapengine.ops.dequantize import Dequantize
from mapengine.ops.mean import Mean
from mapengine.ops.op import Axes, Exactness, Fan, Op
from mapengine.ops.pad import Pad, Unpad
from mapengine.ops.permute import Permute, Transpose
from mapengine.ops.rearrange import Rearrange
from mapengine.ops.rope_permute import RopePermute, RopeUnpermute
from mapengine.ops.same import Copy, Same
from mapengine.ops.split import Concat, Split
from mapengine.ops.stack import Stack, Unstack

OPS: dict[str, type[Op]] = {
    "add": Add,
    "cast": Cast,
    "concat": Concat,
    "copy": Copy,
    "dequantize": Dequantize,
    "mean": Mean,
    "mul": Mul,
    "pad": Pad,
    "permute": Permute,
    "rearrange": Rearrange,
    "rope_permute": RopePermute,
    "rope_unpermute": RopeUnpermute,
    "same": Same,
    "split": Split,
    "stack": Stack,
    "transpose": Transpose,
    "unpad": Unpad,
    "unstack": Unstack,
}

NAMES: dict[type[Op], str] = {kind: name for name, kind in OPS.items()}

__all__ = ["NAMES", "OPS", "Axes", "Exactness", "Fan", "Op"]
