"""How the public functions become calls of kernels, a module a family of losses."""
