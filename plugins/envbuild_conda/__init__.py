"""conda packages, solved, fetched and linked without a conda executable. `plugin` answers the hooks."""
