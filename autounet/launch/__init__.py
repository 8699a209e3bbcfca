"""Launching training: the parts of a run are chosen, put together and run, and the result is stored and scored."""
