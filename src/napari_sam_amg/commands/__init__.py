"""Commands besides segmenting: each module has ``OPTIONS``, ``add_arguments(parser)`` and ``run(arguments)``."""
