"""What is asked of an index, made from one question: normalised, corrected, expanded, filtered."""
