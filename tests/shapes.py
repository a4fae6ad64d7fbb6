"""How tests check the shapes that annotations say: beartype, for jaxtyping's annotations alone.

Tests hand over wrong types on purpose, and whole numbers where floats are meant, so the others are left to mypy.
"""

from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def checked(function: Any) -> Any:
    """The function, with the arrays and tensors among its arguments and results checked at every call."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if has_shape(hint)}
    return beartype(function)


def has_shape(hint: Any) -> bool:
    """Whether an annotation is of an array, or holds one."""
    is_array = isinstance(hint, type) and issubclass(hint, AbstractArray)
    return is_array or any(has_shape(inner) for inner in get_args(hint))
