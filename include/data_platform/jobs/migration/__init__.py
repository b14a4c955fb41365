"""The one-time migration of the dataset to PostgreSQL, and its later catch-ups."""
