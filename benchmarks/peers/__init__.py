"""Other packages' searches on our lookup tables at equal cost, so that a claim about ours has something to stand on.

Each search runs in an environment of its own, which has numpy and its package but not proxyflow: `export` writes a
table to a box of plain arrays, `launch` starts a search on it, `blackbox` replays. All see the same rules:

- A search sees one seed of the target (or two, if it asks for the second), and is judged by another one alone.
- Costs are in full trainings; the first training that does not fit the budget ends the search.
- A package proposes any values of its space. It is told the value of the nearest configuration of the table that is
  not trained yet at that fidelity, as the value of what it proposed.
- Settings are the package's documented defaults.

Example:
    python -m benchmarks.peers.export digits --out digits.npz
    python -m benchmarks.peers.launch syne_tune_asha --box digits.npz --replicates 0:20 --budget 18 --out asha.jsonl
"""
