"""What a person runs. Argument parsing only; the work is in `bundle`."""
