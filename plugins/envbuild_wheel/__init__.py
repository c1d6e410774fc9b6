"""Private wheels: packages that are on no index. `plugin` answers the hooks."""
