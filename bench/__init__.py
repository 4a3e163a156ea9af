"""How fast Tertulia is, as a share of what the server below it can do."""
