"""What people look at: tables, plots, JSON documents, the demonstration."""
