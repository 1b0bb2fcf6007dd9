"""Lookup tables: many configurations at many fidelities, trained once, to replay any search on."""
