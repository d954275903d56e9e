"""Documents and search: one stage of search per file, each a LangChain class of its own."""
