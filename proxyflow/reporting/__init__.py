"""The report of a study: `tables` as data and text, `figures`, the `page`, and `run`, which makes and logs them.

Nothing here needs torch.
"""
