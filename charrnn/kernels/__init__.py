"""Kernels by module, each imported when it is first used: what only describes a network needs no Numba.

`from charrnn import kernels`, then `kernels.lstm.lstm_forward(…)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.kernels import (
        draw as draw,
    )
    from charrnn.kernels import (
        dropout as dropout,
    )
    from charrnn.kernels import (
        generate as generate,
    )
    from charrnn.kernels import (
        gru as gru,
    )
    from charrnn.kernels import (
        inputs as inputs,
    )
    from charrnn.kernels import (
        lstm as lstm,
    )
    from charrnn.kernels import (
        matmul as matmul,
    )
    from charrnn.kernels import (
        optimizers as optimizers,
    )
    from charrnn.kernels import (
        packing as packing,
    )
    from charrnn.kernels import (
        rnn as rnn,
    )
    from charrnn.kernels import (
        rounding as rounding,
    )
    from charrnn.kernels import (
        softmax as softmax,
    )
    from charrnn.kernels import (
        text as text,
    )


def __getattr__(name: str) -> Any:
    """Import the submodule of that name (PEP 562)."""
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
