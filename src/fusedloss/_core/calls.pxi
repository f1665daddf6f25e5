# A call of a loss of tensors from end to end: what `_core.pyx` includes for the torch front.
#
# A small call takes as long as what surrounds the kernel: whether it may run at all, memory for the
# gradient, the loss as a tensor, and the node in torch's graph. All of it is here, in one function
# for the forward pass and one for the backward pass.

cdef object is_grad_enabled = None
cdef object is_tracing = None
cdef object has_torch_function = None  # whether a tensor's class or a mode wants to see torch's calls
cdef object transforms_are_active = None
cdef object dispatch_modes = None
cdef object forward_levels = None  # the module whose `_current_level` tells of forward mode
cdef object is_autocast_enabled = None
cdef object hooks_of_saved_tensors = None
cdef object attach = None  # makes the node
cdef object may_be_scaled = None
cdef object differentiated = None

# What a tensor, an array or an option that the kernels do not take raises on its way to them.
cdef tuple REFUSALS = (TypeError, ValueError, IndexError, RuntimeError)


def use_graph(torch, node, scalable, by_formula):
    """Take calls from now on: see `fused` and `gradients_of`."""
    global is_grad_enabled, is_tracing, has_torch_function, transforms_are_active, dispatch_modes
    global forward_levels, is_autocast_enabled, hooks_of_saved_tensors
    global attach, may_be_scaled, differentiated
    is_grad_enabled = torch.is_grad_enabled
    is_tracing = torch._C._is_tracing
    has_torch_function = torch._C._has_torch_function
    transforms_are_active = torch._C._are_functorch_transforms_active
    dispatch_modes = torch._C._len_torch_dispatch_stack
    forward_levels = torch.autograd.forward_ad
    is_autocast_enabled = torch.is_autocast_enabled
    hooks_of_saved_tensors = torch._C._autograd._top_saved_tensors_default_hooks
    attach, may_be_scaled, differentiated = node, scalable, by_formula


cdef bint watched(tuple tensors) except -1:
    """Whether operations on tensors are more here than computed: traced, batched, counted."""
    return (
        is_tracing()
        or has_torch_function(tensors)
        or transforms_are_active()
        or dispatch_modes() > 0
        or forward_levels._current_level >= 0
    )


def fused(call, *tensors):
    """Return a loss, and a dict of outputs if the kernel returns some; None if it takes no part.

    call: a `torch._autograd.Call`; an absent tensor is None.
    """
    cdef tuple wanted = ()
    cdef tuple gradients = None
    cdef Py_ssize_t k
    cdef list graded
    for x in tensors:
        if x is not None and not is_tensor(x):
            return None
    if watched(tensors):
        return None
    first = tensors[0]
    if first is None or (first.itemsize == 2 and is_autocast_enabled("cpu")):
        return None
    if is_grad_enabled():
        graded = []
        for k in range(len(tensors)):
            x = tensors[k]
            if x is not None and x.requires_grad:
                if k >= call.differentiable or x.is_inference():  # which cannot be saved
                    return None
                graded.append(k)
        wanted = tuple(graded)
    try:
        # Whoever packs saved tensors, to keep or to compute them elsewhere, gets no gradients.
        if wanted and not call.deferred and hooks_of_saved_tensors(True) is None:
            gradients = empty_gradients(tensors, wanted)
            value = call.run(tensors, wanted, None, as_taken(call, gradients))
        else:
            value = call.run(tensors)
    except REFUSALS:
        return None
    if value is None:
        return None
    outputs = None
    if type(value) is tuple:
        value, outputs = value
    if type(value) is float:
        value = new_number(value, first.dtype)
    elif not is_tensor(value):
        value = tensor_of_array(value, first.dtype)
    if wanted:
        result = value, call, wanted, tensors, gradients
        if len(wanted) == 1:
            value = attach(result, tensors[wanted[0]])
        else:
            value = attach(result, *[tensors[k] for k in wanted])
    if outputs is None:
        return value
    made = {name: tensor_of_array(x, x.dtype) for name, x in outputs.items()}
    unweighted = (*tensors[:len(tensors) - 2], None, None)
    if wanted and "entropy" in made and hasattr(call, "of_entropy"):
        # The losses of a call of its own, whose gradient waits for the backward pass.
        result = made["entropy"], call.of_entropy(), wanted, unweighted, None
        made["entropy"] = attach(result, *[tensors[k] for k in wanted])
    if wanted and "log_prob" in made:
        # Minus the losses of a call without weights, whose gradient waits for the backward pass.
        result = -made["log_prob"], call.of_surprise(), wanted, unweighted, None
        made["log_prob"] = -attach(result, *[tensors[k] for k in wanted])
    return value, made


def save(ctx, tuple result, *inputs):
    """Give a loss its place in the graph."""
    # Tensors that are saved are freed by the backward pass, gradients when they are used: an
    # attribute lives as long as the loss.
    loss, ctx.call, ctx.wanted, ctx.to_save, ctx.gradients = result
    return loss


def gradients_of(ctx, grad_output):
    """Return the gradients of the forward pass, once; compute them otherwise.

    Those are good whatever has become of the tensors; whatever needs the tensors again, autograd
    tells if they have changed.
    """
    cdef tuple wanted = ctx.wanted
    cdef tuple gradients
    call = ctx.call
    cdef bint reduced = call.reduction != "none"
    given = None
    if not is_grad_enabled() and not watched((grad_output,)):
        try:
            given = number_of(grad_output) if reduced else grad_output.detach()
        except RuntimeError:
            pass  # a batch of them
    if given is None:
        return (None, *differentiated(call, ctx.saved_tensors, wanted, grad_output))
    # After their first use the memory is someone else's.
    gradients, ctx.gradients = ctx.gradients, None
    if gradients is not None and reduced:
        if given == 1:
            return (None, *gradients)
        if may_be_scaled(ctx, gradients, given):
            return (None, *[x.mul_(given) for x in gradients])
    tensors = ctx.saved_tensors
    try:
        if not reduced:
            given = as_taken(call, (given,))[0]
        if gradients is None:
            gradients = empty_gradients(tensors, wanted)
        if call.run(tensors, wanted, given, as_taken(call, gradients)) is not None:
            return (None, *gradients)
    except REFUSALS:
        pass
    return (None, *differentiated(call, tensors, wanted, grad_output))


cdef tuple empty_gradients(tuple tensors, tuple wanted):
    if len(wanted) == 1:
        return (tensor_like(tensors[wanted[0]]),)
    return tuple([tensor_like(tensors[k]) for k in wanted])


cdef tuple as_taken(object call, tuple tensors):
    """Tensors as a call takes them: as they are if it says so, as arrays if not."""
    if getattr(call, "takes_tensors", False):
        return tensors
    return tuple([tensor_as_array(x) for x in tensors])
