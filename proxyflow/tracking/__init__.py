"""The tracking server: the only part of proxyflow that imports mlflow.

`names` holds the schema's constants, `connection` reaches a server or says why not, `runs` writes one run and
leaves it in a truthful state however it ends, `reader` finds runs and makes frames of them, `curves` has what they
logged per epoch.
"""
