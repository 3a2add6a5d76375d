"""One plugin of each kind; docs/plugins.md explains them."""
