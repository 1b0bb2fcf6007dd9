"""Proxy quality: pure statistics on frames of trainings, with no knowledge of torch or of a server.

`runs` decides which trainings count, `pairs` matches proxies with targets, `measures` holds the formulas,
`costs` the cost curve, `summary` puts them together.
"""
