"""What agents may do: one make_*_tool factory per file."""
