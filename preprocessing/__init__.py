"""From a raw case to a prepared one: crop, normalise, resample, store."""

if __name__ != "autounet.preprocessing":
    raise ImportError("this folder is imported as autounet.preprocessing; its own name would clash with users' modules")
