"""Judge the passages a search found again: one LangChain document compressor a file."""
