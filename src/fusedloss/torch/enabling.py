"""Losses of this package in the places of torch's own, for the whole process."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Self

from torch.nn import functional as places
from torch.overrides import handle_torch_function, has_torch_function_variadic

from fusedloss.torch import _original, functional

__all__ = ["disable", "enable", "enabled"]


def _in_the_place_of(original: Callable[..., Any], loss: Callable[..., Any]) -> Callable[..., Any]:
    """Return a loss with the name, the signature and the overrides of torch's.

    Pickle takes it for torch's, and TorchScript compiles torch's.
    """

    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        # Before torch's own function asks: that one hands on whatever is in its place.
        if has_torch_function_variadic(*args, *kwargs.values()):
            return handle_torch_function(original, (*args, *kwargs.values()), *args, **kwargs)
        return loss(*args, **kwargs)

    vars(replacement)["__prepare_scriptable__"] = lambda: original
    return replacement


#: The losses that torch.nn.functional has too.
_REPLACEMENTS = {
    name: _in_the_place_of(getattr(_original, name), getattr(functional, name))
    for name in _original.__all__
    if name in vars(functional)["__all__"]
}

_lock = threading.Lock()
#: What was in the place of a loss that is replaced now.
_replaced: dict[str, Callable[..., Any]] = {}
_numbers = itertools.count(1)
#: The requests that hold, by their numbers: whether to replace which losses.
_holding: dict[int, tuple[weakref.ref[Request], bool, tuple[str, ...]]] = {}
#: By loss, the latest request that can no longer become one for a block, and what it says.
_for_good = dict.fromkeys(_REPLACEMENTS, (0, False))


class Request:
    """What `enable` and `disable` return: in a ``with`` statement it holds for the block only."""

    def __init__(self, replace: bool, only: Iterable[str] | None) -> None:
        self._replace, self._names, self._blocks = replace, _checked(only), 0
        with _lock:
            _forget_requests()
            self._begin()

    def _begin(self) -> None:
        self._number = next(_numbers)
        _holding[self._number] = weakref.ref(self), self._replace, self._names
        _settle(self._names)

    def __enter__(self) -> Self:
        """Begin a block."""
        with _lock:
            if self._number not in _holding:  # after an earlier block
                self._begin()
            self._blocks += 1
        return self

    def __exit__(self, *_: object) -> None:
        """End a block: the other requests have their way again."""
        with _lock:
            self._blocks -= 1
            if not self._blocks:
                del _holding[self._number]
                _settle(self._names)

    def __repr__(self) -> str:
        return f"<fusedloss.torch.{'enable' if self._replace else 'disable'} of {self._names}>"


def _forget_requests() -> None:
    """Keep what a request says, and not the request, once it is nobody's."""
    for number, (request, replace, names) in list(_holding.items()):
        if request() is None:
            del _holding[number]
            for name in names:
                _for_good[name] = max(_for_good[name], (number, replace))


def _checked(only: Iterable[str] | None) -> tuple[str, ...]:
    if only is None:
        return tuple(_REPLACEMENTS)
    if isinstance(only, str):
        raise TypeError(f"only is {only!r}: expected names, such as [{only!r}]")
    names = tuple(only)
    for name in names:
        if name not in _REPLACEMENTS:
            raise ValueError(f"only has {name!r}: expected names of {', '.join(_REPLACEMENTS)}")
    return names


def _settle(names: Iterable[str]) -> None:
    """Have in each place what the latest request says that still holds."""
    for name in names:
        holding = [(number, says) for number, (_, says, of) in _holding.items() if name in of]
        _, replace = max([_for_good[name], *holding])
        there, replacement = getattr(places, name), _REPLACEMENTS[name]
        if replace and there is not replacement and name not in _replaced:
            _replaced[name] = there
            setattr(places, name, replacement)
        elif not replace and name in _replaced:
            before = _replaced.pop(name)
            if there is replacement:  # and not what someone else has put there since
                setattr(places, name, before)


def enable(*, only: Iterable[str] | None = None) -> Request:
    """Put this package's losses in the places of those of `torch.nn.functional`.

    They are replaced for the whole process, all its threads included, and with them the modules of
    `torch.nn`, which call them. Calling `enable` again changes nothing; `disable` puts back what
    was there. In a ``with`` statement the losses are replaced for the block only; if blocks of
    several threads overlap, until the last of them ends.

    Parameters
    ----------
    only : iterable of str, optional
        The functions of `torch.nn.functional` to replace; all losses of this package that are
        there, if absent.

    Returns
    -------
    Request
        The context manager of the ``with`` statement.

    Raises
    ------
    TypeError
        If `only` is a str.
    ValueError
        If `only` names what is no loss of both.

    See Also
    --------
    disable, enabled

    Notes
    -----
    Functions are replaced and never classes, so modules are pickled, compared with isinstance and
    scripted as before. Handlers of ``__torch_function__``, of tensors and of modes, see torch's own
    functions, and so does `torch.fx`. `torch.compile` compiles again when the losses that a model
    calls have been replaced or put back.

    A function that was imported by its name earlier (``from torch.nn.functional import mse_loss``)
    is not reached: it stays torch's. Nor are losses that are called with tensors of other devices
    computed here: the replacements hand them to torch.

    Examples
    --------
    >>> import torch
    >>> import fusedloss.torch
    >>> with fusedloss.torch.enable(only=["cross_entropy"]):
    ...     print(fusedloss.torch.enabled())
    ...     torch.nn.CrossEntropyLoss()(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    ('cross_entropy',)
    tensor(0.1269)
    >>> fusedloss.torch.enabled()
    ()
    """
    return Request(True, only)


def disable(*, only: Iterable[str] | None = None) -> Request:
    """Put back what `enable` has replaced, however often it was called.

    In a ``with`` statement the losses are torch's for the block only.

    Parameters
    ----------
    only : iterable of str, optional
        The functions of `torch.nn.functional` to put back; all that are replaced, if absent.

    Returns
    -------
    Request
        The context manager of the ``with`` statement.

    Raises
    ------
    TypeError, ValueError
        As `enable`.

    Notes
    -----
    What another library has put in the place of a replacement stays there.

    Examples
    --------
    >>> import fusedloss.torch
    >>> _ = fusedloss.torch.enable()
    >>> with fusedloss.torch.disable():
    ...     print(fusedloss.torch.enabled())
    ()
    >>> "mse_loss" in fusedloss.torch.enabled()
    True
    >>> _ = fusedloss.torch.disable()
    """
    return Request(False, only)


def enabled() -> tuple[str, ...]:
    """Return the names of the functions of `torch.nn.functional` that are replaced now.

    Returns
    -------
    tuple of str
        Empty, and so false, if none is.

    Examples
    --------
    >>> import fusedloss.torch
    >>> fusedloss.torch.enabled()
    ()
    """
    with _lock:
        return tuple(name for name in _REPLACEMENTS if name in _replaced)
