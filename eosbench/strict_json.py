"""Values as strict JSON can hold them, and as pytest-xdist can send them."""

import json
import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """The value with NumPy scalars unwrapped and non-finite floats written as "nan", "inf" and "-inf".

    Anything that JSON does not know becomes its name, or its text.
    """
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):  # also a subclass, which xdist cannot send, and a lone surrogate, which no file can hold
        return str(value).encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item())
    return str(getattr(value, "__name__", value))


def dumps(value: Any) -> str:
    """The value on one line of strict JSON."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=False)
