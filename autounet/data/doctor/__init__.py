"""The dataset doctor: every file read once, all problems at once, and a mended copy on request.

`checkup.examine` looks at each case (`case.py`) and compares the cases with each other (`across.py`, `channels.py`,
`duplicates.py`, `sides.py`); `repair.py` writes the copy.
"""
