"""Commands of the command line, one file each: ``add_arguments`` for the flags, ``run`` for the work."""
