"""Documents and search, one stage of search per file; each stage is a LangChain class of its own."""
