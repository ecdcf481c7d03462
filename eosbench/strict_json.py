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
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int):  # also their subclasses, which xdist cannot send
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item())
    return str(getattr(value, "__name__", value))


def dumps(value: Any) -> str:
    """The value on one line of strict JSON."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=False)
