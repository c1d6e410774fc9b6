"""A Python that somebody else looks after, as it is. `plugin` answers the hooks; its docstring says what is where."""
