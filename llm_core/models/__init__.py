"""The models, written out: shapes, attention, positions, and one file per architecture."""
