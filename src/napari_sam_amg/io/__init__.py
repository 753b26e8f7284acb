"""Files in, files out; the algorithm itself never touches a file."""
