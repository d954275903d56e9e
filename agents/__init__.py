"""The roles of the research team: each file is one role's prompt, reply schema and method."""
