"""What `scripts.benchmark` measures, one part a file, each beside the plain way of doing the same."""
