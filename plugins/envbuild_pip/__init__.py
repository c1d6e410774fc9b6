"""pip packages, through uv. `plugin` answers the hooks; its docstring says what the other modules are for."""
