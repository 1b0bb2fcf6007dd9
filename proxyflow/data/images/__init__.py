"""Everything about pixels: where images come from, decoding, the store, and batches."""
