"""Commands besides segmenting: each module has ``DESCRIPTION``, ``add_arguments(parser)`` and ``run(arguments)``."""
