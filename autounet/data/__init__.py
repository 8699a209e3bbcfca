"""Raw datasets: their description, their cases, reading and writing files, checks and folds."""
