"""What the data is: columns, rules for cells, identities. Pure; opens no connection."""
